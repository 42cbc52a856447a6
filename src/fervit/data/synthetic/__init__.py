"""Drawn faces with known expressions, for tests, demos and tutorials without data."""
