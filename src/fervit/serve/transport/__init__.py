"""What lies below the app: protocols with limits, server processes and their orderly end, proxies."""
