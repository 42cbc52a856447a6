# mypy: disallow-untyped-calls=False
"""The contract that every architecture keeps, see `fervit.models`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from fervit.config.architectures import (
    ARCHS,
    CONVOLUTIONAL,
    CNNOptions,
    InceptionResNetV1Options,
    MobileNetV1Options,
    PFViTOptions,
    ViTOptions,
    ViTSEOptions,
    VTFFOptions,
)
from fervit.config.training import TrainConfig, config_from_dict
from fervit.data import load
from fervit.errors import ConfigError, ModelError
from fervit.export.int8 import write_int8
from fervit.export.onnx import export
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import check_starting_weights
from fervit.labels import FER7
from fervit.models import BUILDERS, FROM_SCRATCH, build_model, save_checkpoint
from fervit.models.backbone import backbone_of, fold_luma, fuse_attention, head_of, layer_index, layers_of
from fervit.models.checkpoint import read_checkpoint
from fervit.models.classifier import TorchClassifier
from fervit.models.contract import HasTrainingLoss
from fervit.models.inputs import to_input
from fervit.models.losses import soft_cross_entropy
from fervit.probabilities import softmax
from fervit.training.dropping import add_drop_path
from fervit.training.optim import freeze, parameter_groups
from fervit.types import INPUT, ModelSpec, Preprocess
from tests.helpers.weights import save_timm

SIZE = 40  # px; halved five times it is 2 x 2, of which a batch norm finds a deviation even in a single image
FACES = 32
STEPS = 240  # at most, to learn the faces by heart
SMALL = {
    "vit": ViTOptions(),
    "vit_se": ViTSEOptions(se_reduction=4),
    "vtff": VTFFOptions(channels=16, grid=4, width=64, depth=2, heads=1, mlp=256),
    "pf_vit": PFViTOptions(face_px=16, channels=16),
    "cnn": CNNOptions(channels=8, blocks=2, dropout=0.0),
    "mobilenet_v1": MobileNetV1Options(dropout=0.0, width=0.25),
    "inception_resnet_v1": InceptionResNetV1Options(dropout=0.0, width=0.125, depth=0.2),
}
CHANNELS_TOGETHER = ("mobilenet_v1", "inception_resnet_v1")
SIDES = {"inception_resnet_v1": 80}  # px, where `SIZE` is too small
EACH = pytest.mark.parametrize("arch", list(BUILDERS))
pytestmark = pytest.mark.filterwarnings("ignore:.*is not fully supported:UserWarning")


@dataclass
class Trained:
    """An architecture that was trained until it classified all faces correctly."""

    model: PreTrainedModel
    spec: ModelSpec
    x: torch.Tensor
    accuracy: float


Faces = tuple[torch.Tensor, torch.Tensor]
"""Images `(N, 1, 48, 48)` uint8 and `(N,)` class indices."""
Train = Callable[[str], Trained]


@pytest.fixture(scope="module")
def timm_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ViT in timm's naming: width 64, 2 layers, patches of 8 px."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_timm(path)
    return path


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Synthetic faces `(FACES, 1, 48, 48)` and their labels."""
    dataset = load(f"synthetic:{FACES}")
    assert len(dataset) == FACES
    return torch.from_numpy(np.array(dataset.images)).permute(0, 3, 1, 2), torch.from_numpy(dataset.targets).long()


@pytest.fixture(scope="module")
def trained(timm_file: Path, faces: Faces) -> Train:
    """A function that trains an architecture once and returns it."""
    done: dict[str, Trained] = {}

    def get(arch: str) -> Trained:
        if arch not in done:
            done[arch] = learn_by_heart(arch, timm_file, faces)
        return done[arch]

    return get


def side_of(arch: str) -> int:
    return SIDES.get(arch, SIZE)


def new(arch: str, timm_file: Path, *, labels: Sequence[str] = FER7) -> tuple[PreTrainedModel, Preprocess]:
    torch.manual_seed(0)
    init = "scratch" if arch in FROM_SCRATCH else timm_file
    return build_model(init, labels, side_of(arch), arch=arch, options=SMALL[arch])


