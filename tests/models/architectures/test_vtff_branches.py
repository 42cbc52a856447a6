# mypy: disallow-untyped-calls=False
"""VTFF with CNNs that bring weights as its branches."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from fervit.config.architectures import InceptionResNetV1Options, MobileNetV1Options, VTFFOptions
from fervit.config.training import TrainConfig, config_from_dict, load_config
from fervit.errors import ConfigError, ModelError
from fervit.export.onnx import export
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.models.architectures.local_binary_patterns import local_binary_patterns, to_levels
from fervit.models.architectures.mobilenet_v1 import NORM_MOMENTUM
from fervit.models.architectures.vtff import VTFFConfig, VTFFForImageClassification
from fervit.models.architectures.vtff_branches import PretrainedBranch
from fervit.models.backbone import backbone_of, input_convolutions, layers_in
from fervit.models.checkpoint import read_checkpoint
from fervit.models.inputs import to_input
from fervit.training.optim import parameter_groups
from fervit.types import ModelSpec, Preprocess
from tests.helpers.patterns import HALVES
from tests.helpers.weights import save_timm

MOBILENET = VTFFOptions(branch="mobilenet_v1", grid=2, width=64, depth=2, heads=1, mlp=256)
INCEPTION = replace(MOBILENET, branch="inception_resnet_v1")
EACH = pytest.mark.parametrize(("options", "side"), [(MOBILENET, 64), (INCEPTION, 96)], ids=["mobilenet", "inception"])
NORMALISED = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def cnn(arch: str, side: int) -> tuple[PreTrainedModel, Preprocess]:
    """A small CNN whose batch norms have statistics of their own."""
    torch.manual_seed(1)
    small = {
        "mobilenet_v1": MobileNetV1Options(width=0.25),
        "inception_resnet_v1": InceptionResNetV1Options(width=0.125, depth=0.2),
    }
    model, preprocess = build_model("scratch", FER7, side, arch=arch, options=small[arch])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    return model.eval(), preprocess


def saved(arch: str, side: int, folder: Path) -> tuple[Path, PreTrainedModel]:
    model, preprocess = cnn(arch, side)
    save_checkpoint(model, ModelSpec(arch, preprocess, FER7), folder)
    return folder, model


def vtff(init: str | Path, side: int, options: VTFFOptions) -> VTFFForImageClassification:
    torch.manual_seed(0)
    model, _ = build_model(init, FER7, side, arch="vtff", options=options)
    assert isinstance(model, VTFFForImageClassification)
    model.eval()
    return model


def rgb(side: int, count: int = 2) -> torch.Tensor:
    levels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return to_input(torch.from_numpy(levels), Preprocess(side, HALVES.mean, HALVES.std))


def branches(model: VTFFForImageClassification) -> tuple[PretrainedBranch, PretrainedBranch]:
    rgb_branch, code_branch = model.vtff.embeddings.rgb_branch, model.vtff.embeddings.code_branch
    assert isinstance(rgb_branch, PretrainedBranch) and isinstance(code_branch, PretrainedBranch)
    return rgb_branch, code_branch


@torch.no_grad()
def logits_of(model: PreTrainedModel, x: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.eval()(pixel_values=x).logits
    return logits


# --- starting weights -------------------------------------------------------------------------------------


@EACH
def test_both_branches_compute_what_the_cnn_does(options: VTFFOptions, side: int, tmp_path: Path) -> None:
    init, parent = saved(options.branch, side, tmp_path / "cnn")
    model = vtff(init, side, options)
    x, network = rgb(side), backbone_of(parent)
    expected = network.get_submodule("conv_stem" if options.branch == "mobilenet_v1" else "embeddings")(x)
    for layer in list(layers_in(network))[: len(branches(model)[0].layers)]:
        expected = layer(expected)
    for branch in branches(model):
        with torch.no_grad():
            torch.testing.assert_close(branch.features(x), expected, rtol=1e-4, atol=1e-5)
            assert branch(x).shape == (2, branch.channels, options.grid, options.grid)
        assert (branch.in_channels, branch.channels) == (3, expected.shape[1])
        norms = [module for module in branch.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert norms and {norm.momentum for norm in norms} == {NORM_MOMENTUM}
    assert logits_of(model, x).shape == (2, 7)


@pytest.mark.parametrize(
    ("branch", "side", "grid", "layers", "channels"),
    [
        ("mobilenet_v1", 112, 4, 26, 1024),  # the whole network
        ("mobilenet_v1", 112, 7, 22, 512),
        ("mobilenet_v1", 96, 6, 22, 512),
        ("mobilenet_v1", 96, 5, 22, 512),  # of a 6 x 6 map, averaged
        ("mobilenet_v1", 96, 48, 2, 64),
        ("inception_resnet_v1", 96, 1, 23, 1792),
        ("inception_resnet_v1", 112, 4, 16, 896),
        ("inception_resnet_v1", 160, 7, 16, 896),
        ("inception_resnet_v1", 160, 17, 5, 256),
    ],
)
def test_the_grid_decides_how_much_of_a_cnn_is_used(
    branch: str, side: int, grid: int, layers: int, channels: int
) -> None:
    values = {"width": 1.0, "depth": 1.0} if branch == "inception_resnet_v1" else {"depth_multiplier": 1.0}
    with torch.device("meta"):
        config = VTFFConfig(image_size=side, branch=branch, branch_values=values, grid=grid, num_hidden_layers=1)
        first = VTFFForImageClassification(config).eval().vtff.embeddings.rgb_branch
        assert isinstance(first, PretrainedBranch)
        side_of_map = first.features(torch.zeros(1, 3, side, side)).shape[-1]
    assert (len(first.layers), first.channels) == (layers, channels)
    assert side_of_map >= grid


def test_the_encoder_starts_from_a_vit_of_its_own(tmp_path: Path) -> None:
    init, _ = saved("mobilenet_v1", 64, tmp_path / "cnn")
    save_timm(tmp_path / "w.safetensors")
    with_vit = replace(MOBILENET, encoder=str(tmp_path / "w.safetensors"))
    model = vtff(init, 64, with_vit)
    reference = vtff(tmp_path / "w.safetensors", 64, MOBILENET)  # the same encoder, random branches
    for name in ("layers", "embeddings.cls_token", "embeddings.position_embeddings"):
        ours, theirs = (
            [tensor for key, tensor in m.vtff.state_dict().items() if key.startswith(name)] for m in (model, reference)
        )
        assert ours and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    plain = vtff(init, 64, MOBILENET)
    for one, other in zip(branches(model), branches(plain), strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict())
    scratch = vtff("scratch", 64, with_vit)
    assert torch.equal(scratch.vtff.embeddings.cls_token, reference.vtff.embeddings.cls_token)
    save_checkpoint(model, ModelSpec("vtff", HALVES, FER7), tmp_path / "m")
    assert str(tmp_path / "w") not in (tmp_path / "m" / "config.json").read_text()


@EACH
def test_a_folder_opens_and_starts_another_run(options: VTFFOptions, side: int, tmp_path: Path) -> None:
    init, _ = saved(options.branch, side, tmp_path / "cnn")
    model = vtff(init, side, options)
    preprocess = Preprocess(side, HALVES.mean, HALVES.std)
    save_checkpoint(model, ModelSpec("vtff", preprocess, FER7), tmp_path / "m")
    x = rgb(side)
    expected = logits_of(model, x)
    torch.testing.assert_close(logits_of(read_checkpoint(tmp_path / "m")[0], x), expected, rtol=0, atol=1e-5)
    again, also = build_model(tmp_path / "m", FER7, side, arch="vtff", options=options)
    torch.testing.assert_close(logits_of(again, x), expected, rtol=0, atol=1e-5)
    assert also == preprocess


def test_pixels_and_codes_are_normalised_as_the_weights_were(tmp_path: Path) -> None:
    model, _ = cnn("mobilenet_v1", 64)
    own = Preprocess(64, *NORMALISED)
    save_checkpoint(model, ModelSpec("mobilenet_v1", own, FER7), tmp_path / "cnn")
    built, preprocess = build_model(tmp_path / "cnn", FER7, 64, arch="vtff", options=MOBILENET)
    assert isinstance(built, VTFFForImageClassification)
    assert (preprocess.mean, preprocess.std) == NORMALISED
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8))
    codes = local_binary_patterns(to_levels(to_input(images, Preprocess(64, HALVES.mean, HALVES.std))))
    assert torch.equal(local_binary_patterns(to_levels(to_input(images, own), *NORMALISED)), codes)
    seen: list[torch.Tensor] = []
    built.vtff.embeddings.code_branch.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    save_checkpoint(built, ModelSpec("vtff", preprocess, FER7), tmp_path / "m")
    logits = logits_of(built, to_input(images, own))
    grey = codes.to(torch.uint8).expand(-1, 3, -1, -1)
    torch.testing.assert_close(seen[0], to_input(grey, own), rtol=0, atol=1e-5)
    torch.testing.assert_close(logits_of(read_checkpoint(tmp_path / "m")[0], to_input(images, own)), logits)


def test_a_folder_from_before_there_was_a_choice_of_branches_is_a_resnet_18(tmp_path: Path) -> None:
    options = replace(MOBILENET, branch="resnet18", channels=16, grid=4)
    model = vtff("scratch", 32, options)
    save_checkpoint(model, ModelSpec("vtff", Preprocess(32, HALVES.mean, HALVES.std), FER7), tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    values = json.loads(path.read_text())
    for name in ("branch", "branch_values", "image_mean", "image_std"):
        values.pop(name, None)
    path.write_text(json.dumps(values))
    opened, _ = read_checkpoint(tmp_path / "m")
    assert torch.equal(logits_of(opened, rgb(32)), logits_of(model, rgb(32)))
    assert torch.equal(logits_of(vtff(tmp_path / "m", 32, options), rgb(32)), logits_of(model, rgb(32)))
    names = set(model.state_dict())
    assert {f"vtff.embeddings.{b}_branch.stem.convolution.weight" for b in ("rgb", "code")} <= names
    assert "vtff.embeddings.code_branch.stages.3.1.layer.1.convolution.weight" in names


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "side", "message"),
    [
        (
            replace(MOBILENET, branch="resnet18"),
            64,
            r"cnn is a mobilenet_v1, and model\.branch is resnet18.*branch=mobilenet_v1",
        ),
        (INCEPTION, 96, r"is a mobilenet_v1, and model\.branch is inception_resnet_v1"),
        (
            replace(MOBILENET, grid=33),
            64,
            r"mobilenet_v1 at 64 px has maps of 32 x 32 at most, and model\.grid is 33",
        ),
        (
            replace(MOBILENET, encoder="none.safetensors"),
            64,
            r"no weights at none\.safetensors",
        ),
    ],
)
def test_a_cnn_that_does_not_fit_is_refused(options: VTFFOptions, side: int, message: str, tmp_path: Path) -> None:
    init, _ = saved("mobilenet_v1", 64, tmp_path / "cnn")
    with pytest.raises(ModelError, match=message):
        vtff(init, side, options)


def test_an_encoder_of_another_width_is_refused_naming_both(tmp_path: Path) -> None:
    init, _ = saved("mobilenet_v1", 64, tmp_path / "cnn")
    save_timm(tmp_path / "w.safetensors", width=128)
    options = replace(MOBILENET, encoder=str(tmp_path / "w.safetensors"))
    with pytest.raises(ModelError, match=r"w\.safetensors does not fit: it has width 128 \(model\.width is 64\)"):
        vtff(init, 64, options)


def test_two_encoders_are_refused(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    options = replace(MOBILENET, encoder="other.safetensors")
    with pytest.raises(ModelError, match=r"has an encoder, and model\.encoder names another.*--set model\.encoder="):
        vtff(tmp_path / "w.safetensors", 64, options)


def test_a_vtff_of_another_branch_or_depth_of_it_is_refused(tmp_path: Path) -> None:
    init, _ = saved("mobilenet_v1", 64, tmp_path / "cnn")
    preprocess = Preprocess(64, HALVES.mean, HALVES.std)
    save_checkpoint(vtff(init, 64, MOBILENET), ModelSpec("vtff", preprocess, FER7), tmp_path / "m")
    with pytest.raises(ModelError, match=r"branch mobilenet_v1 \(model\.branch is resnet18\)"):
        vtff(tmp_path / "m", 64, replace(MOBILENET, branch="resnet18"))
    finer = replace(MOBILENET, grid=4)
    with pytest.raises(ModelError, match=r"grid of 4 takes 22 layers of a mobilenet_v1, and its branches have 26.*"):
        vtff(tmp_path / "m", 64, finer)
    vtff(tmp_path / "m", 128, finer)  # twice the sides: the same layers


def test_options_are_checked_when_the_recipe_is_read() -> None:
    with pytest.raises(ConfigError, match=r"unknown model\.branch 'resnet50'"):
        config_from_dict({"arch": "vtff", "model": {"branch": "resnet50"}})
    with pytest.raises(ConfigError, match=r"model\.encoder must be str, got 3"):
        config_from_dict({"arch": "vtff", "model": {"encoder": 3}})


# --- training and export ----------------------------------------------------------------------------------


def test_branches_learn_more_slowly_than_what_is_new(tmp_path: Path) -> None:
    init, _ = saved("mobilenet_v1", 64, tmp_path / "cnn")
    model = vtff(init, 64, MOBILENET)
    groups = parameter_groups(model, TrainConfig(lr=1.0, layer_decay=0.9))
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    rate = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    embeddings = "vtff.embeddings."
    assert len(rate) == len(rates) and rate["classifier.weight"] == 1.0
    for branch in ("rgb_branch", "code_branch"):
        ladder = ["stem.convolution", "layers.0.convolution", "layers.25.convolution"]
        rungs = [rate[f"{embeddings}{branch}.{part}.weight"] for part in ladder]
        assert rungs == pytest.approx([0.9**30, 0.9**29, 0.9**4])
    assert rate[f"{embeddings}cls_token"] == rate[f"{embeddings}position_embeddings"] == pytest.approx(0.9**3)
    assert rate["vtff.layers.1.mlp.fc1.weight"] == pytest.approx(0.9)
    assert {r for name, r in rate.items() if ".fusion." in name or ".projection." in name} == {1.0}


def test_the_pixels_are_read_by_the_first_convolution_of_the_rgb_branch(tmp_path: Path) -> None:
    init, parent = saved("mobilenet_v1", 64, tmp_path / "cnn")
    (convolution,) = input_convolutions(vtff(init, 64, MOBILENET))
    assert torch.equal(convolution.weight, input_convolutions(parent)[0].weight)


@pytest.mark.slow
@EACH
def test_a_step_gives_every_parameter_a_gradient_and_the_export_is_exact(
    options: VTFFOptions, side: int, tmp_path: Path
) -> None:
    init, _ = saved(options.branch, side, tmp_path / "cnn")
    model = vtff(init, side, options).train()
    model(pixel_values=rgb(side, 4), labels=torch.tensor([0, 1, 2, 3])).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    save_checkpoint(model, ModelSpec("vtff", Preprocess(side, HALVES.mean, HALVES.std), FER7), tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "m.onnx") < 1e-5


def test_the_recipe_takes_the_whole_mobilenet(tmp_path: Path) -> None:
    config = load_config("vtff_mobilenet")
    assert isinstance(config.model, VTFFOptions)
    init, parent = saved("mobilenet_v1", 64, tmp_path / "cnn")
    model = vtff(init, config.image_size, config.model)
    for branch in branches(model):
        assert len(branch.layers) == len(layers_in(backbone_of(parent))) == 26
