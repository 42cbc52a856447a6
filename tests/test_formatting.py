"""Figures as text."""

from fervit.formatting import NONE, csv_table, latex, latex_table, markdown_table, percent, percent_interval, text_table


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


def test_latex_sets_a_text_letter_by_letter() -> None:
    assert latex(r"a\b~c^d <e> 100 % #1 $x$ {y} a_b A&B |") == (
        r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d \textless{}e\textgreater{} 100 \% \#1 \$x\$ \{y\} "
        r"a\_b A\&B \textbar{}"
    )


def test_a_latex_table_has_rules_ranges_and_notes_as_comments() -> None:
    table = latex_table(("model", "F1 %"), [("a_b", "71.8 to 74.7 %"), ("–", "-0.5 to +0.1")], "lr", notes=["one\ntwo"])
    assert table.splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"model & F1\,\% \\",
        r"\midrule",
        r"a\_b & 71.8--74.7\,\% \\",
        r"-- & -0.5--+0.1 \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% one two",
    ]


def test_a_csv_table_quotes_what_needs_it() -> None:
    assert csv_table(("a", "b"), [("x,y", None), ('"', 0.1)]) == 'a,b\n"x,y",\n"""",0.1\n'


def test_the_first_columns_of_a_text_table_are_aligned_to_the_left() -> None:
    assert text_table(("a", "b", "n"), [("xx", "yy", "10"), ("x", "y", "1")], left=2).splitlines()[2:] == [
        "xx  yy  10",
        "x   y    1",
    ]
