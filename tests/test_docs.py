"""The pages point at what exists: links, headings, files, and the names that stand beside a file."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "models/*/README.md", "src/fervit/assets/*/README.md")
    for path in ROOT.glob(pattern)
)
GUIDES = [
    ROOT / name
    for name in ("CONTRIBUTING.md", "docs/architecture.md", "docs/trust.md", "docs/training.md", "docs/data.md")
]
PLACES = ("src/", "tests/", "docs/", "scripts/", "benchmarks/", "models/")
pytestmark = pytest.mark.skipif(not (ROOT / "CONTRIBUTING.md").is_file(), reason="the pages are in the repository only")


def prose(page: Path) -> Iterator[str]:
    """Yield the lines outside of blocks of code."""
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield line


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = [line.lstrip("#").strip() for line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(page))):
        if target.startswith("http"):
            continue
        file, _, heading = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), target
        assert not heading or heading in anchors(linked), target


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_every_named_file_exists_and_holds_the_name_beside_it(page: Path) -> None:
    text = " ".join(prose(page))
    for code in re.findall(r"`([^`]+)`", text):
        path = f"src/{code}" if re.fullmatch(r"fervit/[\w/]+\.py", code) else code
        if path.startswith(PLACES) and not set(path) & set("<* "):
            assert (ROOT / path).exists(), code
    for symbols, path in re.findall(r"((?:`[\w.]+`(?:, | and ))*`[\w.]+`) in `((?:src|tests)/[\w/]+\.py)`", text):
        content = (ROOT / path).read_text(encoding="utf-8")
        for symbol in re.findall(r"[\w.]+", symbols.replace(" and ", " ")):
            last = symbol.rpartition(".")[2]
            assert re.search(rf"\b{last}\b", content), f"{symbol} in {path}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent in (ROOT, ROOT / "docs")], ids=name)
def test_lines_of_prose_have_at_most_120_characters(page: Path) -> None:
    assert [line for line in prose(page) if len(line) > 120 and not line.lstrip().startswith("|")] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_shows_a_path_of_the_machine_that_it_was_written_on(path: Path) -> None:
    assert re.findall(r"(?:^|[\s(])/(?:tmp|root|work|home|Users)/\S+", path.read_text(encoding="utf-8")) == []
