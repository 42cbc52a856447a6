"""Figures of whole photos, on which faces are found first."""
