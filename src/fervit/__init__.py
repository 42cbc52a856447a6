"""fervit: facial expression recognition with Vision Transformers."""

__version__ = "0.1.0"
