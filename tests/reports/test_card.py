import dataclasses

import pytest
import yaml
from huggingface_hub import ModelCard

from fervit.reports.card import dataset_id, model_card
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
REPORT = {
    "model": "tiny",
    "dataset": "fer2013.csv",
    "split": "private_test",
    "n": 3589,
    "accuracy": 0.6662,
    "accuracy_ci95": [0.6506, 0.6814],
    "accuracy_leak_free": None,
    "accuracy_leak_free_ci95": None,
    "n_leak_free": None,
    "macro_f1": 0.63,
    "ece": 0.02,
    "per_class": {"happy": {"precision": 0.8, "recall": 0.9, "f1": 0.847, "support": 879}},
}


def front_matter(card):
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def test_the_hub_reads_the_front_matter_and_the_measured_figures():
    card = model_card(SPEC, report=REPORT, dataset="fer2013.csv", base_model="google/vit-base-patch16-224")
    data = ModelCard(card).data
    assert (data.license, data.pipeline_tag, data.datasets) == ("apache-2.0", "image-classification", ["fer2013"])
    assert data.base_model == "google/vit-base-patch16-224"
    results = {(r.dataset_split, r.metric_name): r.metric_value for r in data.eval_results}
    assert results["public_test", "Accuracy"] == 0.6512
    assert results["private_test", "Macro F1"] == 0.63
    assert not any("also stand in train" in name for _, name in results)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        ModelSpec("dinov2", SPEC.preprocess),
        dataclasses.replace(SPEC, name='a: "b" #c', licence="research only: see - [x]\nplease", metrics={}),
    ],
)
def test_any_spec_gives_valid_yaml(spec):
    front = front_matter(model_card(spec, dataset="Ünïcode: faces/é.csv"))
    assert front["pipeline_tag"] == "image-classification"
    assert front["tags"][-1] == spec.arch
    if spec.metrics:
        assert front["model-index"][0]["name"] == spec.name
    else:
        assert "model-index" not in front
    assert ModelCard(model_card(spec)).data.library_name == "transformers"


def test_a_licence_that_the_hub_does_not_know_becomes_other_with_its_name():
    front = front_matter(model_card(dataclasses.replace(SPEC, licence="research only")))
    assert (front["license"], front["license_name"]) == ("other", "research only")
    assert front_matter(model_card(dataclasses.replace(SPEC, licence="")))["license_name"] == "not stated"


def test_the_card_says_how_to_use_it_what_it_is_not_for_and_what_the_law_says():
    card = model_card(SPEC, report=REPORT, recipe="lr = 2e-5\n", command="fervit train --data x --out tiny")
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
    assert "FER2013 (Goodfellow" in model_card(SPEC, dataset="fer2013.csv")


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
def test_data_set_names_become_hub_ids(name, expected):
    assert dataset_id(name) == expected


def test_what_was_measured_of_groups_and_worse_pictures_stands_in_the_limits():
    found = {
        "dataset": "fer2013.csv",
        "split": "private_test",
        "summary": "Half of it stays.",
        "subsets": [
            {"name": "pose30", "inside": {"accuracy": 0.6, "n": 1170}, "outside": {"accuracy": 0.7, "n": 2419}}
        ],
    }
    groups = [{"column": "age", "sentences": ["accuracy: old is 3.0 points above young: chance explains it"]}]
    card = model_card(SPEC, report={**REPORT, "robustness": found, "groups": groups})
    assert "Worse pictures (fer2013.csv, private_test): Half of it stays." in card
    assert "pose30: 60.0 % right on 1,170 faces, 70.0 % on the 2,419 others" in card
    assert "age: accuracy: old is 3.0 points above young" in card
    assert "have not been measured" not in card
    assert model_card(SPEC, report=REPORT).count("not been measured") == 2
