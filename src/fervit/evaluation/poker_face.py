"""Poker faces: a face, what a Poker Face ViT rebuilds of it, and what it takes the face to be without expression.

The image shows what the model has learnt and is no portrait: it is painted from a few dozen patches at the size of the
training images, and grey where those were.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from fervit.errors import ModelError
from fervit.media.crops import preprocess_batch
from fervit.media.draw import DIM, PANEL, TEXT, TRACK
from fervit.media.images import as_image
from fervit.media.style.colours import colour
from fervit.media.style.fonts import drawable, font_for
from fervit.types import Image, Preprocess

FACE_PX, PAD_PX, TITLE_PX, BAR_PX = 280, 14, 34, 22
TITLES = ("input", "reconstruction", "poker face")


@dataclass(frozen=True, eq=False)
class PokerFace:
    """A face as it is, rebuilt, and without expression.

    Attributes:
        images: the crop, its reconstruction and its poker face, `(h, w, 3)` uint8 each; the painted two are as
            large as the model paints.
        labels: K label names.
        probs: `(3, K)` what the model predicts for each image.
    """

    images: tuple[Image, Image, Image]
    labels: tuple[str, ...]
    probs: np.ndarray


def make_poker_face(classifier: Any, crop: np.ndarray) -> PokerFace:
    """Rebuild one face and take its expression away.

    Args:
        classifier: a Poker Face ViT's model folder (`TorchClassifier`).
        crop: `(H, W, 3)` uint8, cut as the model expects.

    Raises:
        ModelError: it is no Poker Face ViT, or an exported one, which holds no generator.
    """
    check_paints(classifier)
    import torch

    preprocess = classifier.spec.preprocess
    crop = np.array(as_image(crop))  # decoded images are read-only, and torch warns of such arrays
    with torch.inference_mode():
        x = torch.from_numpy(preprocess_batch([crop], preprocess)).to(classifier.device)
        painted = classifier.model.paint(*classifier.model.separate(x))
        rebuilt, poker = (_to_image(face[0].float().cpu().numpy(), preprocess) for face in painted)
    images = (crop, rebuilt, poker)
    return PokerFace(images, classifier.spec.labels, classifier.probs(list(images)))


def check_paints(classifier: Any) -> None:
    """Raise `ModelError` unless the classifier is a Poker Face ViT that PyTorch runs."""
    model = getattr(classifier, "model", None)
    if model is None:
        raise ModelError("an exported model holds no generator: name the model folder that it was exported from")
    if not hasattr(model, "paint"):
        raise ModelError(
            f"poker faces need a Poker Face ViT (fervit train --recipe pf_vit); this model is a {classifier.spec.arch}"
        )


def draw_poker_face(found: PokerFace) -> Image:
    """Draw the three faces side by side with what the model predicts for each, `(H, W, 3)` uint8."""
    column = FACE_PX + PAD_PX
    height = PAD_PX + TITLE_PX + FACE_PX + PAD_PX + BAR_PX * len(found.labels) + PAD_PX
    shown = drawable(found.labels)
    sheet = Pillow.new("RGB", (PAD_PX + 3 * column, height), PANEL[:3])
    pen, heading = ImageDraw.Draw(sheet), font_for("".join(shown.values()), 18)
    for k, (title, image, probs) in enumerate(zip(TITLES, found.images, found.probs, strict=True)):
        left, top = PAD_PX + k * column, PAD_PX + TITLE_PX
        best = int(probs.argmax())
        predicted = f"{shown[found.labels[best]]} {100 * probs[best]:.0f} %"
        pen.text((left, top - TITLE_PX / 2), title, TEXT[:3], heading, anchor="lm")
        rgb = colour(found.labels[best], found.labels)
        pen.text((left + FACE_PX, top - TITLE_PX / 2), predicted, rgb, heading, anchor="rm")
        face = Pillow.fromarray(image).resize((FACE_PX, FACE_PX), Pillow.Resampling.BICUBIC)
        sheet.paste(face, (left, top))
        _bars(pen, (left, top + FACE_PX + PAD_PX), found.labels, probs)
    return np.asarray(sheet)


def _bars(pen: ImageDraw.ImageDraw, corner: tuple[float, float], labels: tuple[str, ...], probs: np.ndarray) -> None:
    """Draw a line for each label, in the labels' order: name, bar, per cent."""
    shown = drawable(labels)
    font = font_for("".join(shown.values()), 14)
    left, y = corner
    start = left + max(font.getlength(name) for name in shown.values()) + PAD_PX
    end = left + FACE_PX - font.getlength("100 %") - PAD_PX / 2
    for name, p in zip(labels, probs, strict=True):
        middle = y + BAR_PX / 2
        pen.text((left, middle), shown[name], DIM[:3], font, anchor="lm")
        pen.text((left + FACE_PX, middle), f"{100 * p:.0f} %", TEXT[:3], font, anchor="rm")
        pen.rounded_rectangle((start, middle - 4, end, middle + 4), 4, fill=TRACK[:3])
        filled = start + (end - start) * float(p)
        if filled - start >= 1:
            pen.rounded_rectangle((start, middle - 4, max(filled, start + 8), middle + 4), 4, fill=colour(name, labels))
        y += BAR_PX


def _to_image(face: np.ndarray, preprocess: Preprocess) -> Image:
    """Turn a normalised face `(3, s, s)` into `(s, s, 3)` uint8."""
    levels = face.transpose(1, 2, 0) * np.asarray(preprocess.std) + np.asarray(preprocess.mean)
    image: np.ndarray = np.rint(255 * levels).clip(0, 255).astype(np.uint8)
    return image
