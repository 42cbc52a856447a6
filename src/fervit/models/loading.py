"""Read any model folder of fervit's: one model, or an ensemble."""

from pathlib import Path

from transformers import PreTrainedModel

from fervit.models.checkpoint import read_checkpoint
from fervit.models.mixture import Mixture, load_mixture
from fervit.types import ModelSpec
from fervit.weights.layout import ENSEMBLE_FILE


def load_checkpoint(folder: str | Path) -> tuple[PreTrainedModel | Mixture, ModelSpec]:
    """Read a model folder (fervit's, or anyone's Hugging Face image classifier) in float32, ready to evaluate.

    The folder of an ensemble gives its mixture, a module that takes each of `spec.inputs` by name.

    Raises:
        ModelError: it is missing, holds a pickle instead of safetensors, is truncated, lacks some of its weights,
            or has others than its `config.json` says.
    """
    folder = Path(folder)
    return load_mixture(folder) if (folder / ENSEMBLE_FILE).is_file() else read_checkpoint(folder)
