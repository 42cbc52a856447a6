"""Recognition over HTTP: a service that is safe by default, and a web page."""
