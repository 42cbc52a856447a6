"""Vision Transformers for classification: Hugging Face ViT and DINOv2, started from weights of any form.

Starting weights may be a Hub id, a Hugging Face model folder (of fervit's or anyone's), or a safetensors file
in timm's naming. Positions are interpolated to the wanted image size and the head is re-made for the labels.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from fervit.archs import ViTOptions
from fervit.errors import ModelError
from fervit.parallel import generator
from fervit.types import Preprocess

# A timm file does not say how many attention heads it has. Up to ViT-L they are 64 wide; the larger ones are
# ViT-H (arXiv 2010.11929, table 1), ViT-g and ViT-G (arXiv 2106.04560), and DINOv2's ViT-g of 24 heads (2304.07193).
HEAD_WIDTH, LARGEST_OF_64 = 64, 1024
HEADS = {1280: 16, 1408: 16, 1536: 24, 1664: 16}
TIMM_NORM_EPS = 1e-6  # timm's LayerNorm; Hugging Face's default for ViT is 1e-12
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
# Pillow's filter numbers, as `preprocessor_config.json` writes them.
FILTERS = {2: "bilinear", 3: "bicubic"}
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, what Pillow's convert("L") uses


def build(init: str | Path, labels: Sequence[str], image_size: int, options: ViTOptions) -> tuple[Any, Preprocess]:
    """Return a classifier over `labels` at `image_size` px, with the preprocessing that its weights expect.

    Raises:
        ModelError: the weights are missing, unsafe (a pickle), truncated, of an unknown form, or their patch
            size does not divide `image_size`.
    """
    path = Path(init)
    model: Any
    if path.is_file():
        model, preprocess = _from_timm(path, labels, image_size)
    else:
        model, preprocess = from_hugging_face(init, labels, image_size, kinds=("vit", "dinov2"), files=True)
    if options.pool == "cls_mean" and model.config.model_type == "vit":
        model = _with_mean_pool(model)
    return model, preprocess


def build_backbone(init: str | Path, image_size: int) -> tuple[Any, Preprocess]:
    """Return the encoder alone (`ViTModel` or `Dinov2Model`) of the same starting weights; see `build`."""
    model, preprocess = build(init, ("none",), image_size, ViTOptions())
    return backbone_of(model), preprocess


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' and the Hub's progress bars, load reports and retry notes while weights move."""
    from transformers.utils import logging as untyped

    transformers: Any = untyped
    hub = logging.getLogger("huggingface_hub")
    level, hub_level, bars = transformers.get_verbosity(), hub.level, transformers.is_progress_bar_enabled()
    transformers.set_verbosity_error()
    transformers.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            transformers.enable_progress_bar()


def backbone_of(model: Any) -> Any:
    """Return the encoder of a Hugging Face classifier: `model.vit`, `model.dinov2`, `model.backbone`."""
    return getattr(model, model.base_model_prefix)


def layers_of(model: Any) -> nn.ModuleList:
    """Return the encoder's transformer layers, first to last."""
    backbone = backbone_of(model)
    for owner in (backbone, getattr(backbone, "encoder", None)):
        for name in ("layers", "layer"):
            layers = getattr(owner, name, None)
            if isinstance(layers, nn.ModuleList):
                return layers
    raise ModelError(f"no transformer layers found in {type(model).__name__}")


def layer_index(model: Any) -> Callable[[str], int]:
    """Return a function from parameter name to depth: 0 embeddings, 1..L layers, L + 1 norm and head."""
    depth = len(layers_of(model))
    names = {id(layer): k for k, layer in enumerate(layers_of(model))}
    prefixes = {f"{name}.": names[id(m)] + 1 for name, m in model.named_modules() if id(m) in names}

    def index(name: str) -> int:
        for prefix, k in prefixes.items():
            if name.startswith(prefix):
                return k
        return 0 if ".embeddings." in name or ".conv_stem." in name else depth + 1

    return index


