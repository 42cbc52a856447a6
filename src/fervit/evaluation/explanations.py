"""Where a model looked: maps over the face from attention, gradients or occlusion, and a check of how true they are.

- `rollout`: attention of all layers, multiplied through (Abnar and Zuidema 2020, arXiv 2005.00928). It does not
  depend on the prediction: the map is the same for every label.
- `gradient`: attention weighted by its gradient towards one label (Chefer et al. 2021, arXiv 2103.15679, section 3).
- `occlusion`: how far the label's log-odds fall when a patch is covered (Zeiler and Fergus 2014, arXiv 1311.2901).
  It needs no PyTorch, and so works for exported models.

A map shows what moved the prediction, not why it is correct.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from fervit.errors import ConfigError, ModelError, unknown
from fervit.media.crops import before_cut, resize_crop
from fervit.media.images import as_image
from fervit.media.opencv import opencv
from fervit.media.style.fonts import font_for
from fervit.types import Classifier, Image

cv2 = opencv()

if TYPE_CHECKING:
    import torch

PANEL_PX = 280
CAPTION_PX = 26
OCCLUSION_GRID = 8  # covered places per side; 12 is slower and no truer
OCCLUSION_FRACTION = 0.25  # of the side, one place
STRENGTH = 0.6  # of the colour where the map is 1


@dataclass(frozen=True, eq=False)
class Explanation:
    """A map over one face.

    Attributes:
        method: key of `METHODS`.
        label: the label that is explained.
        score: its probability.
        crop: `(S, S, 3)` uint8, the face as the model saw it.
        heat: `(S, S)` float32, 0 (moved nothing) to 1 (moved most).
    """

    method: str
    label: str
    score: float
    crop: Image
    heat: np.ndarray


def explain(
    classifier: Classifier, crop: np.ndarray, *, method: str | None = None, label: str | None = None
) -> Explanation:
    """Explain a model's prediction for one face crop.

    Args:
        classifier: a model folder's (`TorchClassifier`), or any other with `occlusion`.
        crop: `(H, W, 3)` uint8, cut as the model expects.
        method: key of `METHODS`; by default `gradient` where the model allows it, else `occlusion`.
        label: which label to explain; by default the predicted one.

    Raises:
        ConfigError: unknown method or label, or one that needs a model folder.
        ModelError: the model has no attention (it is no transformer).
    """
    method = method or methods_of(classifier)[0]
    if method not in METHODS:
        raise ConfigError(unknown("method", method, METHODS))
    small = as_image(resize_crop(as_image(crop), before_cut(classifier.spec.preprocess)))
    probs = classifier.probs([small])[0]
    labels = classifier.spec.labels
    if label is not None and label not in labels:
        raise ConfigError(unknown("label", label, labels))
    target = int(probs.argmax()) if label is None else labels.index(label)
    heat = METHODS[method](classifier, small, target)
    if method != "occlusion":
        heat = _around_cut(heat, classifier.spec.preprocess.image_size, small.shape[0])
    return Explanation(method, labels[target], float(probs[target]), small, _to_unit(heat, small.shape[0]))


def methods_of(classifier: Classifier) -> list[str]:
    """Return the keys of `METHODS` that this model allows, the best first: two of them read a transformer's attention.

    An exported model shows none, nor does an ensemble, whose members each have their own.
    """
    model: Any = getattr(classifier, "model", None)
    parts = [] if model is None or hasattr(model, "members") else model.modules()
    attends = any(type(part).__name__.endswith("Attention") for part in parts)
    return list(METHODS) if attends else ["occlusion"]


def rollout(classifier: Classifier, crop: Image, target: int) -> np.ndarray:
    """Return the `(g, g)` part of each patch in the CLS token, through all layers."""
    import torch

    with torch.no_grad():
        attentions = _attentions(classifier, crop)[1]
    result = torch.eye(attentions[0].shape[-1], device=attentions[0].device)
    for attention in attentions:
        mixed = attention[0].mean(dim=0) + torch.eye(len(result), device=result.device)  # heads' mean, residual
        result = mixed / mixed.sum(dim=-1, keepdim=True) @ result
    return _patches(result[0])


def gradient(classifier: Classifier, crop: Image, target: int) -> np.ndarray:
    """Return the `(g, g)` relevance of each patch for one label: attention times its positive gradient."""
    import torch

    with torch.enable_grad(), torch.inference_mode(False):
        logits, attentions = _attentions(classifier, crop)
        gradients = torch.autograd.grad(logits[0, target], attentions)
    result = torch.eye(attentions[0].shape[-1], device=attentions[0].device)
    for attention, slope in zip(attentions, gradients, strict=True):
        result = result + (attention[0].detach() * slope[0]).clamp(min=0).mean(dim=0) @ result
    return _patches(result[0])


def occlusion(classifier: Classifier, crop: Image, target: int) -> np.ndarray:
    """Return how far the label's log-odds fall when each place is covered, `(g, g)`; log-odds move near 0 and 1 too."""
    side = crop.shape[0]
    reach = OCCLUSION_FRACTION * side / 2
    middles = (np.arange(OCCLUSION_GRID) + 0.5) * side / OCCLUSION_GRID
    mean = crop.mean(axis=(0, 1)).astype(np.uint8)
    covered = np.repeat(crop[None], OCCLUSION_GRID**2, axis=0)
    for k, (y, x) in enumerate((y, x) for y in middles for x in middles):
        rows = slice(max(0, round(y - reach)), round(y + reach))
        covered[k, rows, max(0, round(x - reach)) : round(x + reach)] = mean
    probs = classifier.probs(np.concatenate([crop[None], covered]))[:, target].clip(1e-9, 1 - 1e-9)
    odds = np.log(probs / (1 - probs))
    fall: np.ndarray = odds[0] - odds[1:]
    return fall.clip(0).reshape(OCCLUSION_GRID, OCCLUSION_GRID)


