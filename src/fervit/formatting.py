"""Figures as text, for people: per cents, intervals, aligned and Markdown tables. One definition for every output."""

import csv
import io
import re
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


def counted(number: int, name: str) -> str:
    """Return a number of things as text.

    >>> counted(1, "frame"), counted(1200, "frame")
    ('1 frame', '1,200 frames')
    """
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def percent_interval(interval: Sequence[float] | None, digits: int = 2) -> str:
    """Return an interval of fractions as text; a dash for None.

    >>> percent_interval((0.7184, 0.7473))
    '71.84 to 74.73 %'
    """
    return NONE if interval is None else f"{100 * interval[0]:.{digits}f} to {percent(interval[1], digits)}"


def p_value(p: float) -> str:
    """Return the p of a test as text.

    >>> p_value(0.0412), p_value(0.00002)
    ('0.041', '2.0e-05')
    """
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


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


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a table for a terminal; the first `left` columns are aligned to the left, the others to the right."""
    cells = [header, *rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        aligned = [text.ljust(width) if k < left else text.rjust(width) for k, (text, width) in enumerate(cells)]
        return "  ".join(aligned).rstrip()

    return "\n".join(map(line, (header, ["-" * width for width in widths], *rows)))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are aligned to the left, the others to the right."""
    rule = [*["---"] * left, *["---:"] * (len(header) - left)]
    cells = [[text.replace("|", "\\|") for text in row] for row in (header, *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))


LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", NONE: "--"},
}
"""Characters that LaTeX reads as commands, or draws as others."""


def latex(text: str) -> str:
    r"""Return a text as LaTeX sets it letter by letter.

    >>> print(latex("90 % of a_b & {c}"))
    90 \% of a\_b \& \{c\}
    """
    return "".join(LATEX.get(character, character) for character in text)


def latex_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], columns: str, *, notes: Sequence[str] = ()
) -> str:
    """Return a LaTeX `tabular` with the rules of the package booktabs.

    Ranges of numbers get an en dash, as in `71.84--74.73`.

    Args:
        header: names of the columns.
        rows: the cells.
        columns: their alignment, `l`, `r` or `c` for each.
        notes: sentences that follow as comments.
    """
    lines = [" & ".join(map(_latex_cell, row)) + r" \\" for row in (header, *rows)]
    comments = [f"% {' '.join(note.split())}" for note in notes]
    return "\n".join(
        [
            *(r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"),
            *(*lines[1:], r"\bottomrule", r"\end{tabular}", *comments, ""),
        ]
    )


def _latex_cell(text: str) -> str:
    return latex(re.sub(r"(?<=\d) to (?=[-+]?\d)", "\N{EN DASH}", text)).replace(" \\%", "\\,\\%")


def csv_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as CSV with a line feed at the end of every line; None is an empty cell."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([header, *rows])
    return file.getvalue()
