"""Figures as text."""

from fervit.formatting import markdown_table


def test_bars_in_names_do_not_break_a_markdown_table() -> None:
    assert markdown_table(("a", "b"), [("x|y", "1")]).splitlines()[-1] == "| x\\|y | 1 |"
