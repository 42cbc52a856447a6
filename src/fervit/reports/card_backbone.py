"""The `README.md` of a backbone folder, as the Hugging Face Hub reads it."""

from collections.abc import Sequence
from dataclasses import dataclass

from fervit.reports.card import (
    FER2013_LICENCE,
    Origin,
    dataset_id,
    front_licence,
    is_hub_id,
    licence_facts,
    restriction,
)
from fervit.reports.settings_text import Yaml, to_yaml
from fervit.types import ModelSpec

TEXT = """\
# {name}

The encoder of a Vision Transformer ({size} x {size} px input), pre-trained on {n:,} faces without their labels as a
masked autoencoder (He et al. 2021, arXiv 2111.06377) with fervit. It has no head and
predicts no expression by itself: it is what training on labelled faces starts from.
{restriction}
## How to use it

```sh
fervit train --recipe tiny --init {name} --data DATA --out runs/x
```

```python
from transformers import AutoModel

encoder = AutoModel.from_pretrained("{name}", add_pooling_layer=False)
```

## How it was made

{facts}
{note}
```sh
{command}
```

```toml
{settings}
```

## Limits

- Whether it helps is for a measurement to say: fine-tune from it and from `{base}` with the same recipe and seeds.
- A lower loss says that masked patches are predicted better, not that expressions are distinguished better.
{grey}\
- `reconstruction.png`, where it lies beside this file, shows faces of the training data: leave it out of what you
  publish unless their licence and the people in them allow it. Masked patches are shown with the brightness and
  contrast of the original, which the model does not predict.
"""


@dataclass(frozen=True)
class PretrainingFigures:
    """What pre-training did: faces, epochs, and the loss over masked patches in the first and the last epoch.

    The losses are None where no epoch was trained.
    """

    count: int
    epochs: int
    first_loss: float | None
    last_loss: float | None


def backbone_card(
    spec: ModelSpec, origin: Origin, figures: PretrainingFigures, *, sources: Sequence[str], grey: bool
) -> str:
    """Return the text of a backbone folder's `README.md`.

    Args:
        spec: the backbone.
        origin: its data, what it started from, its settings as TOML, and the command line.
        figures: what pre-training did.
        sources: names of the data sets that the training data was joined from.
        grey: whether all faces were grey.
    """
    facts = {
        "Started from": origin.started_from,
        "Training data": origin.dataset,
        "Hash of the training data": f"`{spec.data_hash}`",
        "Loss over masked patches": _loss(figures),
        "Licence": origin.licence,
        **licence_facts(spec.trained_on),
    }
    body = TEXT.format(
        name=spec.name,
        size=spec.preprocess.image_size,
        n=figures.count,
        facts="\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact),
        note=f"\n{FER2013_LICENCE}\n" if "fer2013" in origin.dataset.lower() else "",
        command=origin.command,
        settings=origin.recipe,
        restriction=f"\n{restriction(spec.trained_on)}\n" if spec.non_commercial else "",
        base=origin.base_model,
        grey="- All faces were grey; it has learnt nothing of colour.\n" if grey else "",
    )
    return "\n".join(["---", *to_yaml(_front_matter(spec, origin, sources)), "---", "", body])


def _loss(figures: PretrainingFigures) -> str:
    if figures.first_loss is None or figures.last_loss is None:
        return ""
    return f"{figures.first_loss:.4f} in the first epoch, {figures.last_loss:.4f} in the last of {figures.epochs}"


def _front_matter(spec: ModelSpec, origin: Origin, sources: Sequence[str]) -> dict[str, Yaml]:
    front: dict[str, Yaml] = {
        **front_licence(spec),
        "library_name": "transformers",
        "pipeline_tag": "image-feature-extraction",
    }
    if is_hub_id(origin.base_model):
        front["base_model"] = origin.base_model
    front["tags"] = ["fervit", "vision", "vit", "masked-autoencoder"]
    front["datasets"] = [dataset_id(name) for name in sources]
    return front