def add_drop_path(model: Any, rate: float) -> list[Any]:
    """Drop whole layers at random per sample while training, `rate` at the last one, less below.

    Stochastic depth (Huang et al. 2016, arXiv 1603.09382), with the layer's change divided by the
    probability of keeping it. A layer that changes the shape, as some of a CNN's do, is never dropped. Returns
    the hooks' handles; `handle.remove()` takes them off.
    """
    layers = layers_of(model)

    def hook_for(drop: float) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if not module.training or not drop:
                return output
            before, after = args[0], output[0] if isinstance(output, tuple) else output
            if before.shape != after.shape:
                return output
            keep = (torch.rand(len(before), generator=generator()) >= drop).to(after) / (1 - drop)
            mixed = before + (after - before) * keep.view(-1, *[1] * (before.ndim - 1))
            return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

        return hook

    last = max(1, len(layers) - 1)
    return [layer.register_forward_hook(hook_for(rate * k / last)) for k, layer in enumerate(layers)]


def add_patch_drop(model: Any, share: float) -> Any:
    """Leave out a random `share` of each picture's patches while training; the CLS token stays.

    PatchDropout (Liu et al. 2022, arXiv 2208.07220): a step costs little more than the patches that are left, and
    every picture looks different every time. At least one patch is kept. Returns the hook's handle.
    """

    def hook(module: nn.Module, _args: tuple[Any, ...], tokens: torch.Tensor) -> torch.Tensor | None:
        if not module.training:
            return None
        count = tokens.shape[1] - 1
        kept = max(1, round(count * (1 - share)))
        draws = torch.rand(len(tokens), count, generator=generator())
        rows = 1 + draws.argsort(dim=1)[:, :kept].to(tokens.device)
        patches = tokens.gather(1, rows.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
        return torch.cat([tokens[:, :1], patches], dim=1)  # (B, 1 + N, D) -> (B, 1 + kept, D)

    return backbone_of(model).embeddings.register_forward_hook(hook)


@torch.no_grad()
def fold_luma(model: Any, preprocess: Preprocess) -> None:
    """Rewrite the patch embedding so that the model sees colour pictures as their grey (luma) version.

    A model trained on grey pictures repeated to three channels only ever used the sum of its channel
    kernels; sharing that sum out by ITU-R 601 luma leaves its answer to grey pictures as it is, and makes
    the answer to a colour picture that of its grey version, in every runtime, with no extra step.
    """
    shape = (1, -1, 1, 1)
    mean = torch.tensor(preprocess.mean, dtype=torch.float64).view(shape)
    std = torch.tensor(preprocess.std, dtype=torch.float64).view(shape)
    luma = torch.tensor(LUMA, dtype=torch.float64).view(shape)
    for projection in input_convolutions(model):
        weight = projection.weight.double()
        kernel = (weight / std).sum(1, keepdim=True)  # (D, 1, P, P): the response to one unit of grey
        folded = kernel * std * luma
        projection.weight.copy_(folded)
        if projection.bias is not None:  # a convolution without one must have equal means and deviations
            offset = ((folded - weight) * mean / std).sum(dim=(1, 2, 3))
            projection.bias.copy_(projection.bias.double() + offset)


def input_convolutions(model: Any) -> list[Any]:
    """Return the convolutions that read the pixels: the patch embedding, or what the architecture names."""
    if hasattr(model, "input_convolutions"):
        return list(model.input_convolutions())
    backbone = backbone_of(model)
    if hasattr(backbone, "conv_stem"):  # transformers' own CNNs
        return [backbone.conv_stem.convolution]
    return [backbone.embeddings.patch_embeddings.projection]


def resize_positions(positions: torch.Tensor, grid: int) -> torch.Tensor:
    """Interpolate `(1, 1 + g * g, D)` positions (CLS first) bicubically to `(1, 1 + grid * grid, D)`."""
    cls, patches = positions[:, :1], positions[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    if side * side != patches.shape[1]:
        raise ModelError(f"the weights hold {patches.shape[1]} patch positions, which is no square grid")
    if side == grid:
        return positions
    patches = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, g*g, D) -> (1, D, g, g)
    patches = F.interpolate(patches.float(), (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([cls, patches.flatten(2).transpose(1, 2).to(cls.dtype)], dim=1)


def patch_grid(image_size: int, patch: int) -> int:
    """Return how many patches of side `patch` fit a side of `image_size` px; ModelError where they do not."""
    if image_size % patch:
        near = round(image_size / patch) * patch or patch
        raise ModelError(f"image_size {image_size} is no multiple of the patch size {patch}; try {near}")
    return image_size // patch


def _looks_like_hub_id(text: str) -> bool:
    return text.count("/") == 1 and not text.startswith((".", "/", "~")) and Path(text).suffix != ".safetensors"


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file; pickles are refused.

    Raises:
        ModelError: it is missing, a pickle, or truncated.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix in {".pt", ".pth", ".bin", ".pkl", ".ckpt"}:
        raise ModelError(f"{path} is a pickle, which can run code when read; convert it to safetensors")
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except FileNotFoundError:
        raise ModelError(f"no weights at {path}") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error})") from error
    return weights


def _from_timm(path: Path, labels: Sequence[str], image_size: int) -> tuple[nn.Module, Preprocess]:
    """Build from timm's names; layer scale tells a DINOv2 from a plain ViT."""
    from transformers import Dinov2Config, Dinov2ForImageClassification, ViTConfig, ViTForImageClassification

    weights = read_safetensors(path)
    if "patch_embed.proj.weight" not in weights or "pos_embed" not in weights:
        raise ModelError(f"{path} does not hold a ViT in timm's naming (no patch_embed.proj.weight, pos_embed)")
    width, _, patch, _ = weights["patch_embed.proj.weight"].shape
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    hidden = len(weights["blocks.0.mlp.fc1.bias"])
    grid = patch_grid(image_size, patch)
    common: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": _heads_of(path, width),
        "image_size": image_size,
        "patch_size": patch,
        "layer_norm_eps": TIMM_NORM_EPS,
        **label_fields(labels),
    }
    dinov2 = "blocks.0.ls1.gamma" in weights
    if dinov2:
        config: Any = Dinov2Config(mlp_ratio=hidden // width, **common)
        config._attn_implementation = "eager"
        model: Any = Dinov2ForImageClassification(config)
    else:
        config = ViTConfig(intermediate_size=hidden, **common)
        config._attn_implementation = "eager"
        model = ViTForImageClassification(config)
    positions = weights["pos_embed"].float()
    if positions.shape[1] == round((positions.shape[1]) ** 0.5) ** 2:
        raise ModelError(f"{path} has no position for a CLS token; only ViTs with one are supported")
    weights["pos_embed"] = resize_positions(positions, grid)
    state = timm_to_hugging_face(weights, dinov2=dinov2)
    wanted = model.state_dict()
    check_shapes(path, ((k, v.shape, wanted[k].shape) for k, v in state.items() if k in wanted))
    missing, unexpected = model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    missing = [name for name in missing if not name.startswith("classifier.") and "mask_token" not in name]
    if missing or unexpected:
        raise ModelError(f"{path} does not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if dinov2 else (HALF, HALF)
    return model, Preprocess(image_size=image_size, mean=mean, std=std)


def _heads_of(path: Path, width: int) -> int:
    """Return how many attention heads a ViT of this width has."""
    if width in HEADS:
        return HEADS[width]
    if width > LARGEST_OF_64 or width % HEAD_WIDTH:
        known = f"multiples of {HEAD_WIDTH} up to {LARGEST_OF_64}, and {', '.join(map(str, HEADS))}"
        raise ModelError(
            f"{path} holds a ViT of width {width}, and does not say how many heads it has (known: {known}); "
            "convert it to a Hugging Face folder, whose config.json does"
        )
    return width // HEAD_WIDTH


def timm_to_hugging_face(weights: dict[str, torch.Tensor], *, dinov2: bool) -> dict[str, torch.Tensor]:
    """Rename timm's tensors to those of transformers 5 and split the joint query-key-value matrix."""
    prefix = "dinov2" if dinov2 else "vit"
    layer = "dinov2.encoder.layer" if dinov2 else "vit.layers"
    norms = ("norm1", "norm2") if dinov2 else ("layernorm_before", "layernorm_after")
    parts = {
        "norm1": norms[0],
        "norm2": norms[1],
        "attn.proj": "attention.o_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    roots = {
        "cls_token": f"{prefix}.embeddings.cls_token",
        "pos_embed": f"{prefix}.embeddings.position_embeddings",
        "patch_embed.proj.weight": f"{prefix}.embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": f"{prefix}.embeddings.patch_embeddings.projection.bias",
        "norm.weight": f"{prefix}.layernorm.weight",
        "norm.bias": f"{prefix}.layernorm.bias",
    }
    state: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if name in roots:
            state[roots[name]] = tensor
        elif name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            if rest.startswith("attn.qkv."):
                for part, chunk in zip("qkv", tensor.chunk(3), strict=True):
                    state[f"{layer}.{index}.attention.{part}_proj.{rest.rsplit('.', 1)[1]}"] = chunk.clone()
                continue
            old = next((p for p in parts if rest.startswith(p)), None)
            state[f"{layer}.{index}.{parts[old] + rest[len(old) :]}" if old else name] = tensor
        elif not name.startswith("head."):
            state[name] = tensor  # load_state_dict reports it
    return state


def label_fields(labels: Sequence[str]) -> dict[str, Any]:
    """Return the two fields of a configuration that name the labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {name: k for k, name in enumerate(labels)}}


def from_hugging_face(
    init: str | Path,
    labels: Sequence[str],
    image_size: int,
    *,
    kinds: Sequence[str],
    changes: Mapping[str, Any] | None = None,
    files: bool = False,
) -> tuple[Any, Preprocess]:
    """Build from a model folder or a Hub id through transformers' Auto classes; safetensors only.

    Args:
        init: the folder or id.
        labels: of the head, which is made anew unless they are the weights' own.
        image_size: side of the input in px.
        kinds: the `model_type`s that will do.
        changes: values for the configuration.
        files: whether the caller reads single files, for the message.

    Raises:
        ModelError: there is no such folder and it looks like no id, it cannot be read, is incomplete or another model.
    """
    from transformers import AutoConfig, AutoModelForImageClassification

    name = str(init)
    if not (Path(init).is_dir() or _looks_like_hub_id(name)):
        forms = f"{'a safetensors file, ' if files else ''}a model folder or a Hub id owner/name"
        raise ModelError(f"no weights at {init} (expected {forms})")
    load: dict[str, Any] = {"local_files_only": Path(init).is_dir()}
    try:
        with quiet_transformers():
            config: Any = AutoConfig.from_pretrained(name, **load)
        if config.model_type not in kinds:
            raise ModelError(f"{name} is a {config.model_type!r}; fervit fine-tunes: {', '.join(kinds)}")
        same_labels = tuple(map(config.id2label.get, range(config.num_labels))) == tuple(labels)
        if "fervit" in config.to_dict():
            del config.fervit  # what was measured on the parent does not hold for the child
        patches = hasattr(config, "patch_size")
        grid = patch_grid(image_size, config.patch_size) if patches else 0
        for key, value in (label_fields(labels) | dict(changes or {})).items():
            setattr(config, key, value)
        with quiet_transformers():
            model: Any
            model, loaded = AutoModelForImageClassification.from_pretrained(
                name,
                config=config,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                attn_implementation="eager",
                dtype=torch.float32,
                output_loading_info=True,
                **load,
            )
        preprocess = read_preprocess(name, image_size=image_size)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"cannot load {name}: {reason} (a Hub id needs internet or a filled cache)") from error
    renewed = ("classifier.", "pooler.", "mask_token")  # a head is made anew, and of the others nothing is used
    check_complete(name, [key for key in loaded["missing_keys"] if not any(part in key for part in renewed)])
    check_loaded(name, loaded)
    if not same_labels:  # transformers keeps a head of the same width, whatever it tells apart
        nn.init.trunc_normal_(model.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(model.classifier.bias)
    if not patches:
        model.config.image_size = image_size
    elif config.image_size != image_size:
        model = _at_size(model, image_size, grid)
    return model, preprocess


def check_complete(name: str | Path, missing: Iterable[str]) -> None:
    """Raise `ModelError` where weights are missing: transformers fills them with random numbers."""
    if absent := sorted(missing):
        raise ModelError(f"{name} is incomplete: {len(absent)} of its weights are missing, such as {absent[0]}")


def check_shapes(name: str | Path, pairs: Iterable[tuple[str, Sequence[int], Sequence[int]]]) -> None:
    """Raise `ModelError` where a weight has another shape than its place: pairs are `(name, has, needs)`."""
    for key, has, needs in sorted(pairs):
        if tuple(has) != tuple(needs):
            raise ModelError(f"{name} does not fit: {key} has the shape {tuple(has)}, and its place {tuple(needs)}")


def check_loaded(name: str | Path, loaded: dict[str, Any], *, head: bool = False) -> None:
    """Refuse what transformers lets pass: it fills misfits with random numbers and drops layers too many.

    Args:
        name: where the weights come from.
        loaded: its `output_loading_info`.
        head: whether the head must fit, too.

    Raises:
        ModelError: a weight has another shape than `config.json` says, or a layer has no place in it.
    """
    check_shapes(name, (entry for entry in loaded["mismatched_keys"] if head or not entry[0].startswith("classifier.")))
    if extra := sorted(key for key in loaded["unexpected_keys"] if ".layers." in key or ".layer." in key):
        raise ModelError(
            f"{name} does not fit: its config.json has no place for {len(extra)} weights, such as {extra[0]}"
        )


def _at_size(model: Any, image_size: int, grid: int) -> Any:
    """Return the same classifier for another image size, with its positions interpolated."""
    config = type(model.config).from_dict(model.config.to_dict() | {"image_size": image_size})
    config._attn_implementation = "eager"
    resized = type(model)(config)
    key = f"{model.base_model_prefix}.embeddings.position_embeddings"
    state = model.state_dict()
    resized.load_state_dict(state | {key: resize_positions(state[key], grid)})
    return resized


def _with_mean_pool(model: Any) -> Any:
    """Return a ViT as the DINOv2 that computes the same features, whose head also sees the patches' mean."""
    from transformers import Dinov2Config, Dinov2ForImageClassification

    old = model.config
    if old.intermediate_size % old.hidden_size:
        raise ModelError(
            f"cls_mean needs layers whose hidden part is a multiple of their width, got {old.intermediate_size} and "
            f"{old.hidden_size}"
        )
    config: Any = Dinov2Config(
        hidden_size=old.hidden_size,
        num_hidden_layers=old.num_hidden_layers,
        num_attention_heads=old.num_attention_heads,
        mlp_ratio=old.intermediate_size // old.hidden_size,
        hidden_act=old.hidden_act,
        hidden_dropout_prob=old.hidden_dropout_prob,
        attention_probs_dropout_prob=old.attention_probs_dropout_prob,
        image_size=old.image_size,
        patch_size=old.patch_size,
        layer_norm_eps=old.layer_norm_eps,
        qkv_bias=old.qkv_bias,
        layerscale_value=1.0,
        id2label=old.id2label,
        label2id=old.label2id,
    )
    config._attn_implementation = "eager"
    pooled = Dinov2ForImageClassification(config)
    renamed = {
        "vit.layers.": "dinov2.encoder.layer.",
        "vit.": "dinov2.",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
    }
    state = {}
    for name, tensor in model.state_dict().items():
        for part, new in renamed.items():
            name = name.replace(part, new)
        if not name.startswith("classifier."):
            state[name] = tensor
    missing, unexpected = pooled.load_state_dict(state, strict=False)
    ours = ("classifier.", "mask_token", "lambda1")  # the new head, and what starts neutral
    missing = [name for name in missing if not any(part in name for part in ours)]
    if missing or unexpected:
        raise ModelError(f"cls_mean: the weights do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return pooled


def read_preprocess(name: str, *, image_size: int | None = None, extra: dict[str, Any] | None = None) -> Preprocess:
    """Read `preprocessor_config.json` of a folder or a Hub id.

    Raises:
        ModelError: there is none, it is not readable, or it asks for a filter that fervit has not.
    """
    path = Path(name) / "preprocessor_config.json"
    if not Path(name).is_dir():
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(name, "preprocessor_config.json"))
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{name} has no preprocessor_config.json, so its mean and std are unknown") from None
    except ValueError as error:
        raise ModelError(f"{path} is not readable: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not readable: expected a JSON object")
    wanted = values.get("resample", 2)
    if not isinstance(wanted, int) or wanted not in FILTERS:
        known = ", ".join(f"{number} ({filter})" for number, filter in FILTERS.items())
        raise ModelError(f"{path}: resample {wanted!r} is none of Pillow's filters that fervit has: {known}")
    try:
        size = values.get("size", {})
        side = image_size or (size if isinstance(size, int) else size.get("height") or size.get("shortest_edge"))
        mean, std = (tuple(map(float, values[key])) for key in ("image_mean", "image_std"))
        return Preprocess(image_size=int(side), mean=mean, std=std, interpolation=FILTERS[wanted], **(extra or {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: size, image_mean or image_std is missing or no number ({error})") from error
