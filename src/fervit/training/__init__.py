"""Fine-tuning, distillation and pre-training (needs `fervit[train]`)."""

from fervit.training.finetune import Teacher, train

__all__ = ["Teacher", "train"]
