# mypy: disallow-untyped-calls=False
"""VTFF: its network, and the starting weights of its encoder."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import Dinov2ForImageClassification, ViTForImageClassification

from fervit.config.architectures import VTFFOptions
from fervit.config.training import load_config
from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.architectures.local_binary_patterns import local_binary_patterns, to_levels
from fervit.models.architectures.vtff import VTFFConfig, VTFFForImageClassification
from fervit.models.architectures.vtff_branches import ResNetBranch, SelectiveFusion
from fervit.models.pretrained import label_fields
from tests.helpers.patterns import HALVES, as_input, blocky
from tests.helpers.weights import save_timm

SMALL = VTFFOptions(channels=16, grid=4, width=64, depth=2, heads=1, mlp=256)


def vtff(init: str | Path, image_size: int, options: VTFFOptions = SMALL) -> VTFFForImageClassification:
    model, _ = build_model(init, FER7, image_size, arch="vtff", options=options)
    assert isinstance(model, VTFFForImageClassification)
    return model


def small(image_size: int = 32, options: VTFFOptions = SMALL, seed: int = 0) -> VTFFForImageClassification:
    torch.manual_seed(seed)
    return vtff("scratch", image_size, options)


# --- the network ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 85, 127, 128, 254, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_image_has_finite_logits(level: int, channels: int) -> None:
    images = np.full((2, 32, 32, channels), level, np.uint8)
    with torch.no_grad():
        assert small().eval()(as_input(images)).logits.isfinite().all()
        assert small().train()(as_input(images)).logits.isfinite().all()


def test_the_paper_size_has_its_parameters() -> None:
    with torch.device("meta"):
        model = VTFFForImageClassification(VTFFConfig(**label_fields(FER7)))
    count = sum(parameter.numel() for parameter in model.parameters())
    # 51.76 M, of the 51.7 M or so expected: two ResNet-18 trunks, four layers, and 1.06 M of fusion,
    # projection, tokens and head. A three-channel code branch would add 6,272.
    rgb, codes, layers, rest = 11_176_512, 11_176_512 - 2 * 64 * 49, 4 * 7_087_872, 1_064_009
    assert count == rgb + codes + layers + rest == 51_762_249


def test_fusion_is_what_the_paper_writes() -> None:
    torch.manual_seed(0)
    fusion = SelectiveFusion(16).eval()
    for module in fusion.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (*module.parameters(), *list(module.buffers())[:2]):  # the mean and the variance, no counter
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    lbp, rgb = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)

    def norm(x: torch.Tensor, bn: torch.nn.Module) -> torch.Tensor:
        assert isinstance(bn, torch.nn.BatchNorm2d) and bn.running_mean is not None and bn.running_var is not None
        mean, deviation = bn.running_mean.view(1, -1, 1, 1), torch.sqrt(bn.running_var + bn.eps).view(1, -1, 1, 1)
        return (x - mean) / deviation * bn.weight.view(1, -1, 1, 1) + bn.bias.view(1, -1, 1, 1)

    def mix(x: torch.Tensor, convolution: torch.nn.Module) -> torch.Tensor:
        assert isinstance(convolution, torch.nn.Conv2d)
        return torch.einsum("oc,bchw->bohw", convolution.weight[:, :, 0, 0], x)

    with torch.no_grad():
        u = mix(lbp, fusion.from_codes) + mix(rgb, fusion.from_rgb)
        c1, n1, _, c2, n2 = fusion.global_attention
        g = norm(mix(F.relu(norm(mix(u.mean((2, 3), keepdim=True), c1), n1)), c2), n2)
        c1, n1, _, c2, n2 = fusion.local_attention
        l = norm(mix(F.relu(norm(mix(u, c1), n1)), c2), n2)  # noqa: E741 - the paper's name
        weight = torch.sigmoid(g + l)
        assert (g.shape, l.shape, weight.shape) == ((2, 16, 1, 1), (2, 1, 4, 4), (2, 16, 4, 4))
        torch.testing.assert_close(fusion(lbp, rgb), rgb * weight + lbp * (1 - weight))


@pytest.mark.parametrize(("size", "grid"), [(224, 7), (112, 7), (56, 7), (48, 6), (48, 7), (32, 7), (33, 4), (7, 7)])
def test_every_input_size_becomes_the_grid(size: int, grid: int) -> None:
    options = VTFFOptions(channels=8, grid=grid, width=8, depth=1, heads=1, mlp=8)
    embeddings = small(size, options).vtff.embeddings
    embeddings.eval()
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        assert embeddings.rgb_branch(x).shape == (1, 8, grid, grid)
        assert embeddings(x).shape == (1, 1 + grid * grid, 8)


def test_224_px_are_halved_as_in_resnet_18() -> None:
    branch = small(224, VTFFOptions(channels=8, width=8, depth=1, heads=1, mlp=8)).vtff.embeddings.rgb_branch
    assert isinstance(branch, ResNetBranch)
    branch.eval()
    sides = []
    with torch.no_grad():
        x = branch.pooling(branch.stem(torch.randn(1, 3, 224, 224)))
        for stage in (torch.nn.Identity(), *branch.stages):
            x = stage(x)
            sides.append(x.shape[-1])
    assert sides == [56, 56, 28, 14, 7]


def test_a_last_batch_of_one_image_trains() -> None:
    model = small().train()
    model(torch.randn(1, 3, 32, 32), labels=torch.tensor([2])).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_attention_of_every_layer_can_be_read() -> None:
    output = small().eval()(torch.randn(2, 3, 32, 32), output_attentions=True)
    assert [a.shape for a in output.attentions] == [(2, 1, 17, 17)] * SMALL.depth


class CodesAndMap(torch.nn.Module):
    """The codes of an image, and the map of a branch that has to average to reach its grid."""

    def __init__(self) -> None:
        super().__init__()
        options = VTFFOptions(channels=8, grid=7, width=8, depth=1, heads=1, mlp=8)
        self.branch = small(48, options).vtff.embeddings.rgb_branch  # 48 px -> 12 x 12 -> 7 x 7

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return local_binary_patterns(to_levels(x)), self.branch(x)


@pytest.mark.slow
def test_codes_are_exported_to_the_bit_and_so_are_odd_grids(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    module = CodesAndMap().eval()
    x = as_input(np.concatenate([blocky(3), blocky(1, channels=1).repeat(3, axis=3)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (x[:2],),
            tmp_path / "codes.onnx",
            input_names=["x"],
            dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "codes.onnx", providers=["CPUExecutionProvider"])
    codes, features = session.run(None, {"x": x.numpy()})
    with torch.no_grad():
        expected_codes, expected = module(x)
    np.testing.assert_array_equal(codes, expected_codes.numpy())
    assert len(np.unique(codes)) > 20
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-4)


# --- starting weights -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_vit_gives_its_first_layers_its_cls_token_and_its_positions(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors", depth=3, grid=4)
    plain, _ = build_model(tmp_path / "w.safetensors", FER7, 32)
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 48, arch="vtff", options=SMALL)
    assert isinstance(model, VTFFForImageClassification) and isinstance(plain, ViTForImageClassification)
    assert preprocess == HALVES
    for name in ("cls_token", "position_embeddings"):  # both grids are 4 x 4
        assert torch.equal(getattr(model.vtff.embeddings, name), getattr(plain.vit.embeddings, name))
    for ours, theirs in zip(model.vtff.layers, plain.vit.layers, strict=False):
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], tensor)
    assert model.config.layer_norm_eps == plain.config.layer_norm_eps


def test_positions_are_interpolated_once_to_the_grid(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    plain, _ = build_model(tmp_path / "w.safetensors", FER7, 8 * 6)
    options = VTFFOptions(channels=16, grid=6, width=64, depth=2, heads=1, mlp=256)
    model = vtff(tmp_path / "w.safetensors", 48, options)
    assert isinstance(plain, ViTForImageClassification)
    assert torch.equal(model.vtff.embeddings.position_embeddings, plain.vit.embeddings.position_embeddings)


def test_a_dinov2_gives_layers_that_compute_the_same(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors", dinov2=True)
    plain, _ = build_model(tmp_path / "w.safetensors", FER7, 32)
    model = vtff(tmp_path / "w.safetensors", 32)
    assert isinstance(plain, Dinov2ForImageClassification)
    tokens = torch.randn(2, 17, 64)
    with torch.no_grad():
        for ours, theirs in zip(model.eval().vtff.layers, plain.eval().dinov2.encoder.layer, strict=True):
            torch.testing.assert_close(ours(tokens), theirs(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 128}, r"width 64 \(model\.width is 128\).*--set model\.width=64"),
        ({"heads": 2}, r"heads 1 \(model\.heads is 2\)"),
        ({"mlp": 64}, r"mlp 256 \(model\.mlp is 64\)"),
        ({"depth": 3}, r"has 2 layers, model\.depth is 3"),
    ],
)
def test_a_backbone_of_other_sizes_is_refused_naming_both(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    save_timm(tmp_path / "w.safetensors")
    options = replace(SMALL, **changes)
    with pytest.raises(ModelError, match=message):
        build_model(tmp_path / "w.safetensors", FER7, 32, arch="vtff", options=options)


def test_an_input_smaller_than_the_grid_is_refused() -> None:
    with pytest.raises(ModelError, match="image_size 5 is smaller than the 7 x 7 grid"):
        build_model("scratch", FER7, 5, arch="vtff")


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights at"):
        build_model(tmp_path / "none.safetensors", FER7, 32, arch="vtff", options=SMALL)


def test_the_recipe_is_small_and_takes_the_layers_of_a_vit_tiny(tmp_path: Path) -> None:
    config = load_config("vtff")
    save_timm(tmp_path / "w.safetensors", width=192, depth=4, patch=16, grid=2)
    model, _ = build_model(tmp_path / "w.safetensors", FER7, config.image_size, arch="vtff", options=config.model)
    assert 2.1e6 < sum(parameter.numel() for parameter in model.parameters()) < 2.2e6
