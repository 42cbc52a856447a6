"""What stands before a face: a mask over mouth and nose, glasses, a hand.

Shapes are placed as on a face crop (eyes at about a third of the height, mouth at about three quarters), with a
generous jitter, because crops differ. They are drawn on the source pixels before anything else, so that they turn,
blur and lose resolution with the face. Lengths are fractions of the side.
"""

import math

import torch

from fervit.models.inputs import copy_to_device
from fervit.training.degradation.draws import chosen_rows, uniform

Tensor = torch.Tensor
Cover = tuple[Tensor, Tensor]
"""How opaque the occluder is, `(n, H, W)` in 0..1, and its colour, `(n, C, H or 1, W or 1)`."""

# Finger by finger from the middle of the palm: where it starts and where it ends, in a frame of the hand (x to the
# right, y down), for a palm with a radius of 1. The last one is the thumb.
FINGERS = (
    ((-0.75, -0.5), (-0.95, -2.0)),
    ((-0.25, -0.7), (-0.32, -2.5)),
    ((0.25, -0.7), (0.3, -2.4)),
    ((0.72, -0.5), (0.9, -1.95)),
    ((0.7, 0.3), (1.75, -0.5)),
)


def random_occluder(x: Tensor, prob: float) -> Tensor:
    """Put a mask, glasses or a hand, a third each, before each image, with probability `prob`, in place."""
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    part = x[rows]
    kind = torch.randint(3, (len(rows),))
    for number, draw in enumerate((_mask, _glasses, _hand)):
        own = copy_to_device((kind == number).nonzero().flatten(), x.device)
        if len(own):
            cover, colour = draw(part[own])
            part.index_copy_(0, own, part[own] + cover[:, None] * (colour - part[own]))
    return x.index_copy_(0, rows, part)


def _mask(part: Tensor) -> Cover:
    """Draw a rounded sheet from the nose to below the chin, light or dark, shaded from top to bottom."""
    count, height = len(part), part.shape[-2]
    x, y = _axes(part)
    dx, dy = _drawn(part, -0.05, 0.05), _drawn(part, -0.06, 0.06)
    half_width, half_height = _drawn(part, 0.3, 0.45), _drawn(part, 0.24, 0.34)
    u, v = (x - 0.5 - dx) / half_width, (y - 0.82 - dy) / half_height
    distance = ((u**4 + v**4) ** 0.25 - 1) * torch.minimum(half_width, half_height)
    light = torch.where(_drawn(part, 0, 1) < 0.75, _drawn(part, 0.5, 1.0), _drawn(part, 0.03, 0.2))
    shade = light * (1 - _drawn(part, -0.1, 0.25) * v.clamp(-1, 1))
    tint = 1 + uniform(count * part.shape[1], part.device, -0.15, 0.15).view(count, -1, 1, 1)
    return (0.5 - distance * height).clamp(0, 1), (shade[:, None] * tint).clamp(0, 1)


def _glasses(part: Tensor) -> Cover:
    """Draw two lenses, clear to opaque, with opaque rims and a bridge."""
    height = part.shape[-2]
    x, y = _axes(part)
    apart = _drawn(part, 0.17, 0.23)
    half_width, half_height = _drawn(part, 0.11, 0.16), _drawn(part, 0.07, 0.13)
    x = (x - 0.5 - _drawn(part, -0.05, 0.05)).abs()  # both lenses at once, by symmetry
    y = y - 0.37 - _drawn(part, -0.05, 0.05)
    radius = (((x - apart) / half_width).abs() ** 3 + (y / half_height).abs() ** 3) ** (1 / 3)
    lens = (radius - 1) * torch.minimum(half_width, half_height)
    rim = _drawn(part, 0.006, 0.02)
    bridge = torch.maximum(x - apart + half_width, (y + half_height / 2).abs() - rim)
    frame = torch.minimum(lens.abs() - rim, bridge)
    tinted = (0.5 - lens * height).clamp(0, 1) * _drawn(part, 0, 1)
    cover = torch.maximum(tinted, (0.5 - frame * height).clamp(0, 1))
    return cover, _drawn(part, 0.0, 0.3)[:, None].expand(-1, part.shape[1], -1, -1)


def _hand(part: Tensor) -> Cover:
    """Draw a palm and five fingers from below or from a side, in the tone of the face itself."""
    count, (height, width) = len(part), part.shape[-2:]
    x, y = _axes(part)
    x, y = x - _drawn(part, 0.15, 0.85), y - _drawn(part, 0.55, 0.95)
    size, angle = _drawn(part, 0.1, 0.17), _drawn(part, -math.pi / 3, math.pi / 3)
    left_hand = torch.where(_drawn(part, 0, 1) < 0.5, 1.0, -1.0)
    u = (x * angle.cos() + y * angle.sin()) / size * left_hand
    v = (y * angle.cos() - x * angle.sin()) / size
    distance = (u**2 + v**2).sqrt() - 1.1
    spread, thickness = _drawn(part, 0.8, 1.15), _drawn(part, 0.22, 0.3)
    for (x0, y0), (x1, y1) in FINGERS:
        along_x, along_y = x1 * spread - x0, y1 * spread - y0
        along = (((u - x0) * along_x + (v - y0) * along_y) / (along_x**2 + along_y**2)).clamp(0, 1)
        finger = ((u - x0 - along * along_x) ** 2 + (v - y0 - along * along_y) ** 2).sqrt() - thickness
        distance = torch.minimum(distance, finger)
    skin = part[:, :, height // 4 : -(-3 * height // 4), width // 4 : -(-3 * width // 4)].mean((2, 3), keepdim=True)
    # Darker toward the edges, as round things are: fingers stay visible on a palm of the same tone.
    round_ = 1 + (distance / 0.3).clamp(-1, 0).neg() * 0.25 - 0.15
    tone = skin * uniform(count, part.device, 0.7, 1.3).view(-1, 1, 1, 1)
    return (0.5 - distance * size * height).clamp(0, 1), (tone * round_[:, None]).clamp(0, 1)


def _axes(part: Tensor) -> tuple[Tensor, Tensor]:
    """Return x `(1, 1, W)` and y `(1, H, 1)`, the middles of the pixels in fractions of the side."""
    height, width = part.shape[-2:]
    x = ((torch.arange(width, device=part.device) + 0.5) / width).view(1, 1, -1)
    return x, ((torch.arange(height, device=part.device) + 0.5) / height).view(1, -1, 1)


def _drawn(part: Tensor, low: float, high: float) -> Tensor:
    """Draw a number for each image: `(n, 1, 1)`."""
    return uniform(len(part), part.device, low, high).view(-1, 1, 1)
