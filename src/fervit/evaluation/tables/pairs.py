"""Any number of models on any number of data sets, compared in pairs: `compare_models()` returns `Comparisons`.

With many pairs, one of them differs by chance at p < 0.05 sooner or later. Holm's correction makes that as rare over
all pairs and data sets together as it is for one (Holm 1979, Scandinavian Journal of Statistics 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypedDict, Unpack

import numpy as np

from fervit.data.dataset import split_words
from fervit.errors import ConfigError
from fervit.evaluation.comparison import LEVEL, Comparison, ComparisonJson, compare_probs
from fervit.evaluation.intervals import FEWEST
from fervit.evaluation.parts import Part
from fervit.evaluation.prediction import PredictOptions, predict_dataset
from fervit.evaluation.tables.setup import Setup, find_parts, ticks
from fervit.formatting import NONE, csv_table, latex_table, markdown_table, p_value, percent

HEADER = (
    *("A", "B", "data", "faces", "accuracy A", "accuracy B", "B - A, points", "95 % interval", "p (McNemar)"),
    *("p (Holm)", "better"),
)
CSV_HEADER = (
    *("a", "b", "data", "split", "n", "accuracy_a", "accuracy_b", "accuracy_difference", "accuracy_difference_low"),
    *("accuracy_difference_high", "macro_f1_a", "macro_f1_b", "macro_f1_difference", "macro_f1_difference_low"),
    *("macro_f1_difference_high", "only_a", "only_b", "p", "p_holm", "better", "left_out"),
)


class PairJson(ComparisonJson):
    """A comparison of several, with its corrected p."""

    p_holm: float
    better: str | None


class ComparisonsJson(TypedDict):
    """`Comparisons` in what `fervit compare --json` writes for several models or data sets."""

    comparisons: list[PairJson]
    notes: list[str]


@dataclass(frozen=True)
class Comparisons:
    """Pairs of models on one or more data sets.

    Attributes:
        pairs: the comparisons, those of the first data set first.
    """

    pairs: tuple[Comparison, ...]

    @property
    def p_holm(self) -> tuple[float, ...]:
        """The p of each pair's McNemar test, corrected for the number of all of them."""
        return tuple(holm([pair.test.p for pair in self.pairs]))

    @property
    def better(self) -> tuple[str | None, ...]:
        """The more accurate model of each pair, or None where chance explains the difference."""
        return tuple(_better(pair, p) for pair, p in zip(self.pairs, self.p_holm, strict=True))

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The lines below `HEADER`."""
        return [_cells(pair, p, better) for pair, p, better in self._lines()]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know to take the figures for what they are."""
        count = len(self.pairs)
        result = [
            f"p (Holm) is corrected for the {count} comparisons; a model is called better where it is below {LEVEL} "
            "and the interval (paired bootstrap, of this pair alone) excludes 0."
        ]
        for pair in self.pairs:
            if pair.left_out:
                gone = ", ".join(f"{count:,} of {name}" for name, count in pair.left_out.items())
                result.append(
                    f"{pair.dataset}: faces whose label one of the models does not know are left out: {gone}."
                )
            if pair.count < FEWEST:
                result.append(f"{pair.dataset}: {pair.count} faces are too few to tell models apart.")
            if pair.split == "public_test":
                result.append(
                    "public_test is for choosing: a model that was chosen on it looks better there than it is."
                )
        return tuple(dict.fromkeys(result))

    def to_markdown(self) -> str:
        """Return the table as Markdown, with the notes below it."""
        return "\n".join([markdown_table(HEADER, self.cells, left=3), "", *(f"- {note}" for note in self.notes), ""])

    def to_latex(self) -> str:
        """Return the table as a LaTeX `tabular` in the style of the package booktabs, with the notes as comments."""
        return latex_table(HEADER, self.cells, "lllrrrrrrrl", notes=self.notes)

    def to_csv(self) -> str:
        """Return the table as CSV: fractions 0..1, all digits, empty where there is none."""
        return csv_table(CSV_HEADER, [_values(pair, p, better) for pair, p, better in self._lines()])

    def to_dict(self) -> ComparisonsJson:
        """Return the JSON object."""
        rows: list[PairJson] = [{**pair.to_dict(), "p_holm": p, "better": better} for pair, p, better in self._lines()]
        return {"comparisons": rows, "notes": list(self.notes)}

    def _lines(self) -> list[tuple[Comparison, float, str | None]]:
        return list(zip(self.pairs, self.p_holm, self.better, strict=True))


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down method, in the order given.

    To reject where one is below a level keeps the chance of any wrong rejection below that level.

    >>> [round(value, 2) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    return [float(value) for value in corrected]


def compare_models(
    setup: Setup,
    *,
    split: str | None = None,
    baseline: bool = False,
    strict_labels: bool = False,
    **options: Unpack[PredictOptions],
) -> Comparisons:
    """Compare models in pairs on every data set, each pair on the same images.

    Args:
        setup: two or more models, and data sets, see `make_setup`.
        split: of every data set, see `choose_split`; a set that is one split is measured whatever its name.
        baseline: compare the others with the first model alone, instead of all pairs.
        strict_labels: refuse images whose label a model does not know, instead of leaving them out.
        options: `tta`, `batch_size` and `progress` (over all predictions), see `PredictOptions`.

    Raises:
        DataError: a split is unknown or empty.
        ModelError: a model's labels do not fit, or it does not return probabilities.
        ConfigError: there are fewer than two models, or an unknown `tta`.
    """
    if len(setup.models) < 2:
        raise ConfigError("expected two or more models to compare, got one")
    parts = find_parts(setup, split=split, strict_labels=strict_labels, together=True, tta=options.get("tta"))
    progress = options.get("progress")
    predicted: dict[tuple[int, int], np.ndarray] = {}
    for cell, tick in zip(parts, ticks(list(parts.values()), progress), strict=True):
        options["progress"] = tick
        predicted[cell] = predict_dataset(setup.models[cell[0]], parts[cell].images, **options)
    chosen = [(a, b) for a, b in combinations(range(len(setup.models)), 2) if a == 0 or not baseline]
    return Comparisons(
        tuple(
            _compare(setup, (a, b), column, predicted, parts[0, column])
            for column in range(len(setup.datasets))
            for a, b in chosen
        )
    )


def _compare(
    setup: Setup, pair: tuple[int, int], column: int, predicted: dict[tuple[int, int], np.ndarray], part: Part
) -> Comparison:
    first, second = (predicted[row, column] for row in pair)
    names = setup.model_names[pair[0]], setup.model_names[pair[1]]
    result = compare_probs(first, second, part.images, names=names, split=part.split)
    return replace(result, dataset=setup.data_names[column], left_out=part.left_out)


def _better(pair: Comparison, p_holm: float) -> str | None:
    if not (pair.distinguishable and p_holm < LEVEL):
        return None
    return pair.names[int(pair.accuracy[1] > pair.accuracy[0])]


def _cells(pair: Comparison, p_holm: float, better: str | None) -> tuple[str, ...]:
    a, b = pair.accuracy
    return (
        *pair.names,
        f"{pair.dataset}, {split_words(pair.split)}",
        f"{pair.count:,}",
        percent(a),
        percent(b),
        f"{100 * (b - a):+.2f}",
        "{:+.2f} to {:+.2f}".format(*(100 * end for end in pair.accuracy_ci95)),
        p_value(pair.test.p),
        p_value(p_holm),
        better or NONE,
    )


def _values(pair: Comparison, p_holm: float, better: str | None) -> tuple[object, ...]:
    (a, b), (f1_a, f1_b) = pair.accuracy, pair.macro_f1
    return (
        *(*pair.names, pair.dataset, pair.split, pair.count, a, b, b - a, *pair.accuracy_ci95),
        *(f1_a, f1_b, f1_b - f1_a, *pair.macro_f1_ci95, *pair.only, pair.test.p, p_holm, better),
        "; ".join(f"{name} {count}" for name, count in pair.left_out.items()),
    )
