import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from fervit.config.architectures import ViTOptions
from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.media.crops import preprocess_batch
from fervit.models import TorchClassifier, build_model, load_checkpoint, save_checkpoint
from fervit.models.backbone import backbone_of, fold_luma, layer_index, layers_of
from fervit.models.inputs import to_input
from fervit.models.positions import resize_positions
from fervit.training.dropping import add_drop_path, add_patch_drop
from fervit.types import ModelSpec
from tests.helpers import WEIGHTS
from tests.helpers.weights import save_timm, timm_weights


def plain_forward(weights, x):
    """The ViT of arXiv 2010.11929 written from timm's tensor names: `(B, 3, S, S)` -> `(B, 1 + N, D)`."""
    w = {name: tensor.float() for name, tensor in weights.items()}
    patch = w["patch_embed.proj.weight"].shape[-1]
    tokens = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=patch)
    tokens = tokens.flatten(2).transpose(1, 2)
    tokens = torch.cat([w["cls_token"].expand(len(x), -1, -1), tokens], 1) + w["pos_embed"]
    width = tokens.shape[-1]
    heads = width // 64
    for k in range(1 + max(int(n.split(".")[1]) for n in w if n.startswith("blocks."))):
        b = {n.removeprefix(f"blocks.{k}."): t for n, t in w.items() if n.startswith(f"blocks.{k}.")}
        y = F.layer_norm(tokens, (width,), b["norm1.weight"], b["norm1.bias"], 1e-6)
        qkv = F.linear(y, b["attn.qkv.weight"], b["attn.qkv.bias"])
        q, key, v = qkv.reshape(*y.shape[:2], 3, heads, 64).permute(2, 0, 3, 1, 4)
        y = ((q @ key.transpose(-1, -2)) / 8).softmax(-1) @ v
        y = F.linear(y.transpose(1, 2).flatten(2), b["attn.proj.weight"], b["attn.proj.bias"])
        tokens = tokens + y * b.get("ls1.gamma", torch.ones(()))
        y = F.layer_norm(tokens, (width,), b["norm2.weight"], b["norm2.bias"], 1e-6)
        y = F.gelu(F.linear(y, b["mlp.fc1.weight"], b["mlp.fc1.bias"]))
        y = F.linear(y, b["mlp.fc2.weight"], b["mlp.fc2.bias"])
        tokens = tokens + y * b.get("ls2.gamma", torch.ones(()))
    return F.layer_norm(tokens, (width,), w["norm.weight"], w["norm.bias"], 1e-6)


@pytest.fixture
def small(tmp_path):
    """A small ViT built from timm weights, with its preprocessing."""
    save_timm(tmp_path / "w.safetensors")
    torch.manual_seed(0)
    return build_model(tmp_path / "w.safetensors", FER7, 32)


@pytest.mark.parametrize("dinov2", [False, True])
def test_conversion_equals_a_plain_forward_from_timm_names(tmp_path, dinov2):
    path = tmp_path / "w.safetensors"
    weights = save_timm(path, dinov2=dinov2)
    model, preprocess = build_model(path, FER7, 32)
    assert preprocess.mean[0] == (0.485 if dinov2 else 0.5)
    assert model.config.model_type == ("dinov2" if dinov2 else "vit")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = model.eval().base_model(pixel_values=x).last_hidden_state
    torch.testing.assert_close(tokens, plain_forward(weights, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image_size", 64, r"position_embeddings has the shape \(1, 17, 64\), and its place \(1, 65, 64\)"),
        ("hidden_size", 128, r"has the shape .*64.*, and its place .*128"),
        ("intermediate_size", 512, r"has the shape \(256,?.*\), and its place \(512"),
        ("num_hidden_layers", 1, r"no place for 16 weights, such as vit\.layers\.1\."),
        ("num_hidden_layers", 3, r"incomplete: 16 of its weights are missing"),
    ],
)
def test_weights_that_do_not_fit_their_configuration_are_told_with_both_shapes(small, tmp_path, key, value, message):
    model, preprocess = small
    folder = tmp_path / "m"
    save_checkpoint(model, ModelSpec("vit", preprocess), folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {key: value}))
    for open_folder in (lambda: build_model(folder, FER7, values["image_size"]), lambda: load_checkpoint(folder)):
        with pytest.raises(ModelError, match=message):
            open_folder()


