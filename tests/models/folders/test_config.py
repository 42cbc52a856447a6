"""`config.json` and `ensemble.json`: whatever is wrong with them is one line, soon, and below 2 GB."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model, load_checkpoint, save_checkpoint
from fervit.models.mixture import mixture_spec, save_mixture
from fervit.types import ModelSpec
from tests.helpers.limits import refusal
from tests.helpers.weights import Built

NAN = float("nan")
LABELS = {str(k): name for k, name in enumerate(FER7)}
# What `config.json` says instead, and a part of the message.
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"model_type": None}, "model_type None is unknown"),
    ({"model_type": 7}, "model_type 7 is unknown"),
    ({"model_type": "vitt"}, "model_type 'vitt' is unknown"),
    ({"model_type": "bert"}, "no image classifier"),
    ({"hidden_size": 0}, "does not describe a 'vit'"),
    ({"hidden_size": -64}, "does not describe a 'vit'"),
    ({"hidden_size": "64"}, "does not describe a 'vit'"),
    ({"hidden_size": 64.5}, "does not describe a 'vit'"),
    ({"hidden_size": None}, "does not describe a 'vit'"),
    ({"hidden_size": 10**12}, "hidden_size is 1000000000000; expected finite numbers"),
    ({"hidden_size": 10**400}, "hidden_size is 1000.*; expected finite numbers"),
    ({"hidden_size": 65}, "does not describe a 'vit'|does not fit"),
    ({"hidden_size": 2**16}, "describes a model of .* weights, and its files have"),
    ({"intermediate_size": 10**7}, "describes a model of .* weights"),
    ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000; expected at most 1,000"),
    ({"num_hidden_layers": [1]}, "does not describe a 'vit'"),
    ({"num_hidden_layers": -1}, "no place for|does not describe"),
    ({"num_attention_heads": 0}, "does not describe a 'vit'"),
    ({"num_attention_heads": 10**5}, "num_attention_heads is 100000"),
    ({"patch_size": 0}, "does not describe a 'vit'"),
    ({"patch_size": 1}, "does not fit|does not take"),
    ({"patch_size": "8"}, "does not describe a 'vit'"),
    ({"image_size": 0}, "does not fit|does not take|does not describe"),
    ({"image_size": 10**6}, "describes a model of .* weights"),
    ({"num_channels": 0}, "num_channels is 0; expected 3, or 1"),
    ({"num_channels": 4}, "num_channels is 4"),
    ({"num_channels": 1}, "does not fit"),
    ({"num_channels": "3"}, "does not describe|num_channels"),
    ({"hidden_act": "boom"}, "does not describe a 'vit'"),
    ({"hidden_act": 5}, "does not describe a 'vit'"),
    ({"layer_norm_eps": NAN}, "layer_norm_eps is nan"),
    ({"hidden_dropout_prob": 7}, "does not describe a 'vit'"),
    ({"id2label": None}, "labels|does not describe"),
    ({"id2label": "angry"}, "does not describe a 'vit'|id2label"),
    ({"id2label": list(FER7)}, "does not describe a 'vit'|id2label"),
    ({"id2label": LABELS | {"6": "angry"}}, "the label 'angry' occurs twice"),
    ({"id2label": LABELS | {"6": "a\nb"}}, "a label is"),
    ({"id2label": LABELS | {"6": ""}}, "a label is"),
    ({"id2label": LABELS | {"6": None}}, "a label is"),
    ({"id2label": LABELS | {"6": ["neutral"]}}, "a label is"),
    ({"id2label": LABELS | {"9": "contempt"}}, "id2label has the numbers .*9; expected 0 to 7"),
    ({"id2label": {"a": "angry"}}, "does not describe a 'vit'|id2label"),
    ({"id2label": dict(list(LABELS.items())[:5])}, "classifier"),
    ({"fervit": 5}, "fervit is no object"),
    ({"fervit": []}, "fervit is no object|lacks"),
    ({"fervit": {"crop_margin": 50}}, "crop_margin is 50; expected a number"),
    ({"fervit": {"crop_margin": NAN}}, "crop_margin is nan"),
    ({"fervit": {"temperature": "hot"}}, "temperature is hot"),
    ({"fervit": {"flavour": 1}}, "unknown field in the metadata 'flavour'"),
    ({"fervit": {"name": "a\nb"}}, "name is"),
    ({"fervit": {"preprocess": {}}}, "."),
    ({"dtype": "float8"}, "."),
]


@pytest.fixture
def folder(small: Built, tmp_path: Path) -> Path:
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7), tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize(("changes", "message"), BROKEN, ids=[str(changes)[:60] for changes, _ in BROKEN])
def test_a_broken_configuration_is_refused_in_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    if changes in ({"fervit": []}, {"fervit": {"preprocess": {}}}, {"id2label": None}, {"dtype": "float8"}):
        try:  # some of these mean nothing, and do no harm
            load_checkpoint(folder)
        except ModelError as error:
            assert len(str(error).splitlines()) == 1
        return
    with pytest.raises(ModelError) as caught:
        load_checkpoint(folder)
    assert re.search(message, str(caught.value)), caught.value
    assert str(folder) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 800
    try:  # as starting weights, some of it does not count
        build_model(folder, ("no", "yes"), 32)
    except ModelError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", "[" * 100_000, '{"a":' * 100_000, "\ud800", "NaN"])
def test_what_is_no_configuration_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match="not readable"):
        load_checkpoint(folder)


def test_deeply_nested_and_endless_values_are_refused(folder: Path) -> None:
    path, values = folder / "config.json", json.loads((folder / "config.json").read_text())
    nested: dict[str, Any] = {}
    for _ in range(50):
        nested = {"a": nested}
    for more, message in (({"x": nested}, "nested too deeply"), ({"x": [0] * 20_000}, "has 20,000 entries")):
        path.write_text(json.dumps(values | more))
        with pytest.raises(ModelError, match=message):
            load_checkpoint(folder)


def change(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ({"num_hidden_layers": 1000}, "incomplete|does not fit"),
        ({"hidden_size": 2**20, "num_attention_heads": 1}, "does not fit"),
        ({"image_size": 2**20}, "does not fit"),
    ],
)
def test_a_model_too_large_for_its_weights_costs_neither_time_nor_memory(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    change(folder / "config.json", changes)
    said = refusal(f"from fervit.models import load_checkpoint; load_checkpoint({str(folder)!r})")
    assert re.search(message, said)


@pytest.mark.slow
def test_a_huge_configuration_costs_neither_time_nor_memory(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(5 << 30)  # sparse: it has no blocks on the disk
    said = refusal(f"from fervit.models import load_checkpoint; load_checkpoint({str(folder)!r})")
    assert "larger than 16 MB" in said


@pytest.mark.slow
def test_an_ensemble_of_one_member_300_times_costs_neither_time_nor_memory(small: Built, tmp_path: Path) -> None:
    model, preprocess = small
    spec = ModelSpec("vit", preprocess, FER7, name="a")
    save_mixture([(model, spec)], [1.0], mixture_spec([spec], name="E"), tmp_path / "E")
    for count, message in ((300, "lists 300 members; expected at most 64"), (30, "lists the member '1-a' twice")):
        change(tmp_path / "E" / "ensemble.json", {"members": [{"folder": "1-a", "weight": 1 / count}] * count})
        code = f"from fervit.models import load_checkpoint; load_checkpoint({str(tmp_path / 'E')!r})"
        assert message in refusal(code)
