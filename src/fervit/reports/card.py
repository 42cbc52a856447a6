"""Model cards: the `README.md` of a model folder, as the Hugging Face Hub reads it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from fervit.config.architectures import CONVOLUTIONAL
from fervit.types import ModelSpec

# Identifiers that the Hub takes in `license:`; anything else is `other` with its own name.
HUB_LICENCES = """
afl-3.0 agpl-3.0 apache-2.0 bsd-2-clause bsd-3-clause bsl-1.0 cc0-1.0 cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 ecl-2.0 gpl-2.0
gpl-3.0 isc lgpl-2.1 lgpl-3.0 mit mpl-2.0 openrail unlicense wtfpl zlib
"""
# Key of a measured figure: the Hub's metric id, and the name to show.
INDEXED = {
    "accuracy": ("accuracy", "Accuracy"),
    "accuracy_leak_free": ("accuracy", "Accuracy without pictures that also stand in train"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "weighted_f1": ("f1", "Weighted F1"),
    "ece": ("expected_calibration_error", "Expected calibration error (15 bins)"),
}

USES = """## What it is for

Research on facial expressions, teaching, and software in which people know of it and want it: captions and
search for one's own photos, avatars, games, studies with consent.

It answers what expression a face *shows*, as annotators would label it. Nobody can read from a picture what a
person feels, thinks or is about to do, and this model does not either.

## What it is not for

- Judging people: hiring, grading, credit, insurance, police, border control, lie detection, health.
- Watching people who do not know of it or did not agree.
- Any decision about a person without a human who looks at the person rather than at the label.

**The law.** In the European Union the AI Act (Regulation (EU) 2024/1689) prohibits systems that infer emotions of
people at work and in education, except for medical or safety reasons (Art. 5(1)(f)); other emotion recognition
from biometric data counts as high-risk (Annex III, 1(c)); and whoever uses such a system must tell the people who
are exposed to it (Art. 50(3)). Other places have laws of their own. This is no legal advice."""

LIMITS = """## Limits

- The labels are what annotators saw in a picture, and they disagree: on FER2013 people themselves reach 65 ± 5 %
  (Goodfellow et al. 2013, arXiv 1307.0414).
- Rare expressions (in FER2013 disgust above all) are measured on few faces: read the figures of every expression
  and the intervals.
{groups}
{robustness}
- It expects a face crop, and answers for a picture without a face too: put a detector before it."""


GROUPS_UNKNOWN = """\
- How errors spread over age, gender, skin colour and culture has not been measured. Measure it on the people that
  you mean to use it with: `fervit evaluate --groups FILE.csv`."""
ROBUSTNESS_UNKNOWN = "- Profiles, covered faces, small, dark or drawn ones have not been measured apart; expect less."


def model_card(
    spec: ModelSpec,
    *,
    report: Mapping[str, Any] | None = None,
    dataset: str = "",
    base_model: str = "",
    recipe: str = "",
    command: str = "",
) -> str:
    """Return the text of a model folder's `README.md`: front matter for the Hub, then the card.

    Args:
        spec: the model; its `metrics` are shown too, unless `report` is about the same split.
        report: what `evaluation.Report.to_dict()` returns, with `groups` and `robustness` where they were measured
            (as `report.json` has them).
        dataset: name of the training data.
        base_model: what it was fine-tuned from: a Hub id, or words.
        recipe: how it was trained, as text (such as the recipe's TOML).
        command: the command line that trained it.
    """
    measured = {split: dict(f) for split, f in spec.metrics.items() if isinstance(f, Mapping)}
    if report is not None:
        measured[report["split"]] = dict(report)
    front = _front_matter(spec, measured, dataset=dataset, base_model=base_model)
    name = spec.name or spec.arch
    parts = [
        "---\n" + "\n".join(_yaml(front)) + "\n---",
        f"# {name}",
        _introduction(spec, dataset=dataset, base_model=base_model),
        _usage(spec, name),
        _figures(measured),
        _per_class(report) if report is not None else "",
        USES,
        _limits(report or {}),
        _training(spec, dataset=dataset, base_model=base_model, recipe=recipe, command=command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(
    spec: ModelSpec, measured: Mapping[str, Mapping[str, Any]], *, dataset: str, base_model: str
) -> dict[str, Any]:
    licence = spec.licence.strip().lower()
    front: dict[str, Any] = {"license": licence if licence in HUB_LICENCES.split() else "other"}
    if front["license"] == "other":
        front["license_name"] = spec.licence.strip() or "not stated"
    front |= {
        "library_name": "transformers",
        "pipeline_tag": "image-classification",
        "tags": ["facial-expression-recognition", "fervit", "vision", spec.arch],
    }
    if base_model.count("/") == 1 and " " not in base_model:
        front["base_model"] = base_model
    if dataset:
        front["datasets"] = [dataset_id(dataset)]
    results = [
        _result(split, figures, figures.get("dataset") or dataset or "the training data set")
        for split, figures in measured.items()
        if any(_number(figures.get(key)) for key in INDEXED)
    ]
    if results:
        front["metrics"] = sorted({metric["type"] for result in results for metric in result["metrics"]})
        front["model-index"] = [{"name": spec.name or spec.arch, "results": results}]
    return front


def _result(split: str, figures: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Return one entry of the Hub's model-index: what was measured on one split."""
    return {
        "task": {"type": "image-classification", "name": "Facial expression recognition"},
        "dataset": {"type": dataset_id(dataset), "name": dataset, "split": split},
        "metrics": [
            {"type": kind, "value": round(float(figures[key]), 4), "name": name}
            for key, (kind, name) in INDEXED.items()
            if _number(figures.get(key))
        ],
    }


def dataset_id(name: str) -> str:
    """Return a data set's name as the Hub's front matter takes it.

    >>> dataset_id("FER2013.parquet"), dataset_id("owner/faces"), dataset_id("the training data set")
    ('fer2013', 'owner/faces', 'the-training-data-set')
    """
    if name.count("/") == 1 and not name.startswith(("/", ".")) and " " not in name:
        return name
    path = PurePath(name)
    stem = path.stem if path.suffix.lower() in (".csv", ".parquet", ".pq") else path.name
    words = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else " " for c in stem.lower()).split()
    return "-".join(words) or "faces"