def test_the_heads_of_a_timm_file_are_those_of_the_known_sizes(tmp_path):
    save_timm(tmp_path / "huge.safetensors", width=1280, depth=1)
    assert build_model(tmp_path / "huge.safetensors", FER7, 32)[0].config.num_attention_heads == 16
    save_timm(tmp_path / "odd.safetensors", width=1216, depth=1)
    with pytest.raises(ModelError, match="of width 1216, and does not say how many heads"):
        build_model(tmp_path / "odd.safetensors", FER7, 32)


def test_a_timm_file_with_an_odd_shape_is_told_with_both(tmp_path):
    weights = save_timm(tmp_path / "w.safetensors", dinov2=True)
    wider = weights | {"blocks.1.mlp.fc1.weight": torch.zeros(300, 64), "blocks.1.mlp.fc1.bias": torch.zeros(300)}
    save_file(wider, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"fc1.bias has the shape \(300,\), and its place \(256,\)"):
        build_model(tmp_path / "w.safetensors", FER7, 32)


@pytest.mark.parametrize(("name", "size"), [("vit_tiny_patch16_224_fp16", 224), ("dinov2_vits14_fp16", 37 * 14)])
def test_real_weights_equal_a_plain_forward(name, size):
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the project")
    from safetensors.torch import load_file

    model, _ = build_model(path, FER7, size)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = model.eval().base_model(pixel_values=x).last_hidden_state
        expected = plain_forward(load_file(path), x)
    torch.testing.assert_close(tokens, expected, atol=2e-3, rtol=1e-3)


def test_positions_interpolate_to_another_grid_and_stay_where_it_is_the_same():
    positions = torch.randn(1, 17, 8)
    assert resize_positions(positions, 4) is positions
    resized = resize_positions(positions, 6)
    assert resized.shape == (1, 37, 8)
    assert torch.equal(resized[:, :1], positions[:, :1])
    with pytest.raises(ModelError, match="no square grid"):
        resize_positions(torch.randn(1, 18, 8), 4)


def test_a_model_of_another_size_answers(tmp_path):
    save_timm(tmp_path / "w.safetensors")
    model, _ = build_model(tmp_path / "w.safetensors", FER7, 48)
    assert model(pixel_values=torch.zeros(1, 3, 48, 48)).logits.shape == (1, 7)


def test_a_saved_folder_starts_another_run_at_another_size_with_other_labels(small, tmp_path):
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7, temperature=2.0), tmp_path / "first")
    child, child_preprocess = build_model(tmp_path / "first", ("no", "yes"), 64)
    assert child(pixel_values=torch.zeros(1, 3, 64, 64)).logits.shape == (1, 2)
    assert child_preprocess.image_size == 64
    assert not hasattr(child.config, "fervit")
    kept = layers_of(child)[0].state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in layers_of(model)[0].state_dict().items())


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_logits_and_spec(small, tmp_path, half):
    model, preprocess = small
    spec = ModelSpec("vit", preprocess, FER7, 1.5, "demo", "Apache-2.0", "abc", {"public_test": {"accuracy": 0.5}})
    save_checkpoint(model, spec, tmp_path / "m", half=half)
    again, read = load_checkpoint(tmp_path / "m")
    assert read == spec
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, actual = model.eval()(pixel_values=x).logits, again(pixel_values=x).logits
    torch.testing.assert_close(actual, expected, atol=2e-3 if half else 1e-6, rtol=0)


def test_transformers_pipeline_answers_as_fervit_does(small, tmp_path):
    from PIL import Image
    from transformers import pipeline

    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7), tmp_path / "m")
    crops = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    probs = TorchClassifier(tmp_path / "m").probs(crops)
    answer = pipeline("image-classification", model=str(tmp_path / "m"), top_k=7)
    for crop, row in zip(crops, probs, strict=True):
        named = {item["label"]: item["score"] for item in answer(Image.fromarray(crop))}
        np.testing.assert_allclose([named[name] for name in FER7], row, atol=1e-5)


