"""Figures as text."""

from fervit.formatting import NONE, markdown_table, percent, percent_interval, text_table


def test_fractions_are_per_cents_and_no_figure_is_a_dash() -> None:
    assert [percent(0.7331), percent(0.7331, 0), percent(1.0, 1)] == ["73.31 %", "73 %", "100.0 %"]
    assert percent_interval((0.7184, 0.7473)) == "71.84 to 74.73 %"
    assert percent(None) == percent_interval(None) == NONE


def test_a_text_table_aligns_figures_to_the_right() -> None:
    assert text_table(("class", "recall"), [("happy", "91 %"), ("fear", "5 %")]).splitlines() == [
        "class  recall",
        "-----  ------",
        "happy    91 %",
        "fear      5 %",
    ]


def test_a_markdown_table_escapes_what_would_end_a_cell() -> None:
    assert markdown_table(("a|b", "n"), [("x", "1")]).splitlines() == ["| a\\|b | n |", "| --- | ---: |", "| x | 1 |"]


def test_bars_in_names_do_not_break_a_markdown_table() -> None:
    assert markdown_table(("a", "b"), [("x|y", "1")]).splitlines()[-1] == "| x\\|y | 1 |"
