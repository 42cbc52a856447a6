"""Cards of backbone folders."""

import dataclasses

import yaml

from fervit.reports.card import Origin
from fervit.reports.card_backbone import PretrainingFigures, backbone_card
from tests.helpers.reports import SPEC

ORIGIN = Origin("fer2013.csv + more", "facebook/vit-mae-base", "epochs = 9", "fervit pretrain --data fer2013.csv")


def test_a_backbone_s_card_says_what_it_saw_and_that_it_has_no_head() -> None:
    figures = PretrainingFigures(count=12_345, epochs=9, first_loss=0.9, last_loss=0.4)
    card = backbone_card(SPEC, ORIGIN, figures, sources=["fer2013.csv", "owner/faces"], grey=True)
    front = yaml.safe_load(card.split("---\n", 2)[1])
    assert front["datasets"] == ["fer2013", "owner/faces"] and front["base_model"] == "facebook/vit-mae-base"
    for text in ("12,345 faces", "0.9000 in the first epoch, 0.4000 in the last of 9", "It has no head", "epochs = 9"):
        assert text in card
    assert "FER2013 (Goodfellow" in card and "All faces were grey" in card
    untrained = dataclasses.replace(figures, first_loss=None, last_loss=None)
    card = backbone_card(SPEC, Origin("faces", "the shipped model"), untrained, sources=["faces"], grey=False)
    assert "first epoch" not in card and "base_model" not in card and "All faces were grey" not in card