@pytest.mark.parametrize("dinov2", [False, True])
def test_folding_luma_keeps_grey_answers_and_greys_colour(tmp_path, dinov2):
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    classifier = TorchClassifier(model, ModelSpec("vit", preprocess))
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (4, 32, 32, 1), dtype=np.uint8)
    colour = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    luma = (colour @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)[..., None]
    before = classifier.logits(grey)
    fold_luma(model, preprocess)
    np.testing.assert_allclose(classifier.logits(grey), before, atol=1e-4)
    np.testing.assert_allclose(classifier.logits(colour), classifier.logits(luma), atol=0.02)


def test_layer_index_runs_from_embeddings_to_head(small):
    model, _ = small
    index = layer_index(model)
    depths = {name: index(name) for name, _ in model.named_parameters()}
    assert {d for n, d in depths.items() if ".embeddings." in n} == {0}
    assert depths["classifier.weight"] == len(layers_of(model)) + 1
    assert set(depths.values()) == {0, 1, 2, 3}


def test_drop_path_drops_while_training_only_and_keeps_the_mean(small):
    model, _ = small
    x = torch.randn(1, 3, 32, 32).expand(512, -1, -1, -1)
    with torch.no_grad():
        plain = model.eval()(pixel_values=x[:1]).logits
        hooks = add_drop_path(model, 0.5)
        assert torch.equal(model(pixel_values=x[:1]).logits, plain)
        dropped = model.train()(pixel_values=x).logits
    assert len(dropped.unique(dim=0)) == 2  # the first of two layers never drops
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("dinov2", [False, True])
def test_patch_drop_keeps_the_cls_token_and_some_patches_while_training_only(tmp_path, dinov2):
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    model, _ = build_model(tmp_path / "w.safetensors", FER7, 32)
    encoder, x = backbone_of(model), torch.randn(1, 3, 32, 32).expand(64, -1, -1, -1)
    with torch.no_grad():
        whole = encoder.eval().embeddings(x[:1])[0]
        hook = add_patch_drop(model, 0.7)
        assert torch.equal(encoder.embeddings(x[:1])[0], whole)
        left = encoder.train().embeddings(x)
        assert model(pixel_values=x).logits.shape == (64, len(FER7))
    hook.remove()
    assert left.shape == (64, 1 + round(16 * 0.3), whole.shape[1])
    assert torch.equal(left[:, 0], whole[0].expand(64, -1))
    same = (left[:, 1:, None] == whole[None, None, 1:]).all(dim=-1)  # (64, kept, 16)
    assert (same.sum(dim=2) == 1).all() and (same.sum(dim=1) <= 1).all()  # its own patches, none twice
    assert 0.15 < same.any(dim=1).float().mean(dim=0).min() <= same.any(dim=1).float().mean(dim=0).max() < 0.5


def test_a_vit_with_a_mean_pooled_head_keeps_its_features_and_is_a_plain_dinov2(small, tmp_path):
    plain, _ = small
    pooled, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32, options=ViTOptions(pool="cls_mean"))
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = backbone_of(plain.eval())(pixel_values=x).last_hidden_state
        actual = backbone_of(pooled.eval())(pixel_values=x).last_hidden_state
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
    assert pooled.config.model_type == "dinov2"
    assert pooled.classifier.in_features == 2 * plain.classifier.in_features
    save_checkpoint(pooled, ModelSpec("dinov2", preprocess), tmp_path / "m")
    again, _ = load_checkpoint(tmp_path / "m")
    torch.testing.assert_close(again(pixel_values=x).logits, pooled(pixel_values=x).logits)


def test_an_unknown_architecture_names_the_known_ones(tmp_path):
    with pytest.raises(ModelError, match="unknown arch 'vitse': did you mean 'vit_se'"):
        build_model(tmp_path / "w.safetensors", FER7, 32, arch="vitse")
    with pytest.raises(ModelError, match="vit needs starting weights"):
        build_model("scratch", FER7, 32)


