"""Runs over many files: their order, their result files, and how an interrupted one is resumed."""