def loss_of(model: PreTrainedModel, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if isinstance(model, HasTrainingLoss):
        return model.training_loss(x, targets)[0]
    return soft_cross_entropy(model(pixel_values=x).logits, targets)


@torch.no_grad()
def logits_of(model: PreTrainedModel, x: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.eval()(pixel_values=x).logits
    return logits


def learn_by_heart(arch: str, timm_file: Path, faces: Faces) -> Trained:
    model, preprocess = new(arch, timm_file)
    images, labels = faces
    x, targets = to_input(images, preprocess), torch.eye(len(FER7))[labels]
    groups = parameter_groups(model, TrainConfig(lr=2e-3, layer_decay=0.9))
    optimizer = torch.optim.AdamW([dict(group) for group in groups], fused=True)
    accuracy = 0.0
    for step in range(STEPS):
        loss_of(model.train(), x, targets).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 9:
            accuracy = (logits_of(model, x).argmax(1) == labels).float().mean().item()
            if accuracy == 1:
                break
    return Trained(model.eval(), ModelSpec(arch, preprocess, FER7, name=arch), x, accuracy)


def test_every_architecture_has_a_builder_and_a_small_form_here() -> None:
    assert list(BUILDERS) == list(ARCHS) == list(SMALL)


@pytest.mark.slow
@EACH
def test_it_learns_a_few_faces_by_heart(arch: str, trained: Train) -> None:
    assert trained(arch).accuracy == 1


@EACH
@pytest.mark.parametrize("batch", [1, 3])
def test_logits_have_a_row_for_each_image_and_a_column_for_each_label(arch: str, batch: int, timm_file: Path) -> None:
    model, preprocess = new(arch, timm_file, labels=("no", "yes"))
    assert model.config.model_type == arch
    assert preprocess.image_size == side_of(arch)
    x = torch.randn(batch, 3, side_of(arch), side_of(arch))
    assert logits_of(model, x).shape == (batch, 2)
    assert loss_of(model.train(), x, torch.full((batch, 2), 0.5)).isfinite()


@EACH
def test_a_gpu_gets_attention_in_one_operation_with_the_same_logits(arch: str, timm_file: Path, faces: Faces) -> None:
    model, preprocess = new(arch, timm_file)
    x = to_input(faces[0], preprocess)
    before = logits_of(model, x)
    fuse_attention(model, torch.device("cpu"))
    assert "sdpa" not in attention_of(model)
    fuse_attention(model, torch.device("cuda"))
    assert arch in CONVOLUTIONAL or attention_of(model) == {"sdpa"}
    torch.testing.assert_close(logits_of(model, x), before, rtol=1e-4, atol=1e-5)


def attention_of(model: PreTrainedModel) -> set[str | None]:
    """The forms of attention of all parts that read it from their configuration."""
    configs = [getattr(m, "config", None) for m in model.modules() if type(m).__name__.endswith("Attention")]
    return {config._attn_implementation for config in configs if isinstance(config, PreTrainedConfig)}


@EACH
def test_every_parameter_gets_a_gradient(arch: str, timm_file: Path, faces: Faces) -> None:
    model, preprocess = new(arch, timm_file)
    images, labels = faces
    x, targets = to_input(images, preprocess), torch.eye(len(FER7))[labels]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # what multiplies a weight may start at 0
        optimizer.zero_grad()
        loss_of(model.train(), x, targets).backward()
        optimizer.step()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not g.isfinite().all() or not g.any()] == []


@pytest.mark.slow
@EACH
def test_a_saved_folder_gives_the_same_logits(arch: str, trained: Train, tmp_path: Path) -> None:
    known = trained(arch)
    save_checkpoint(known.model, known.spec, tmp_path / "m")
    again, spec = read_checkpoint(tmp_path / "m")
    assert spec == known.spec
    rounding = 1e-4 if arch in CHANNELS_TOGETHER else 0.0  # whose order in memory is not saved
    torch.testing.assert_close(logits_of(again, known.x), logits_of(known.model, known.x), rtol=0, atol=rounding)


@pytest.mark.slow
@EACH
def test_the_exported_model_predicts_the_same_and_nearly_so_in_8_bits(
    arch: str, trained: Train, tmp_path: Path
) -> None:
    known = trained(arch)
    save_checkpoint(known.model, known.spec, tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "m.onnx") < 1e-4
    batches = [{INPUT: part.numpy()} for part in known.x.split(8)]
    write_int8(tmp_path / "m.onnx", tmp_path / "int8.onnx", known.spec, batches)
    exact, small = (OnnxClassifier(tmp_path / name, threads=1) for name in ("m.onnx", "int8.onnx"))
    difference = np.abs(softmax(small.logits(known.x.numpy())) - softmax(exact.logits(known.x.numpy())))
    assert 0 < difference.mean() < 0.01 and difference.max() < 0.2


@pytest.mark.slow
@EACH
def test_a_folder_starts_another_run(arch: str, trained: Train, tmp_path: Path) -> None:
    known = trained(arch)
    save_checkpoint(known.model, known.spec, tmp_path / "m")
    same, _ = build_model(tmp_path / "m", FER7, side_of(arch), arch=arch, options=SMALL[arch])
    torch.testing.assert_close(logits_of(same, known.x), logits_of(known.model, known.x))
    larger = side_of(arch) + 8
    other, preprocess = build_model(tmp_path / "m", ("no", "yes"), larger, arch=arch, options=SMALL[arch])
    assert preprocess.image_size == larger
    assert logits_of(other, torch.zeros(2, 3, larger, larger)).shape == (2, 2)
    assert not hasattr(other.config, "fervit")  # what was measured on the parent does not hold for the child
    for ours, theirs in zip(layers_of(other).parameters(), layers_of(known.model).parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
@EACH
def test_a_head_for_other_labels_is_made_anew_even_where_their_number_is_the_same(
    arch: str, trained: Train, tmp_path: Path
) -> None:
    known = trained(arch)
    save_checkpoint(known.model, known.spec, tmp_path / "m")
    other, _ = build_model(tmp_path / "m", FER7[::-1], side_of(arch), arch=arch, options=SMALL[arch])
    assert not torch.equal(head_of(other).weight, head_of(known.model).weight)


@EACH
def test_layer_index_covers_embeddings_layers_and_head(arch: str, timm_file: Path) -> None:
    model, _ = new(arch, timm_file)
    index, depth, prefix = layer_index(model), len(layers_of(model)), model.base_model_prefix
    depths = {name: index(name) for name, _ in model.named_parameters()}
    assert set(depths.values()) == set(range(depth + 2))
    first = (f"{prefix}.embeddings.", f"{prefix}.conv_stem.")
    assert {k for name, k in depths.items() if name.startswith(first)} == {0}
    assert depths["classifier.weight"] == depths["classifier.bias"] == depth + 1
    later = {name for name, k in depths.items() if k == depth + 1 and name.startswith(f"{prefix}.")}
    assert all("norm" in name for name in later)  # of the backbone, no more than the last norm learns like the head


@EACH
def test_frozen_layers_stay_and_all_others_learn(arch: str, timm_file: Path, faces: Faces) -> None:
    model, preprocess = new(arch, timm_file)
    freeze(model, 1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, TrainConfig(lr=1e-3, layer_decay=0.5, weight_decay=0.0))
    optimizer = torch.optim.AdamW([dict(group) for group in groups])
    images, labels = faces
    for _ in range(2):
        loss_of(model.train(), to_input(images, preprocess), torch.eye(len(FER7))[labels]).backward()
        optimizer.step()
    index = layer_index(model)
    moved = {index(name) for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == set(range(2, len(layers_of(model)) + 2))


@pytest.mark.slow
@EACH
def test_drop_path_drops_while_training_only(arch: str, trained: Train) -> None:
    known = trained(arch)
    x = known.x[:1].expand(64, -1, -1, -1)
    plain = logits_of(known.model, known.x)
    hooks = add_drop_path(known.model, 0.5)
    state = {name: tensor.clone() for name, tensor in known.model.state_dict().items()}
    try:
        assert torch.equal(logits_of(known.model, known.x), plain)
        with torch.no_grad():
            dropped = known.model.train()(pixel_values=x).logits
        assert dropped.std(dim=0).max() > 1e-3
    finally:
        known.model.load_state_dict(state)  # of batch norms
        known.model.eval()
        for hook in hooks:
            hook.remove()


def colour_and_its_luma(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of patches whose luma is a whole number, so that the grey ones `(4, side, side, 1)` are not rounded."""
    rng = np.random.default_rng(0)
    candidates = rng.integers(0, 256, (400_000, 3))
    palette = candidates[candidates @ [299, 587, 114] % 1000 == 0]
    coarse = palette[rng.integers(0, len(palette), (4, 8, 8))]  # (4, 8, 8, 3)
    colour = coarse.repeat(side // 8, axis=1).repeat(side // 8, axis=2)
    return colour.astype(np.uint8), (colour @ [[299], [587], [114]] // 1000).astype(np.uint8)


@pytest.mark.slow
@EACH
def test_folding_luma_keeps_predictions_for_grey_and_makes_colour_grey(
    arch: str, trained: Train, tmp_path: Path
) -> None:
    known = trained(arch)
    save_checkpoint(known.model, known.spec, tmp_path / "m")
    model, spec = read_checkpoint(tmp_path / "m")
    classifier = TorchClassifier(model, spec, device="cpu")
    colour, grey = colour_and_its_luma(side_of(arch))
    before = classifier.probs(grey)
    assert np.abs(classifier.probs(colour) - before).max() > 0.01
    fold_luma(model, spec.preprocess)
    np.testing.assert_allclose(classifier.probs(grey), before, atol=1e-4)
    np.testing.assert_allclose(classifier.probs(colour), before, atol=1e-3)


@pytest.mark.parametrize("arch", ["vit_se", "pf_vit"])
def test_it_starts_from_a_dinov2_as_from_a_vit(arch: str, tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors", dinov2=True)
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 48, arch=arch, options=SMALL[arch])
    plain, _ = build_model(tmp_path / "w.safetensors", FER7, 48)
    x = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        ours, theirs = (backbone_of(m.eval())(pixel_values=x).last_hidden_state for m in (model, plain))
    assert torch.equal(ours, theirs)
    assert preprocess.mean[0] == 0.485
    save_checkpoint(model, ModelSpec(arch, preprocess, FER7), tmp_path / "m")
    assert torch.equal(logits_of(read_checkpoint(tmp_path / "m")[0], x), logits_of(model, x))


def test_an_unknown_architecture_names_the_known_ones() -> None:
    known = ", ".join(sorted(ARCHS))
    with pytest.raises(ModelError, match=rf"unknown arch 'resnet'.*choices: {known}"):
        build_model("scratch", FER7, SIZE, arch="resnet")
    with pytest.raises(ConfigError, match=rf"unknown arch 'resnet'.*choices: {known}"):
        config_from_dict({"arch": "resnet"})


@pytest.mark.parametrize(
    ("arch", "setting", "value"),
    [
        ("vit", "pool", "max"),
        ("vit_se", "se_reduction", 0),
        ("vit_se", "se_on", "patches"),
        ("vtff", "channels", 12),
        ("pf_vit", "poker", -1.0),
        ("cnn", "dropout", 1.0),
        ("cnn", "blocks", 0),
    ],
)
def test_a_wrong_option_is_refused_when_the_recipe_is_read(arch: str, setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{setting}"):
        config_from_dict({"arch": arch, "model": {setting: value}})


@pytest.mark.parametrize(
    ("arch", "options", "image_size", "message"),
    [
        ("vit", SMALL["vit"], 33, "33 is no multiple of the patch size 8"),
        ("vit_se", SMALL["vit_se"], 33, "33 is no multiple of the patch size 8"),
        ("pf_vit", SMALL["pf_vit"], 33, "33 is no multiple of the patch size 8"),
        ("vit_se", ViTSEOptions(se_reduction=65), SIZE, "65 .* width 64"),
        ("vtff", VTFFOptions(channels=16, width=128, mlp=256, depth=1), SIZE, r"width 64 .*width is 128"),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused_with_both_shapes(
    arch: str, options: object, image_size: int, message: str, timm_file: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(timm_file, FER7, image_size, arch=arch, options=options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("vit_se", ViTSEOptions(se_reduction=8), r"se_reduction 4 \(model\.se_reduction is 8\).*--set model\.se_red"),
        (
            "inception_resnet_v1",
            InceptionResNetV1Options(width=0.5),
            r"width 0\.125 \(model\.width is 0\.5\), depth 0\.2 .*--set model\.width=0\.125 --set model\.depth=0\.2",
        ),
        ("cnn", CNNOptions(channels=16), r"channels 8 \(model\.channels is 16\).*--set model\.channels=8"),
    ],
)
def test_a_folder_built_with_other_options_is_refused_with_both(
    arch: str, options: object, message: str, trained: Train, tmp_path: Path
) -> None:
    known = trained(arch)
    save_checkpoint(known.model, known.spec, tmp_path / "m")
    with pytest.raises(ModelError, match=message):
        build_model(tmp_path / "m", FER7, side_of(arch), arch=arch, options=options)


def test_starting_from_scratch_is_for_those_that_can() -> None:
    check_starting_weights("scratch")
    for arch in BUILDERS:
        if arch not in FROM_SCRATCH:
            with pytest.raises(ModelError, match=f"{arch} needs starting weights"):
                build_model("scratch", FER7, SIZE, arch=arch)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["vtff", "cnn", "inception_resnet_v1"])
def test_convolutions_start_by_kaiming_and_not_as_a_transformers_layers(arch: str) -> None:
    model, _ = build_model("scratch", FER7, 80, arch=arch)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 5000:
            expected = (2 / (module.out_channels * module.kernel_size[0] * module.kernel_size[1])) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1), name
