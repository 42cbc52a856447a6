"""The blocks of code of the documentation's pages: found, run, or held to what the program knows.

A block is run, unless a comment says why not: `<!-- not run: it serves until it is stopped -->` before the block, or
`<!-- not run on this page: it needs FER2013 and hours -->` on the page, or `<!-- text is not run on this page: ... -->`
for its blocks of the language `text`. What is not run is read all the same: commands by the command line's own parser,
Python by its compiler, and options of scripts are looked up in the scripts.
"""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

import fervit
from fervit.cli import app
from tests.helpers import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")])
GENERATED = {"report.md": "`fervit evaluate --report` wrote the page, on FER2013"}
SHELL = {"bash", "sh", "shell", "console", "text", ""}
ON_PAGE = re.compile(r"<!-- not run on this page: (.+?) -->")
ON_TEXT = re.compile(r"<!-- text is not run on this page: (.+?) -->")
ON_BLOCK = re.compile(r"<!-- not run: (.+?) -->")
PROGRAM = re.compile(r"^(fervit|pip|make|curl|docker|npm|tar|unzip|export|git|python|\.venv/bin/pytest|[A-Z_]+=\S+) ")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language and text, and why it is not run (empty: it is)."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    whole, of_text = ON_PAGE.search(text), ON_TEXT.search(text)
    general = GENERATED.get(page.name, whole[1] if whole else "")
    reason, opened, lines = "", None, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"^\s*```\s*(\w*)", line)
        if fence and opened is None:
            opened, lines = (number, fence[1]), []
        elif fence and opened is not None:
            why = reason or general or (of_text[1] if of_text and opened[1] == "text" else "")
            yield Block(page, opened[0], opened[1], "\n".join([*lines, ""]), why)
            opened, reason = None, ""
        elif opened is not None:
            lines.append(line)
        elif line.strip():
            marked = ON_BLOCK.search(line)
            reason = marked[1] if marked else ""


def commands_of(block: Block) -> list[list[str]]:
    """Return the commands of a block as words; in a transcript only the lines after `$`; output is none."""
    if block.language not in SHELL:
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    transcript = any(line.startswith("$ ") for line in lines)
    variables: dict[str, str] = {}
    found = []
    for line in lines:
        if transcript and not line.startswith("$ "):
            continue
        line = line.removeprefix("$ ")
        assigned = re.match(r'^(\w+)="(.*)"$', line)
        if assigned:
            variables[assigned[1]] = assigned[2]
            continue
        if PROGRAM.match(line):
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            for part in re.split(r" (?:&&|\|) ", line):
                words = shlex.split(part, comments=True)
                while words and re.match(r"^[A-Z_]+=", words[0]):
                    words = words[1:]
                found.append(words)
    return [words for words in found if words]


def parse_command(words: list[str]) -> Any:
    """Parse the words of a `fervit` command without running it; raises what the command line says against it."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("fervit", [], resilient_parsing=True)
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"no command {rest[0]}: {shlex.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    if hasattr(command, "commands") or "--help" in rest or rest == ["..."]:
        return context
    try:
        return command.make_context(words[1], [word for word in rest if word != "..."], parent=context)
    except Exception as error:  # the message of Typer's errors is not their text
        raise AssertionError(f"{shlex.join(words)}: {getattr(error, 'message', error)}") from error


def check_words(words: list[str]) -> None:
    """Hold a command that is not run to what exists: options, scripts, targets of make, extras."""
    if words[0] == "fervit":
        parse_command(words)
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in words[1:] if "=" not in word]
        for name in targets:
            assert re.search(rf"^{name}:", makefile, re.MULTILINE), f"the Makefile has no target {name}"
    elif words[0] == "python" and words[1].endswith(".py") and "/" in words[1]:
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        options = [word.partition("=")[0] for word in words[2:] if word.startswith("--")]
        assert [name for name in options if name not in script and f'"{name[2:]}' not in script] == []
    elif words[0] == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        named = [
            extra for word in words for group in re.findall(r"fervit\[([\w,]+)\]", word) for extra in group.split(",")
        ]
        assert [extra for extra in named if extra not in extras] == []


def check_python(block: Block) -> None:
    """Compile an example that is not run, and look up the names that it takes from `fervit`."""
    for node in ast.walk(ast.parse(block.text, block.place)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fervit":
            assert hasattr(fervit, node.attr), f"{block.place}: fervit.{node.attr}"
