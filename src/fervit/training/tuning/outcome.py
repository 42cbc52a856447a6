"""What a search leaves in its folder: the best recipe, all trials as a table, two pictures and a summary."""

import csv
import dataclasses
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fervit.config.spaces import Choices, Range, Space, with_values
from fervit.config.training import TrainConfig
from fervit.errors import ConfigError
from fervit.files import cannot_write, replacing
from fervit.formatting import NONE, markdown_table, percent
from fervit.reports.figures.tuning import history_png, importance_png
from fervit.reports.settings_text import to_toml
from fervit.training.run_folder import write_whole
from fervit.training.tuning.rows import START, TrialRow, best_of, finished, in_state, row_of

if TYPE_CHECKING:
    from optuna.study import Study

    from fervit.training.tuning.search import Search

ENOUGH_TRIALS = 4  # complete ones, below which an importance is not computed
MANY_TRIALS = 15  # complete ones, below which it is called unreliable
FIGURES = ("accuracy", "macro_f1", "nll", "epoch", "seconds")
NAMES = {"macro_f1": "macro-F1", "accuracy": "accuracy", "nll": "NLL"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    Attributes:
        best: the complete trial with the best objective.
        start: the recipe as it is, where that was a trial.
        trials: all that have ended, in order.
        importance: part of the objective's variance that each setting explains (fANOVA, Hutter et al. 2014), 0..1, the
            largest first; empty where too few trials are complete.
        config: the best settings.
        out: the folder with `best.toml`, `trials.csv`, `summary.md`, `history.png` and `importance.png`.
        objective: `macro_f1`, `accuracy` or `nll`.
    """

    best: TrialRow
    start: TrialRow | None
    trials: tuple[TrialRow, ...]
    importance: Mapping[str, float]
    config: TrainConfig
    out: Path
    objective: str


def write_outcome(study: "Study", search: "Search", about: Mapping[str, object]) -> TuneResult:
    """Write a search's files; return what it found.

    Raises:
        ConfigError: no trial is complete, or a file cannot be written.
    """
    trials = finished(study)
    rows = tuple(row_of(trial) for trial in trials)
    best = best_of(study)
    if best is None:
        raise ConfigError(_why_nothing(rows))
    started = [row for trial, row in zip(trials, rows, strict=True) if trial.user_attrs.get(START)]
    start = next((row for row in started if row.state == "complete"), None)
    config = with_values(search.task.config, best.params)
    result = TuneResult(
        row_of(best), start, rows, _importance(study), config, search.task.out, search.options.objective
    )
    try:
        _write(result, search, about)
    except OSError as error:
        raise cannot_write(search.task.out, error) from error
    return result


def _why_nothing(rows: Sequence[TrialRow]) -> str:
    if not rows:
        return "no trial has finished yet: give more --timeout-s; the same command goes on"
    failed = [row for row in rows if row.state == "failed"]
    if not failed:
        return f"none of {len(rows)} trials is complete"
    return f"none of {len(rows)} trials could be trained; the first: {failed[0].reason}"


def _importance(study: "Study") -> dict[str, float]:
    """Return how much of the objective's variance each setting explains; nothing where that cannot be said."""
    import optuna

    complete = in_state(study, "COMPLETE")
    if len(complete) < ENOUGH_TRIALS or len({trial.value for trial in complete}) == 1:
        return {}
    try:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError) as error:
        logger.warning("the importance of the settings cannot be computed: %s", error)
        return {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _write(result: TuneResult, search: "Search", about: Mapping[str, object]) -> None:
    out = result.out
    write_whole(out / "best.toml", best_toml(result, search, about))
    write_whole(out / "trials.csv", trials_csv(result.trials, search.space))
    write_whole(out / "summary.md", summary(result, search, about))
    pictures = {
        "history.png": history_png(result.trials, what=NAMES[result.objective], maximize=result.objective != "nll")
    }
    if result.importance:
        pictures["importance.png"] = importance_png(result.importance)
    for name, content in pictures.items():
        with replacing(out / name) as beside:
            beside.write_bytes(content)


def best_toml(result: TuneResult, search: "Search", about: Mapping[str, object]) -> str:
    """Return the best settings as a recipe, with comments that say where they are from."""
    best = result.best
    lines = [
        f"# The best of {len(result.trials)} trials (trial {best.number}) of `fervit tune` for the recipe "
        f"{about['recipe']}.",
        f"# Chosen by {_objective_text(result)} on public_test: {_shown_value(result, best)}"
        + (f"; the recipe as it is: {_shown_value(result, result.start)}" if result.start else "")
        + ". private_test was not read.",
        f"# Data: {about['data']} (hash {str(about['data_hash'])[:16]}){_fraction_text(about)}.",
        f"# Command: {search.options.command or 'fervit.tune in Python'}",
        f"# Varied: {', '.join(f'{key} = {_short(value)}' for key, value in best.settings.items())}",
        "# Being the best of several on the same images, its figures there are optimistic.",
    ]
    return (
        "\n".join(line.replace("\n", " ") for line in lines) + "\n" + to_toml(dataclasses.asdict(result.config)) + "\n"
    )


def trials_csv(rows: Sequence[TrialRow], space: Space) -> str:
    """Return the trials as CSV: number, state, objective, a column for each setting, figures, reason."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["trial", "state", "value", *space, *FIGURES, "reason"])
    for row in rows:
        settings = [_cell(row.settings.get(key)) for key in space]
        figures = [_cell(getattr(row, name)) for name in FIGURES]
        writer.writerow([row.number, row.state, _cell(row.value), *settings, *figures, row.reason])
    return table.getvalue()


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def summary(result: TuneResult, search: "Search", about: Mapping[str, object]) -> str:
    """Return a search as a page of Markdown."""
    best, how = result.best, search.options
    states = [row.state for row in result.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    lines = [
        f"# Tuning of {about['recipe']}",
        "",
        f"Best: trial {best.number}, {_objective_text(result)} {_shown_value(result, best)} on public_test"
        + _gain(result)
        + ".",
        "",
        f"- trials: {len(result.trials)} ({counts})",
        f"- data: {about['data']}, hash `{str(about['data_hash'])[:16]}`{_fraction_text(about)}",
        f"- objective: {_objective_text(result)} on public_test, each image calibrated by a fit to others; "
        "private_test was not read",
        f"- sampler: {'grid' if how.is_grid else how.sampler}; study `{how.study}`",
        f"- command: `{how.command or 'fervit.tune in Python'}`",
        "",
        "The best of several trials on the same images is optimistic: train `best.toml` with several seeds "
        "(`fervit train --recipe best.toml --seeds 3`) before you compare it.",
        "",
        "## Space",
        "",
        markdown_table(["setting", "values", "best"], _space_rows(search.space, best), left=2),
        "",
        *_importance_lines(result),
        "## Trials",
        "",
        "![history](history.png)",
        "",
        _trials_table(result, search.space),
        "",
    ]
    return "\n".join(lines)


def _gain(result: TuneResult) -> str:
    if result.start is None or result.start.value is None or result.best.value is None:
        return ""
    if result.start.number == result.best.number:
        return "; that is the recipe as it is"
    gap = result.best.value - result.start.value
    shown = f"{100 * gap:+.2f} points" if result.objective == "accuracy" else f"{gap:+.4f}"
    return f" ({shown} over the recipe as it is, trial {result.start.number}: {_shown_value(result, result.start)})"


def _importance_lines(result: TuneResult) -> list[str]:
    if not result.importance:
        return []
    rows = [[key, percent(value, 0)] for key, value in result.importance.items()]
    complete = sum(row.state == "complete" for row in result.trials)
    return [
        "## Importance",
        "",
        f"Part of the objective's variance that each setting explains (fANOVA), over {complete} complete trials"
        + (": too few to rely on." if complete < MANY_TRIALS else "."),
        "",
        "![importance](importance.png)",
        "",
        markdown_table(["setting", "importance"], rows),
        "",
    ]


def _space_rows(space: Space, best: TrialRow) -> list[list[str]]:
    return [[f"`{key}`", _values_text(one), _short(best.settings.get(key))] for key, one in space.items()]


def _values_text(one: Range | Choices) -> str:
    if isinstance(one, Choices):
        return ", ".join(map(_short, one.values))
    text = f"{_short(one.low)} to {_short(one.high)}"
    return text + (", log" if one.log else "") + (f", step {_short(one.step)}" if one.step else "")


def _trials_table(result: TuneResult, space: Space) -> str:
    header = ["trial", "state", "objective", *space, "accuracy", "macro-F1", "NLL", "seconds", "reason"]
    rows = []
    for row in result.trials:
        rows.append(
            [
                f"**{row.number}**" if row.number == result.best.number else str(row.number),
                row.state,
                _shown_value(result, row),
                *(_short(row.settings.get(key)) for key in space),
                percent(row.accuracy),
                NONE if row.macro_f1 is None else f"{row.macro_f1:.3f}",
                NONE if row.nll is None else f"{row.nll:.3f}",
                NONE if row.seconds is None else f"{row.seconds:.0f}",
                row.reason,
            ]
        )
    return markdown_table(header, rows, left=2)


def _objective_text(result: TuneResult) -> str:
    return NAMES[result.objective]


def _shown_value(result: TuneResult, row: TrialRow) -> str:
    if row.value is None:
        return NONE
    return percent(row.value) if result.objective == "accuracy" else f"{row.value:.4f}"


def _fraction_text(about: Mapping[str, object]) -> str:
    fraction = about["fraction"]
    return "" if fraction == 1 else f"; {percent(float(str(fraction)), 0)} of the training images, stratified by label"


def _short(value: object) -> str:
    """Return a setting's value, rounded for people."""
    if value is None:
        return NONE
    return f"{value:.4g}" if isinstance(value, float) else str(value)