def _introduction(spec: ModelSpec, *, dataset: str, base_model: str) -> str:
    size = spec.preprocess.image_size
    origin = f", fine-tuned from {base_model}" if base_model else ""
    learnt = f" on {dataset}" if dataset else ""
    kind = "convolutional network" if spec.arch in CONVOLUTIONAL else "Vision Transformer"
    return (
        f"A {kind} (`{spec.arch}`, {size} x {size} px input{origin}) that names the expression a face "
        f"shows, trained{learnt} with fervit. "
        f"It answers one of {len(spec.labels)} labels: {', '.join(spec.labels)}."
    )


def _usage(spec: ModelSpec, name: str) -> str:
    margin = spec.preprocess.crop_margin
    around = f" with {100 * margin:.0f} % of its side added all around" if margin else ""
    return f"""## How to use it

With fervit, which finds the faces first and needs no PyTorch for an exported model:

```sh
fervit predict photo.jpg --model {name}
fervit export {name} --out {name}.onnx && fervit predict photo.jpg --model {name}.onnx
```

With transformers, on a picture that is a face crop already (the detector's box{around}; grey or colour):

```python
from transformers import pipeline

classify = pipeline("image-classification", model="{name}")
classify("face.jpg")
```"""


def _figures(measured: Mapping[str, Mapping[str, Any]]) -> str:
    if not measured:
        return ""
    rows = []
    for split, figures in measured.items():
        where = f"{figures['dataset']}, {split}" if figures.get("dataset") else split
        count = f"{figures['n']:,}" if _number(figures.get("n")) else "–"
        for key, (_, name) in INDEXED.items():
            if _number(figures.get(key)):
                interval = figures.get(f"{key}_ci95")
                shown = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "–"
                faces = f"{figures['n_leak_free']:,}" if key == "accuracy_leak_free" else count
                rows.append(f"| {where} | {name} | {figures[key]:.4f} | {shown} | {faces} |")
    note = (
        "public_test serves to choose and to calibrate a model, so it flatters; private_test is read once."
        if "public_test" in measured
        else ""
    )
    table = ["| measured on | figure | value | 95 % interval | faces |", "| --- | --- | ---: | ---: | ---: |", *rows]
    return "\n\n".join(part for part in ("## How good it is", "\n".join(table), note) if part)


def _per_class(report: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']:,} |"
        for name, row in report["per_class"].items()
    ]
    header = ["| expression | precision | recall | F1 | faces |", "| --- | ---: | ---: | ---: | ---: |"]
    return f"Every expression on {report['split']}:\n\n" + "\n".join([*header, *rows])


def _limits(report: Mapping[str, Any]) -> str:
    """Return the limits, with what was measured of groups of people and of worse pictures."""
    groups, robustness = GROUPS_UNKNOWN, ROBUSTNESS_UNKNOWN
    if report.get("groups"):
        said = [f"  - {part['column']}: {sentence}" for part in report["groups"] for sentence in part["sentences"]]
        groups = "\n".join(["- By group of people:", *said])
    if found := report.get("robustness"):
        lines = [f"- Worse pictures ({found['dataset']}, {found['split']}): {found['summary']}"]
        for subset in found["subsets"]:
            inside, outside = subset["inside"], subset["outside"]
            text = f"  - {subset['name']}: {100 * inside['accuracy']:.1f} % right on {inside['n']:,} faces"
            if outside is not None:
                text += f", {100 * outside['accuracy']:.1f} % on the {outside['n']:,} others"
            lines.append(text)
        robustness = "\n".join(lines)
    return LIMITS.format(groups=groups, robustness=robustness)


def _training(spec: ModelSpec, *, dataset: str, base_model: str, recipe: str, command: str) -> str:
    facts = {
        "Started from": base_model,
        "Training data": dataset,
        "Hash of the training data": f"`{spec.data_hash}`" if spec.data_hash else "",
        "Calibration temperature": f"{spec.temperature:.4f}, folded into the classifier's weights",
        "Licence": spec.licence or "not stated; the licences of the starting weights and of the data apply",
    }
    text = "## How it was made\n\n" + "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)
    if "fer2013" in dataset.lower():
        text += (
            "\n\nFER2013 (Goodfellow et al. 2013, arXiv 1307.0414) may be used for research; "
            "no picture of it is distributed here."
        )
    if command:
        text += f"\n\n```sh\n{command}\n```"
    if recipe:
        text += f"\n\n```toml\n{recipe.strip()}\n```"
    return text


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Yield lines of block YAML; strings are written as JSON, which YAML reads alike."""
    entries = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, item in entries:
        head = "-" if key is None else f"{key}:"
        if not isinstance(item, dict | list):
            yield f"{indent}{head} {json.dumps(item, ensure_ascii=False)}"
        elif key is None:  # the first line of the nested block stands behind its dash
            nested = list(_yaml(item, indent + "  "))
            yield f"{indent}- {nested[0].lstrip()}"
            yield from nested[1:]
        else:
            yield f"{indent}{head}"
            yield from _yaml(item, indent + "  ")
