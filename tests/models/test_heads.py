"""The head of starting weights goes on by label, whatever the order and spelling; what is kept and new is said."""

import logging
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from fervit.labels import FER7, FERPLUS8
from fervit.models import BUILDERS, FROM_SCRATCH, build_model, save_checkpoint
from fervit.models.backbone import head_of
from fervit.models.checkpoint import read_checkpoint
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm
from tests.models.architectures.test_contract import SIDES, SIZE, SMALL

OTHERS = ("Neutral", "anger", "joy", "fearful", "sadness", "surprised", "disgusted")
pytestmark = pytest.mark.filterwarnings("ignore:.*is not fully supported:UserWarning")


def build(arch: str, init: str | Path, labels: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> PreTrainedModel:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fervit.models.heads"):
        return build_model(init, labels, SIDES.get(arch, SIZE), arch=arch, options=SMALL[arch])[0]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "fervit.models.heads"]


def parent(arch: str, tmp_path: Path) -> Path:
    """Return a model folder with a head of random weights, over FER7."""
    save_timm(tmp_path / "w.safetensors")
    init = "scratch" if arch in FROM_SCRATCH else tmp_path / "w.safetensors"
    model, preprocess = build_model(init, FER7, SIDES.get(arch, SIZE), arch=arch, options=SMALL[arch])
    with torch.no_grad():
        head_of(model).weight.normal_()
        head_of(model).bias.normal_()
    save_checkpoint(model, ModelSpec(model.config.model_type, preprocess, FER7), tmp_path / "parent")
    return tmp_path / "parent"


@pytest.mark.slow
@pytest.mark.parametrize("arch", list(BUILDERS))
def test_every_architecture_keeps_its_head_in_another_order_and_spelling_and_the_rows_of_shared_labels(
    arch: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = parent(arch, tmp_path)
    known = head_of(read_checkpoint(folder)[0])

    same = head_of(build(arch, folder, FER7, caplog))
    assert torch.equal(same.weight, known.weight) and not said(caplog)

    permuted = head_of(build(arch, folder, OTHERS, caplog))
    rows = [FER7.index(name) for name in ("neutral", "angry", "happy", "fear", "sad", "surprise", "disgust")]
    assert torch.equal(permuted.weight, known.weight[rows]) and torch.equal(permuted.bias, known.bias[rows])
    assert said(caplog) == [
        f"the head of {folder} is kept for Neutral (there neutral), anger (there angry), joy (there happy), fearful "
        "(there fear), sadness (there sad), surprised (there surprise), disgusted (there disgust), in the data's order"
    ]

    some = head_of(build(arch, folder, ("bored", "happy", "calm", "angry"), caplog))
    assert torch.equal(some.weight[[1, 3]], known.weight[[FER7.index("happy"), FER7.index("angry")]])
    assert not some.bias[[0, 2]].any() and some.weight[[0, 2]].abs().max() < known.weight.abs().max()
    assert said(caplog) == [
        f"the head of {folder} is kept for happy, angry, in the data's order; new: bored, calm; "
        "not used: disgust, fear, sad, surprise, neutral"
    ]

    build(arch, folder, ("bored", "calm"), caplog)
    assert said(caplog) == [f"the head is new: {folder} predicts {', '.join(FER7)}, none of bored, calm"]


def test_a_label_set_that_grows_keeps_all_it_had(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = parent("vit", tmp_path)
    known = head_of(read_checkpoint(folder)[0])
    grown = head_of(build("vit", folder, FERPLUS8, caplog))
    rows = [FERPLUS8.index(name) for name in FER7]
    assert torch.equal(grown.weight[rows], known.weight)
    assert said(caplog)[0].endswith("; new: contempt")


def test_the_head_of_another_architecture_is_new_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = parent("vit", tmp_path)
    build("vit_se", folder, FER7[::-1], caplog)
    assert said(caplog) == [
        f"the head is new: that of {folder}, for {', '.join(FER7)}, is of a vit with 64 features and does not fit"
    ]


def test_weights_without_a_head_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_timm(tmp_path / "w.safetensors")
    build("vit", tmp_path / "w.safetensors", FER7, caplog)
    build("cnn", "scratch", FER7, caplog)
    assert not said(caplog)
