"""The plan of the package: which part stands above which. Draws it into docs/architecture.md.

Usage: python scripts/house.py

`tests/test_layers.py` holds every module to this plan, and the page to the drawing.
"""

from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- house -->", "<!-- /house -->"

RANKS = {
    "errors": 0,
    "concurrency": 1,
    "files": 1,
    "folders": 2,
    "formatting": 1,
    "label_rules": 2,
    "labels": 1,
    "licences": 1,
    "metadata": 1,
    "probabilities": 1,
    "config": 1,
    "types": 2,
    "media": 3,
    "runtime": 3,
    "weights": 3,
    "faces": 4,
    "models": 4,
    "data": 5,
    "inference": 5,
    "evaluation": 6,
    "serve": 6,
    "reports": 7,
    "export": 7,
    "pseudolabels": 7,
    "analysis": 8,
    "training": 8,
    "ensemble": 8,
    "api": 9,
    "cli": 10,
    "__main__": 11,
}
"""A module imports from its own package or from one of a lower rank."""

RUN_HALF = (
    *("concurrency", "errors", "files", "formatting", "labels", "licences", "metadata", "probabilities", "types"),
    *("media", "runtime", "weights", "faces", "inference", "serve"),
)
"""What predicts: it imports neither PyTorch nor the train half."""

TRAIN_HALF = ("data", "models", "evaluation", "reports", "export", "pseudolabels", "training", "ensemble")
"""What trains, measures and exports; most of it needs `fervit[train]`."""


def picture() -> str:
    """Draw the packages by rank, the highest at the top, as a Markdown block; the two halves have a column each."""
    halves = {"train half": TRAIN_HALF, "run half": RUN_HALF}
    both = [name for name in RANKS if name not in {*TRAIN_HALF, *RUN_HALF}]
    columns = {"for both": both, **halves}
    rows = [["rank", *columns]]
    for rank in sorted(set(RANKS.values()), reverse=True):
        cells = [", ".join(name for name in names if RANKS[name] == rank) for names in columns.values()]
        rows.append([str(rank), *cells])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return "\n".join(["```text", *lines, "```"])


def with_picture(page: str) -> str:
    """Return the page's text with the drawing between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE} needs the lines {BEGIN} and {END}, between which the drawing goes")
    return f"{before}{BEGIN}\n{picture()}\n{END}{after}"


def main() -> None:
    PAGE.write_text(with_picture(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
