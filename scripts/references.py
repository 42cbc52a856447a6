"""The site's references, made from the code itself: every command with its options, every public name.

`scripts/docs_site.py` puts them into the site; `tests/scripts/test_references.py` holds them to be complete.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import typer

import fervit
from fervit.cli import app

GROUPS = {
    "Predict": ("inference", "faces", "types", "errors"),
    "Images and videos": ("media",),
    "Video studies": ("analysis",),
    "Train, measure, export": ("api", "config", "evaluation", "training", "ensemble", "export", "reports"),
    "Data sets": ("data", "pseudolabels"),
    "More": (),
}
"""A page of the Python reference for each, with the public names of these packages; the last one has the rest."""
FURTHER = {
    "Train, measure, export": (
        "fervit.config.load_config",
        "fervit.config.AugmentConfig",
        "fervit.ensemble.ensemble",
    ),
    "Predict": ("fervit.types.Frame", "fervit.types.Classifier", "fervit.faces.base.FaceDetector"),
}
"""Names that the pages use, or that public signatures show, and that are not in `fervit.__all__`."""


@dataclass
class Command:
    """A command of the command line: the words that call it, and Typer's object."""

    words: tuple[str, ...]
    command: Any
    context: Any = field(repr=False)

    @property
    def name(self) -> str:
        """How it is called: `fervit data inspect`."""
        return " ".join(self.words)


def commands() -> Iterator[Command]:
    """Yield all commands, those of groups after their group, in the order of `fervit --help`."""
    root = typer.main.get_command(app)
    context = root.make_context("fervit", [], resilient_parsing=True)
    yield from _below(Command(("fervit",), root, context))


def _below(group: Command) -> Iterator[Command]:
    yield group
    for name, command in getattr(group.command, "commands", {}).items():
        context = type(group.context)(command, parent=group.context, info_name=name)
        yield from _below(Command((*group.words, name), command, context))


def cli_page() -> str:
    """Return the page of the command line as Markdown."""
    found = [command for command in commands() if len(command.words) > 1]
    lines = ["# Command line", "", "Made from the commands themselves; `fervit COMMAND --help` prints the same.", ""]
    lines += ["| command | what it does |", "|---|---|"]
    for command in found:
        first = (command.command.help or "").strip().split("\n\n")[0]
        lines.append(f"| [`{command.name}`](#{'-'.join(command.words)}) | {_cell(first)} |")
    for command in found:
        lines += ["", *_section(command)]
    return "\n".join([*lines, ""])


def _section(command: Command) -> list[str]:
    usage = " ".join(command.command.get_usage(command.context).removeprefix("Usage: ").split())
    text = (command.command.help or "").strip()
    lines = [f"## {command.name}", "", "```text", usage, "```", "", text]
    for kind in ("argument", "option"):
        rows = [_row(*record) for record in records(command) if record[0] == kind]
        if rows:
            lines += ["", f"| {kind} | meaning |", "|---|---|", *rows]
    return lines


def records(command: Command) -> list[tuple[str, str, str]]:
    """Return `(argument or option, how it is written, what it means)` for each parameter that `--help` shows."""
    found = []
    for parameter in command.command.get_params(command.context):
        record = parameter.get_help_record(command.context)
        if record is not None:
            found.append((str(parameter.param_type_name), str(record[0]), str(record[1])))
    return found


def _row(_: str, written: str, meaning: str) -> str:
    return f"| `{written.replace('|', chr(92) + '|')}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    """Return text as a cell of a table: one line, nothing of it taken for Markdown's signs or HTML."""
    escaped = "".join(f"\\{sign}" if sign in "|*_[]<>" else sign for sign in " ".join(text.split()))
    return escaped.replace("`\\", "`")


def api_pages() -> dict[str, str]:
    """Return the pages of the Python reference, by their titles, as Markdown for mkdocstrings."""
    homes = {name: getattr(fervit, "_HOMES")[name] for name in fervit.__all__}  # noqa: B009 - the one table of them
    group_of = {package: title for title, packages in GROUPS.items() for package in packages}
    last = list(GROUPS)[-1]
    names: dict[str, list[str]] = {title: [] for title in GROUPS}
    for name, home in homes.items():
        module, _, attribute = home.partition(":")
        package = module.split(".")[1]
        names[group_of.get(package, last)].append(f"fervit.{name}" if not attribute else f"{module}.{attribute}")
    return {title: _api_page(title, found) for title, found in names.items() if found}


def _api_page(title: str, names: list[str]) -> str:
    lines = [f"# {title}", ""]
    for name in names:
        lines += [f"::: {name}", ""]
    if FURTHER.get(title):
        lines += ["Used by these, and imported from where they stand:", ""]
        for name in FURTHER[title]:
            lines += [f"::: {name}", ""]
    return "\n".join(lines)
