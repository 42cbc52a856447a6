"""Splits that fervit makes: drawn by content, label and group; written down, and read again."""
