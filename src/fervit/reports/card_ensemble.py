"""The `README.md` of an ensemble's folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fervit.formatting import markdown_table, percent
from fervit.reports.card import USES, front_licence, licence_facts, limits, restriction
from fervit.types import ModelSpec

Estimate = tuple[float, float, float]
"""A figure, and the lower and upper end of its 95 % interval."""


@dataclass(frozen=True)
class EnsembleLine:
    """One line of an ensemble's table: a member with its weight, or the whole, whose weight is None."""

    name: str
    weight: float | None
    accuracy: Estimate
    nll: Estimate


@dataclass(frozen=True)
class EnsembleFigures:
    """What an ensemble is worth on public_test.

    Attributes:
        kind: such as `soft vote (fitted weights)`.
        dataset: name of the data set.
        count: number of faces.
        members: number of members with a weight above 0.
        lines: of the table.
        verdict: whether it is better than its best member, in one sentence.
    """

    kind: str
    dataset: str
    count: int
    members: int
    lines: Sequence[EnsembleLine]
    verdict: str


def ensemble_card(spec: ModelSpec, figures: EnsembleFigures, *, command: str = "") -> str:
    """Return the text of an ensemble's `README.md`; `command` is the command line that made it."""
    licence = spec.licence or "not stated"
    named = front_licence(spec)["license_name"] if spec.non_commercial else licence
    facts = [f"- {name}: {fact}" for name, fact in licence_facts(spec.trained_on).items() if fact]
    rows = [
        (line.name, "" if line.weight is None else f"{line.weight:.3f}", _accuracy(line.accuracy), _nll(line.nll))
        for line in figures.lines
    ]
    sizes = " and ".join(f"{preprocess.image_size} x {preprocess.image_size}" for preprocess in spec.inputs.values())
    parts = [
        f"---\nlicense: other\nlicense_name: {json.dumps(named)}\npipeline_tag: image-classification\n"
        "tags:\n- facial-expression-recognition\n- fervit\n- ensemble\n---",
        f"# {spec.name}",
        f"A {figures.kind} of {figures.members} models that predicts the expression a face shows, made with fervit. "
        f"It predicts one of {len(spec.labels)} labels: {', '.join(spec.labels)}. The members, with their own cards, "
        "are in `members/`.",
        restriction(spec.trained_on),
        "## How to use it\n\nfervit takes this folder wherever it takes a model; `fervit export` makes one ONNX file "
        f"of it (input: {sizes} px). `transformers` opens the members, not the ensemble.\n\n```sh\n"
        f"fervit predict photo.jpg --model {spec.name}\nfervit export {spec.name} --out {spec.name}.onnx\n```",
        f"## How good it is\n\n{figures.dataset}, public_test, {figures.count:,} faces, with 95 % intervals. "
        "Members and weights were chosen on these very faces, so the figures flatter; private_test was not read.",
        markdown_table(("", "weight", "accuracy", "negative log-likelihood"), rows),
        figures.verdict[0].upper() + figures.verdict[1:] + ".",
        USES,
        limits(),
        f"## How it was made\n\n- Calibration temperature: {spec.temperature:.4f}, applied to the ensemble's "
        "probabilities\n" + "\n".join([f"- Licence of the members: {licence}", *facts]),
        f"```sh\n{command}\n```" if command else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _accuracy(estimate: Estimate) -> str:
    value, low, high = estimate
    return f"{percent(value)} ({100 * low:.2f} to {100 * high:.2f})"


def _nll(estimate: Estimate) -> str:
    return "{:.4f} ({:.4f} to {:.4f})".format(*estimate)