METHODS: dict[str, Callable[[Classifier, Image, int], np.ndarray]] = {
    "gradient": gradient,
    "rollout": rollout,
    "occlusion": occlusion,
}


def deletion_curve(
    classifier: Classifier, explanation: Explanation, *, steps: int = 16, order: np.ndarray | None = None
) -> np.ndarray:
    """Return the label's probability while pixels are covered, most important first, `(steps + 1,)`.

    Petsiuk et al. 2018, arXiv 1806.07421: a true map makes it fall quickly. Pixels take the crop's mean.

    Args:
        classifier: the model that was explained.
        explanation: the map.
        steps: in how many equal steps the pixels are covered.
        order: `(S * S,)` another order of pixels, such as a random one to compare with.
    """
    crop = explanation.crop
    if order is None:
        order = np.argsort(-explanation.heat.ravel(), kind="stable")
    mean = crop.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    covered = np.repeat(crop[None], steps + 1, axis=0)
    flat = covered.reshape(steps + 1, -1, 3)
    for step in range(1, steps + 1):
        flat[step, order[: round(step * len(order) / steps)]] = mean
    target = classifier.spec.labels.index(explanation.label)
    curve: np.ndarray = classifier.probs(covered)[:, target]
    return curve


def overlay(image: Image, heat: np.ndarray) -> Image:
    """Lay a map over an image of any size, `(H, W, 3)` uint8; cold places stay as they are, only greyed.

    Args:
        image: `(H, W, 3)` uint8.
        heat: `(h, w)` float, 0..1.
    """
    height, width = image.shape[:2]
    heat = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    coloured = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]  # from BGR
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    weight = (STRENGTH * np.sqrt(heat))[:, :, None]
    mixed: np.ndarray = np.rint(grey * (1 - weight) + coloured * weight).clip(0, 255).astype(np.uint8)
    return mixed


def draw_sheet(face: Image, explanations: Sequence[Explanation]) -> Image:
    """Draw a face and its maps side by side, captioned, `(H, W, 3)` uint8.

    Args:
        face: the crop at its full resolution, square.
        explanations: maps of this face; at least one.
    """
    first = explanations[0]
    tiles = [(face, f"{first.label} {100 * first.score:.0f} %")]
    tiles += [(face, e.method if e.label == first.label else f"{e.method}: {e.label}") for e in explanations]
    sheet = Pillow.new("RGB", (len(tiles) * (PANEL_PX + 8) - 8, PANEL_PX + CAPTION_PX), (255, 255, 255))
    pen, font = ImageDraw.Draw(sheet), font_for("".join(caption for _, caption in tiles), 16)
    heats = [None, *(e.heat for e in explanations)]
    for k, ((image, caption), heat) in enumerate(zip(tiles, heats, strict=True)):
        scaled = Pillow.fromarray(image).resize((PANEL_PX, PANEL_PX), Pillow.Resampling.BICUBIC)
        tile = scaled if heat is None else Pillow.fromarray(overlay(np.asarray(scaled), heat))
        x = k * (PANEL_PX + 8)
        sheet.paste(tile, (x, 0))
        pen.text((x + 2, PANEL_PX + 4), caption, fill=(26, 34, 48), font=font)
    return np.asarray(sheet)


def _attentions(classifier: Any, crop: Image) -> tuple["torch.Tensor", tuple["torch.Tensor", ...]]:
    """Run the model with its attention kept: logits `(1, K)` and a `(1, heads, T, T)` tensor for each layer."""
    import torch

    model = getattr(classifier, "model", None)
    if model is None:
        raise ConfigError(
            "this map needs a model folder, an exported model has no gradients or attention to read: name the folder, "
            "or use --method occlusion"
        )
    from fervit.media.crops import preprocess_batch

    x = torch.from_numpy(preprocess_batch([crop], classifier.spec.preprocess)).to(classifier.device)
    output = model(pixel_values=x, output_attentions=True)
    attentions = getattr(output, "attentions", None)
    if not attentions or attentions[0] is None:
        raise ModelError(
            f"{type(model).__name__} shows no attention; a map of it needs a transformer, or --method occlusion"
        )
    return output.logits, tuple(attentions)


def _patches(row: "torch.Tensor") -> np.ndarray:
    """Turn the CLS token's row `(1 + registers + g * g,)` into `(g, g)`."""
    side = int((len(row) - 1) ** 0.5)
    values: np.ndarray = row[-side * side :].float().cpu().numpy()
    return values.reshape(side, side)


def _around_cut(heat: np.ndarray, size: int, side: int) -> np.ndarray:
    """Put a map of an input that was cut out of a crop's centre at its place in the crop; around it nothing counts.

    Args:
        heat: `(g, g)`.
        size: side of the input in px.
        side: that of the crop that it was cut from.
    """
    if size >= side:
        return heat
    scaled = cv2.resize(heat.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    start = (side - size) // 2
    placed = np.full((side, side), scaled.min(), np.float32)
    placed[start : start + size, start : start + size] = scaled
    return placed


def _to_unit(heat: np.ndarray, side: int) -> np.ndarray:
    """Scale a map to 0..1 and to the crop's size; a map without any difference becomes all 0."""
    low, high = float(heat.min()), float(heat.max())
    if not np.isfinite(high - low):
        raise ModelError("the map is not finite; the weights are broken: train or export again")
    if high - low <= 0:
        return np.zeros((side, side), np.float32)
    unit = ((heat - low) / (high - low)).astype(np.float32)
    scaled: np.ndarray = cv2.resize(unit, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return scaled
