"""Fine-tuning, distillation and pre-training (needs `fervit[train]`)."""

from fervit.training.finetune import train
from fervit.training.options import RunOptions
from fervit.training.teachers import Teacher

__all__ = ["RunOptions", "Teacher", "train"]
