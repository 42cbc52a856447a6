"""Model cards: the `README.md` of a model folder, as the Hugging Face Hub reads it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeGuard

from fervit.config.architectures import CONVOLUTIONAL
from fervit.evaluation.intervals import Interval, as_interval
from fervit.evaluation.report import Report
from fervit.formatting import NONE, markdown_table, percent
from fervit.licences import KNOWN, Licence, non_commercial
from fervit.reports.settings_text import Yaml, to_yaml
from fervit.types import ModelSpec

# Identifiers that the Hub takes in `license:`; anything else is `other` with its own name.
HUB_LICENCES = """
afl-3.0 agpl-3.0 apache-2.0 bsd-2-clause bsd-3-clause bsl-1.0 cc0-1.0 cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 ecl-2.0 gpl-2.0
gpl-3.0 isc lgpl-2.1 lgpl-3.0 mit mpl-2.0 openrail unlicense wtfpl zlib
"""
METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "accuracy_leak_free": ("accuracy", "Accuracy without images that are in train too"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "weighted_f1": ("f1", "Weighted F1"),
    "ece": ("expected_calibration_error", "Expected calibration error (15 bins)"),
}
"""Key of a measured figure in a model's metadata: the Hub's metric id, and the name to show."""

FER2013_LICENCE = (
    "FER2013 (Goodfellow et al. 2013, arXiv 1307.0414) may be used for research; no image of it is distributed here."
)

USES = """## What it is for

Research on facial expressions, teaching, and software in which people know of it and want it: captions and
search for one's own photos, avatars, games, studies with consent.

It predicts what expression a face *shows*, as annotators would label it. Nobody can read from an image what a
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

- The labels are what annotators saw in an image, and they disagree: on FER2013 people themselves reach 65 ± 5 %
  (Goodfellow et al. 2013, arXiv 1307.0414).
- Rare expressions (in FER2013 disgust above all) are measured on few faces: read the figures of every expression
  and the intervals.
{groups}
{robustness}
- It expects a face crop, and predicts an expression for an image without a face too: put a detector before it."""


GROUPS_UNKNOWN = """\
- How errors spread over age, gender, skin colour and culture has not been measured. Measure it on the people that
  you mean to use it with: `fervit evaluate --groups FILE.csv`."""
ROBUSTNESS_UNKNOWN = "- Profiles, covered faces, small, dark or drawn ones have not been measured apart; expect less."


@dataclass(frozen=True)
class Figure:
    """One measured figure: key of `METRICS`, value, 95 % interval (None if unknown) and number of images ("–")."""

    key: str
    value: float
    interval: Interval | None
    count: int | None


@dataclass(frozen=True)
class SplitFigures:
    """What was measured on one split of a data set; the data set is "" where it was not recorded."""

    split: str
    dataset: str
    figures: tuple[Figure, ...]

    @classmethod
    def from_report(cls, report: Report) -> "SplitFigures":
        """Return a report's figures."""
        count, leak_free = report.count, report.leak_free
        figures = [Figure("accuracy", report.accuracy.value, report.accuracy.ci95, count)]
        if leak_free is not None and leak_free.count:
            figures.append(Figure("accuracy_leak_free", leak_free.value, leak_free.ci95, leak_free.count))
        return cls(
            report.split,
            report.dataset,
            (
                *figures,
                Figure("balanced_accuracy", report.balanced_accuracy, report.balanced_accuracy_ci95, count),
                Figure("macro_f1", report.macro_f1, report.macro_f1_ci95, count),
                Figure("weighted_f1", report.weighted_f1, None, count),
                Figure("ece", report.calibration.ece, None, count),
            ),
        )

    @classmethod
    def from_metadata(cls, split: str, metrics: Mapping[str, object]) -> "SplitFigures":
        """Return the figures that a model's own metadata has of a split; others than numbers are left out."""
        figures = []
        for key in METRICS:
            value, ends = metrics.get(key), metrics.get(f"{key}_ci95")
            count = metrics.get("n_leak_free" if key == "accuracy_leak_free" else "n")
            if is_number(value):
                interval = as_interval(ends) if isinstance(ends, list | tuple) else None
                figures.append(Figure(key, float(value), interval, int(count) if is_number(count) else None))
        return cls(split, str(metrics.get("dataset") or ""), tuple(figures))


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value from JSON is a number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Origin:
    """How a model came about, as far as its card says it; "" for what is not known.

    Attributes:
        dataset: name of the training data.
        base_model: what it was fine-tuned from: a Hub id, or words.
        recipe: how it was trained, as text (such as the recipe's TOML).
        command: the command line that trained it.
        base_licence: the licence of what it was fine-tuned from.
    """

    dataset: str = ""
    base_model: str = ""
    recipe: str = ""
    command: str = ""
    base_licence: str = ""

    @property
    def started_from(self) -> str:
        """What it was fine-tuned from, with the licence."""
        return f"{self.base_model} ({self.base_licence})" if self.base_licence else self.base_model

    @property
    def licence(self) -> str:
        """What to say where the model itself states no licence."""
        weights = f"the starting weights ({self.base_licence})" if self.base_licence else "the starting weights"
        return f"not stated; the licences of {weights} and of the data apply"


