"""Cards of ensembles."""

import dataclasses

import yaml

from fervit.reports.card_ensemble import EnsembleFigures, EnsembleLine, ensemble_card
from tests.helpers.reports import SPEC


def test_an_ensemble_s_card_has_its_table_and_its_verdict() -> None:
    lines = [
        EnsembleLine("one", 0.25, (0.7, 0.68, 0.72), (0.9, 0.85, 0.95)),
        EnsembleLine("all", None, (0.72, 0.7, 0.74), (0.8, 0.75, 0.85)),
    ]
    figures = EnsembleFigures("soft vote", "fer2013.csv", 3589, 2, lines, "it is better")
    card = ensemble_card(dataclasses.replace(SPEC, licence=""), figures, command="fervit ensemble one two")
    assert yaml.safe_load(card.split("---\n", 2)[1])["license_name"] == "not stated"
    assert "| one | 0.250 | 70.00 % (68.00 to 72.00) | 0.9000 (0.8500 to 0.9500) |" in card
    assert "| all |  | 72.00 % (70.00 to 74.00) | 0.8000 (0.7500 to 0.8500) |" in card
    assert "It is better." in card and "fervit ensemble one two" in card and "3,589 faces" in card
    assert card.count("not been measured") == 2
