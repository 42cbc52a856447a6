"""Model cards."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from fervit.evaluation.groups import Breakdown, Gap
from fervit.evaluation.intervals import Proportion
from fervit.evaluation.report import Calibration, Report
from fervit.evaluation.robustness.results import Condition, Robustness, Subset, SubsetFigures
from fervit.reports.card import Origin, dataset_id, model_card
from fervit.types import ModelSpec, Preprocess

SPEC = ModelSpec(
    "vit",
    Preprocess(96, (0.5,) * 3, (0.5,) * 3, crop_margin=0.1),
    temperature=1.25,
    name="tiny",
    licence="Apache-2.0",
    data_hash="ab" * 32,
    metrics={"public_test": {"accuracy": 0.6512, "macro_f1": 0.61, "loss": 0.98, "epoch": 7.0, "n": 3589}},
)
CONFUSION = np.array([[791, 88, 0], [198, 1600, 912], [0, 0, 0]])  # accuracy 2391 of 3589
REPORT = Report(
    model="tiny",
    dataset="fer2013.csv",
    data_hash="ab" * 32,
    split="private_test",
    labels=("happy", "sad", "fear"),
    confusion=CONFUSION,
    macro_f1_ci95=(0.5, 0.6),
    balanced_accuracy_ci95=(0.6, 0.7),
    calibration=Calibration(ece=0.02, nll=0.9, brier=0.4, confidence=0.68, bins=np.zeros((15, 3))),
)


def front_matter(card: str) -> dict[str, Any]:
    _, front, _ = card.split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(front)
    return loaded


def test_the_hub_reads_the_front_matter_and_the_measured_figures() -> None:
    card = model_card(SPEC, report=REPORT, origin=Origin("fer2013.csv", "google/vit-base-patch16-224"))
    data = ModelCard(card).data
    assert isinstance(data, ModelCardData) and data.eval_results is not None
    assert (data.license, data.pipeline_tag, data.datasets) == ("apache-2.0", "image-classification", ["fer2013"])
    assert data.base_model == "google/vit-base-patch16-224"
    results = {(r.dataset_split, r.metric_name): r.metric_value for r in data.eval_results}
    assert results["public_test", "Accuracy"] == 0.6512
    assert results["private_test", "Macro F1"] == round(REPORT.macro_f1, 4)
    assert not any("in train too" in str(name) for _, name in results)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        ModelSpec("dinov2", SPEC.preprocess),
        dataclasses.replace(SPEC, name='a: "b" #c', licence="research only: see - [x]\nplease", metrics={}),
    ],
)
def test_any_spec_gives_valid_yaml(spec: ModelSpec) -> None:
    front = front_matter(model_card(spec, origin=Origin("Ünïcode: faces/é.csv")))
    assert front["pipeline_tag"] == "image-classification"
    assert front["tags"][-1] == spec.arch
    if spec.metrics:
        assert front["model-index"][0]["name"] == spec.name
    else:
        assert "model-index" not in front
    data = ModelCard(model_card(spec)).data
    assert isinstance(data, ModelCardData) and data.library_name == "transformers"


def test_a_licence_that_the_hub_does_not_know_becomes_other_with_its_name() -> None:
    front = front_matter(model_card(dataclasses.replace(SPEC, licence="research only")))
    assert (front["license"], front["license_name"]) == ("other", "research only")
    assert front_matter(model_card(dataclasses.replace(SPEC, licence="")))["license_name"] == "not stated"


def test_the_card_says_how_to_use_it_what_it_is_not_for_and_what_the_law_says() -> None:
    card = model_card(
        SPEC, report=REPORT, origin=Origin(recipe="lr = 2e-5\n", command="fervit train --data x --out tiny")
    )
    for text in (
        "fervit predict photo.jpg --model tiny",
        'pipeline("image-classification", model="tiny")',
        "## What it is for",
        "## What it is not for",
        "Art. 5(1)(f)",
        "Art. 50(3)",
        "## Limits",
        "| happy | 0.800 | 0.900 | 0.847 | 879 |",
        "| fer2013.csv, private_test | Accuracy | 0.6662 | 0.6506 to 0.6814 | 3,589 |",
        "with 10 % of its side added",
        "```toml\nlr = 2e-5\n```",
        "fervit train --data x --out tiny",
        "1.2500, folded into",
    ):
        assert text in card
    assert "FER2013 (Goodfellow" not in card
    assert "FER2013 (Goodfellow" in model_card(SPEC, origin=Origin("fer2013.csv"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fer2013.parquet", "fer2013"),
        ("owner/faces", "owner/faces"),
        ("synthetic:35", "synthetic-35"),
        ("My Faces", "my-faces"),
        ("顔", "faces"),
    ],
)
def test_data_set_names_become_hub_ids(name: str, expected: str) -> None:
    assert dataset_id(name) == expected


def test_what_was_measured_of_groups_and_corrupted_images_is_in_the_limits() -> None:
    figures = [SubsetFigures(Proportion(*counts), 0.5, (0.4, 0.6), 0.1) for counts in ((702, 1170), (1693, 2419))]
    found = Robustness(
        model="tiny",
        dataset="fer2013.csv",
        split="private_test",
        total=3589,
        clean=Proportion(360, 500),
        conditions=(Condition("noise", 1, 180, 250, 500),),
        jitters=(),
        unchanged=(),
        score=0.5,
        score_ci95=(0.4, 0.6),
        subsets=(Subset("pose30", "1,170 matched", *figures),),
    )
    groups = (Breakdown("age", (), (Gap("accuracy", "old", "young", 0.03, (-0.01, 0.07), 1),), 0),)
    card = model_card(SPEC, report=dataclasses.replace(REPORT, robustness=found, groups=groups))
    assert "Corrupted images (fer2013.csv, private_test): 72.0 % correct on 500 clean faces" in card
    assert "over all corruptions 50.0 % of that stays" in card
    assert "pose30: 60.0 % correct on 1,170 faces, 70.0 % on the 2,419 others" in card
    assert "age: accuracy: old is 3.0 points above young" in card
    assert "have not been measured" not in card
    assert model_card(SPEC, report=REPORT).count("not been measured") == 2


def test_the_card_says_the_licence_of_the_starting_weights_and_that_nothing_was_calibrated() -> None:
    spec = dataclasses.replace(SPEC, licence="", temperature=1.0)
    text = model_card(spec, origin=Origin("faces", "tiny, which comes with fervit", base_licence="Apache-2.0"))
    assert "- Started from: tiny, which comes with fervit (Apache-2.0)" in text
    assert "the licences of the starting weights (Apache-2.0) and of the data apply" in text
    assert "- Calibration: none" in text and "temperature" not in text.split("## How it was made")[1]