def model_card(spec: ModelSpec, *, report: Report | None = None, origin: Origin | None = None) -> str:
    """Return the text of a model folder's `README.md`: front matter for the Hub, then the card.

    Args:
        spec: the model; its `metrics` are shown too, unless `report` is about the same split.
        report: what was measured, with `groups` and `robustness` where they were.
        origin: how the model was trained.
    """
    origin = origin or Origin()
    measured = {k: SplitFigures.from_metadata(k, f) for k, f in spec.metrics.items() if isinstance(f, Mapping)}
    if report is not None:
        measured[report.split] = SplitFigures.from_report(report)
    name = spec.name or spec.arch
    parts = [
        "---\n" + "\n".join(to_yaml(_front_matter(spec, measured.values(), origin))) + "\n---",
        f"# {name}",
        _introduction(spec, origin),
        restriction(spec.trained_on),
        _usage(spec, name),
        _figures(measured.values()),
        _per_class(report) if report is not None else "",
        USES,
        limits(report),
        _training(spec, origin),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(spec: ModelSpec, measured: Iterable[SplitFigures], origin: Origin) -> dict[str, Yaml]:
    front: dict[str, Yaml] = {**front_licence(spec)}
    front |= {
        "library_name": "transformers",
        "pipeline_tag": "image-classification",
        "tags": ["facial-expression-recognition", "fervit", "vision", spec.arch],
    }
    if is_hub_id(origin.base_model):
        front["base_model"] = origin.base_model
    if origin.dataset:
        front["datasets"] = [dataset_id(origin.dataset)]
    shown = [part for part in measured if part.figures]
    if shown:
        front["metrics"] = sorted({METRICS[figure.key][0] for part in shown for figure in part.figures})
        results: list[Yaml] = [_result(part, origin.dataset or "the training data set") for part in shown]
        front["model-index"] = [{"name": spec.name or spec.arch, "results": results}]
    return front


def front_licence(spec: ModelSpec) -> dict[str, str]:
    """Return what the Hub's front matter says of the licence: what a model was trained on overrules its own."""
    licence = spec.licence.strip()
    if found := non_commercial(spec.trained_on):
        return {"license": "other", "license_name": f"non-commercial ({', '.join(each.name for each in found)})"}
    if licence.lower() in HUB_LICENCES.split():
        return {"license": licence.lower()}
    return {"license": "other", "license_name": licence or "not stated"}


def restriction(licences: Sequence[Licence]) -> str:
    """Return the paragraph that says that a model is not for commercial use; nothing where it may be."""
    found = "; ".join(licence.described() for licence in non_commercial(licences))
    return f"**Not for commercial use.** It has learnt from {found}." if found else ""


def licence_facts(licences: Sequence[Licence]) -> dict[str, str]:
    """Return a card's fact about the licences of what a model was trained on; none where nobody noted them."""
    return {"Licences of what it has learnt from": "; ".join(licence.described() for licence in licences)}


def _result(part: SplitFigures, training_data: str) -> dict[str, Yaml]:
    """Return one entry of the Hub's model-index: what was measured on one split."""
    dataset = part.dataset or training_data
    return {
        "task": {"type": "image-classification", "name": "Facial expression recognition"},
        "dataset": {"type": dataset_id(dataset), "name": dataset, "split": part.split},
        "metrics": [
            {"type": METRICS[figure.key][0], "value": round(figure.value, 4), "name": METRICS[figure.key][1]}
            for figure in part.figures
        ],
    }


def is_hub_id(name: str) -> bool:
    """Tell whether a base model's name is an id on the Hub (`owner/name`) rather than words."""
    return name.count("/") == 1 and " " not in name


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


def _introduction(spec: ModelSpec, origin: Origin) -> str:
    size = spec.preprocess.image_size
    start = f", fine-tuned from {origin.base_model}" if origin.base_model else ""
    data = f" on {origin.dataset}" if origin.dataset else ""
    kind = "convolutional network" if spec.arch in CONVOLUTIONAL else "Vision Transformer"
    return (
        f"A {kind} (`{spec.arch}`, {size} x {size} px input{start}) that predicts the expression a face "
        f"shows, trained{data} with fervit. "
        f"It predicts one of {len(spec.labels)} labels: {', '.join(spec.labels)}."
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

With transformers, on an image that is a face crop already (the detector's box{around}; grey or colour):

```python
from transformers import pipeline

classify = pipeline("image-classification", model="{name}")
classify("face.jpg")
```"""


def _figures(measured: Iterable[SplitFigures]) -> str:
    measured = list(measured)
    if not measured:
        return ""
    rows = []
    for part in measured:
        where = f"{part.dataset}, {part.split}" if part.dataset else part.split
        for figure in part.figures:
            interval = f"{figure.interval[0]:.4f} to {figure.interval[1]:.4f}" if figure.interval else NONE
            count = NONE if figure.count is None else f"{figure.count:,}"
            rows.append((where, METRICS[figure.key][1], f"{figure.value:.4f}", interval, count))
    note = (
        "public_test serves to choose and to calibrate a model, so it flatters; private_test is read once."
        if any(part.split == "public_test" for part in measured)
        else ""
    )
    table = markdown_table(("measured on", "figure", "value", "95 % interval", "faces"), rows, left=2)
    return "\n\n".join(part for part in ("## How good it is", table, note) if part)


def _per_class(report: Report) -> str:
    rows = [
        (
            figures.label,
            _score(figures.precision),
            _score(figures.recall.value if figures.recall.count else None),
            _score(figures.f1),
            f"{figures.recall.count:,}",
        )
        for figures in report.per_class
    ]
    table = markdown_table(("expression", "precision", "recall", "F1", "faces"), rows)
    return f"Every expression on {report.split}:\n\n{table}"


def _score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def limits(report: Report | None = None) -> str:
    """Return the limits, with what was measured of groups of people and of corrupted images."""
    groups, robustness = GROUPS_UNKNOWN, ROBUSTNESS_UNKNOWN
    if report is not None and report.groups:
        sentences = [f"  - {part.column}: {sentence}" for part in report.groups for sentence in part.sentences]
        groups = "\n".join(["- By group of people:", *sentences])
    if report is not None and report.robustness is not None:
        found = report.robustness
        lines = [f"- Corrupted images ({found.dataset}, {found.split}): {found.summary}"]
        for subset in found.subsets:
            inside, outside = subset.inside.accuracy, subset.outside
            text = f"  - {subset.name}: {percent(inside.value, 1)} correct on {inside.count:,} faces"
            if outside is not None:
                text += f", {percent(outside.accuracy.value, 1)} on the {outside.accuracy.count:,} others"
            lines.append(text)
        robustness = "\n".join(lines)
    return LIMITS.format(groups=groups, robustness=robustness)


def _calibration(spec: ModelSpec) -> dict[str, str]:
    """Return the fact about calibration; a temperature of 1 is none."""
    if spec.temperature == 1:
        return {"Calibration": "none"}
    return {"Calibration temperature": f"{spec.temperature:.4f}, folded into the classifier's weights"}


def _training(spec: ModelSpec, origin: Origin) -> str:
    facts = {
        "Started from": origin.started_from,
        "Training data": origin.dataset,
        "Hash of the training data": f"`{spec.data_hash}`" if spec.data_hash else "",
        **_calibration(spec),
        "Licence": spec.licence or origin.licence,
        **licence_facts(spec.trained_on),
    }
    text = "## How it was made\n\n" + "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)
    if "fer2013" in origin.dataset.lower() or KNOWN["fer2013"] in spec.trained_on:
        text += f"\n\n{FER2013_LICENCE}"
    if origin.command:
        text += f"\n\n```sh\n{origin.command}\n```"
    if origin.recipe:
        text += f"\n\n```toml\n{origin.recipe.strip()}\n```"
    return text