def write_pickle_folder(folder):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    return folder


def test_bad_weights_are_refused_with_a_reason(tmp_path, small):
    model, preprocess = small
    with pytest.raises(ModelError, match="no weights at"):
        build_model(tmp_path / "none.safetensors", FER7, 32)
    with pytest.raises(ModelError, match="multiple of the patch size 8; try 32"):
        build_model(tmp_path / "w.safetensors", FER7, 33)
    (tmp_path / "m.pt").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="pickle"):
        build_model(tmp_path / "m.pt", FER7, 32)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="not a readable safetensors"):
        build_model(tmp_path / "cut.safetensors", FER7, 32)
    with pytest.raises(ModelError, match="pickle"):
        load_checkpoint(write_pickle_folder(tmp_path / "pickle"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_checkpoint(tmp_path)
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:10_000])
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(tmp_path / "m")


@pytest.mark.parametrize("absent", ["vit.encoder.layer.1.output.dense.weight", "classifier.weight"])
def test_a_folder_that_lacks_weights_is_refused_and_not_filled_with_random_ones(tmp_path, small, absent):
    from safetensors.torch import load_file, save_file

    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    state = load_file(path)
    del state[absent]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(ModelError, match="1 of its weights are missing"):
        load_checkpoint(tmp_path / "m")
    if absent == "classifier.weight":  # a start needs no head
        build_model(tmp_path / "m", FER7, 32)
    else:
        with pytest.raises(ModelError, match="1 of its weights are missing"):
            build_model(tmp_path / "m", FER7, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resample": 1}, r"resample 1 is none of Pillow's filters that fervit has: 2 \(bilinear\), 3 \(bicubic\)"),
        ({"image_mean": None}, "image_mean or image_std is missing or no number"),
        ({"size": "large"}, "size, image_mean or image_std"),
    ],
)
def test_a_preprocessing_that_cannot_be_followed_is_refused(tmp_path, small, changes, message):
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "m")
    path = tmp_path / "m" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=message):
        load_checkpoint(tmp_path / "m")
    path.write_text("{")
    with pytest.raises(ModelError, match="not readable"):
        load_checkpoint(tmp_path / "m")


def test_a_foreign_tensor_name_is_an_error_that_names_it(tmp_path):
    from safetensors.torch import save_file

    save_file(timm_weights() | {"blocks.0.extra": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"blocks\.0\.extra"):
        build_model(tmp_path / "w.safetensors", FER7, 32)
    save_file({"a": torch.zeros(1)}, tmp_path / "no.safetensors")
    with pytest.raises(ModelError, match="timm's naming"):
        build_model(tmp_path / "no.safetensors", FER7, 32)


def test_a_folder_is_shown_what_every_runtime_is_shown(tmp_path):
    save_timm(tmp_path / "w.safetensors")
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 56)
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), dtype=np.uint8)
    shown = torch.from_numpy(preprocess_batch(crops, preprocess))
    # at 56 px torch's own resizing is not Pillow's
    assert not torch.allclose(to_input(torch.from_numpy(crops).permute(0, 3, 1, 2), preprocess), shown, atol=1e-3)
    with torch.no_grad():
        expected = model.eval()(pixel_values=shown).logits.numpy()
    classifier = TorchClassifier(model, ModelSpec("vit", preprocess, labels=FER7))
    np.testing.assert_allclose(classifier.logits(crops, batch_size=2), expected, atol=1e-5)
    mixed = [*crops[:2], np.repeat(crops[2], 3, axis=2), crops[3][:40]]
    np.testing.assert_allclose(classifier.logits(mixed)[:3], expected[:3], atol=1e-5)


@pytest.mark.parametrize("dinov2", [False, True])
def test_what_is_left_out_at_random_is_drawn_for_the_models_device(tmp_path, dinov2):
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    model = build_model(tmp_path / "w.safetensors", FER7, 32)[0].to("meta").train()
    add_drop_path(model, 0.5)
    add_patch_drop(model, 0.5)
    assert model(pixel_values=torch.empty(4, 3, 32, 32, device="meta")).logits.device.type == "meta"
