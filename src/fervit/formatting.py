"""Figures as text, for people: per cents, intervals, aligned and Markdown tables. One definition for every output."""

import unicodedata
from collections.abc import Sequence

NONE = "\N{EN DASH}"
"""The text where there is no figure."""


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as text; a dash for None.

    >>> percent(0.7331)
    '73.31 %'
    """
    return NONE if fraction is None else f"{100 * fraction:.{digits}f} %"


def percent_interval(interval: Sequence[float] | None, digits: int = 2) -> str:
    """Return an interval of fractions as text; a dash for None.

    >>> percent_interval((0.7184, 0.7473))
    '71.84 to 74.73 %'
    """
    return NONE if interval is None else f"{100 * interval[0]:.{digits}f} to {percent(interval[1], digits)}"


def literal(text: str) -> str:
    r"""Return a text as matplotlib draws it letter by letter: no formulas, and umlauts in one piece.

    >>> literal("5 $ a day")
    '5 \\$ a day'
    """
    return unicodedata.normalize("NFC", text).replace("$", r"\$")


def file_size(size_bytes: float) -> str:
    """Return a number of bytes as text.

    >>> file_size(10**10), file_size(57_582_431), file_size(0)
    ('10.0 GB', '57.6 MB', '0.0 kB')
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes / 1000:.1f} kB"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal: the first column aligned to the left, the others to the right."""
    cells = [header, *rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *others = row
        aligned = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        return "  ".join([first.ljust(widths[0]), *aligned]).rstrip()

    return "\n".join(map(line, (header, ["-" * width for width in widths], *rows)))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are aligned to the left, the others to the right."""
    rule = [*["---"] * left, *["---:"] * (len(header) - left)]
    cells = [[text.replace("|", "\\|") for text in row] for row in (header, *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))
