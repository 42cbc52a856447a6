"""The `README.md` of a backbone folder, as the Hugging Face Hub reads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fervit.reports.card import dataset_id
from fervit.types import ModelSpec

TEXT = """\
# {name}

The encoder of a Vision Transformer ({size} x {size} px input), pre-trained on {n:,} faces without their labels as a
masked autoencoder (He et al. 2021, arXiv 2111.06377) with fervit. It has no head and
answers nothing by itself: it is what training on labelled faces starts from.

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
- A lower loss says that masked patches are predicted better, not that expressions are told apart better.
{grey}\
- `reconstruction.png`, where it lies beside this file, shows faces of the training data: leave it out of what you
  publish unless their licence and the people in them allow it. Masked patches are shown with the brightness and
  contrast of the original, which the model does not predict.
"""


def backbone_card(spec: ModelSpec, run: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Return the text of a backbone's `README.md` from its `run.json` and its figures (see `pretrain`)."""
    base = Path(run["init"]).name if Path(run["init"]).exists() else run["init"]
    facts = {
        "Started from": base,
        "Training data": run["data"]["name"],
        "Hash of the training data": f"`{spec.data_hash}`",
        "Loss over masked patches": _loss(figures),
        "Licence": "not stated; the licences of the starting weights and of the data apply",
    }
    note = ""
    if "fer2013" in run["data"]["name"].lower():
        note = (
            "\nFER2013 (Goodfellow et al. 2013, arXiv 1307.0414) may be used for research; "
            "no picture of it may be distributed.\n"
        )
    body = TEXT.format(
        name=spec.name,
        size=spec.preprocess.image_size,
        n=figures["n"],
        facts="\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact),
        note=note,
        command=run["command"],
        settings=_settings(run["config"]),
        base=base,
        grey="- All faces were grey; it has not learnt from colour.\n" if run["data"]["grey"] else "",
    )
    return _front_matter(run, base) + body


def _loss(figures: Mapping[str, Any]) -> str:
    if figures["loss"] is None:
        return ""
    return f"{figures['first_loss']:.4f} in the first epoch, {figures['loss']:.4f} in the last of {figures['epochs']}"


def _settings(config: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for table in config.keys() - plain.keys():
        lines += ["", f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in config[table].items())]
    return "\n".join(lines)


def _front_matter(run: Mapping[str, Any], base: str) -> str:
    lines = ["---", 'license: "other"', 'license_name: "not stated"', 'library_name: "transformers"']
    lines += ['pipeline_tag: "image-feature-extraction"']
    if base.count("/") == 1 and " " not in base:
        lines += [f"base_model: {json.dumps(base)}"]
    lines += ["tags:", *(f'- "{tag}"' for tag in ("fervit", "vision", "vit", "masked-autoencoder"))]
    lines += ["datasets:", *(f"- {json.dumps(dataset_id(source['name']))}" for source in run["data"]["sources"])]
    return "\n".join([*lines, "---", "", ""])
