"""Whole photos: told from face crops, and cut as the recognizer cuts them."""
