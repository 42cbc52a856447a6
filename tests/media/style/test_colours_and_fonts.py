"""Labels: colours that can be told apart, and fonts that have the letters."""

import itertools
import logging

import numpy as np
import pytest

from fervit.labels import LABEL_SETS
from fervit.media.draw import annotate
from fervit.media.style import fonts
from fervit.media.style.colours import (
    COLOURS,
    CONTRAST,
    DARK_GROUND,
    LIGHT_GROUND,
    TEXT_CONTRAST,
    UNKNOWN,
    colour,
    contrast,
    distance,
    on_light,
    palette,
)
from fervit.media.style.fonts import drawable, font_for
from fervit.types import Box, Face, Prediction

SETS = {
    **LABEL_SETS,
    "own and known": ("happy", "bored", "curious", "tired", "angry", "focused"),
    "twelve": tuple("abcdefghijkl"),
    "two spellings": ("anger", "angry", "happiness", "joy", "neutral"),
    "the eight, and own": (*list(COLOURS)[:8], "bored", "curious", "tired", "confused"),
}
APART = 0.06  # in OKLab; happy's yellow and the yellow of before, the reported pair, were 0.05


@pytest.mark.parametrize("name", SETS)
def test_no_two_labels_of_a_set_look_alike(name: str) -> None:
    labels = SETS[name]
    rgbs = [colour(label, labels) for label in labels]
    assert min(distance(a, b) for a, b in itertools.combinations(rgbs, 2)) > APART
    assert all(contrast(rgb, DARK_GROUND) >= TEXT_CONTRAST for rgb in rgbs)
    assert all(contrast(on_light(rgb), LIGHT_GROUND) >= CONTRAST for rgb in rgbs)


def test_an_expression_has_its_colour_whatever_its_spelling_and_its_place() -> None:
    for labels in (("happy", "sad"), ("bored", "Happiness", "sadness"), ("joy", "sad")):
        assert COLOURS["happy"] in [colour(label, labels) for label in labels]
        assert COLOURS["sad"] in [colour(label, labels) for label in labels]
    assert colour("uncertain", ("happy", "sad")) == UNKNOWN


@pytest.mark.slow
def test_many_labels_all_get_a_colour() -> None:
    labels = tuple(f"label {k}" for k in range(150))
    assert len(palette(labels)) == 150 and len(set(palette(labels).values())) > 40


@pytest.mark.parametrize("text", ["müde", "ängstlich", "façon", "śmiech", "öfkeli", "радость", "λύπη", "שמח", "سعيد"])
def test_letters_beyond_ascii_are_drawn_as_themselves(text: str) -> None:
    font = font_for(text, 24)
    missing = bytes(font.getmask(fonts.MISSING))
    assert all(bytes(font.getmask(letter)) != missing for letter in text)
    assert drawable((text, "happy")) == {text: text, "happy": "happy"}


def test_labels_of_ascii_keep_the_font_they_had() -> None:
    assert font_for("happy", 24).getname()[0] == "Aileron"  # type: ignore[union-attr]


def test_without_a_font_a_labels_place_is_drawn_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts, "SYSTEM", ())
    for cached in (fonts._name_of, drawable):
        cached.cache_clear()
    labels = ("müde", "幸せ", "happy", "悲しい")
    with caplog.at_level(logging.WARNING):
        shown = [drawable(labels) for _ in range(3)][-1]
    assert shown == {"müde": "müde", "幸せ": "#1", "happy": "happy", "悲しい": "#3"}
    (record,) = caplog.records
    assert "#1 for 幸せ, #3 for 悲しい" in record.getMessage() and "\n" not in record.getMessage()
    for cached in (fonts._name_of, drawable):
        cached.cache_clear()


def heading(label: str, other: str) -> np.ndarray:
    """Return an image that is annotated with a label."""
    face = Prediction(Face(Box(60, 60, 140, 140), 0.9), (label, other), np.array([0.75, 0.25]))
    return annotate(np.zeros((300, 300, 3), np.uint8), [face])


def test_annotated_images_tell_umlauts_apart() -> None:
    boxes = heading("\uffff\uffff", "x")
    assert (heading("ää", "x") != heading("öö", "x")).any() and (heading("ää", "x") != boxes).any()
