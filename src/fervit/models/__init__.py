"""Architectures, starting weights and checkpoints (needs `fervit[train]`)."""

from fervit.models.checkpoint import TorchClassifier, load_checkpoint, save_checkpoint
from fervit.models.vit import build_model

__all__ = ["TorchClassifier", "build_model", "load_checkpoint", "save_checkpoint"]
