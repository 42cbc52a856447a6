"""How the light and the camera's colours change a face: shadow, low light, tone curve, white balance, loss of colour.

Every function changes each image of `x`, `(B, C, H, W)` in 0..1, with probability `prob`, in place, and returns `x`.
Values are those that are stored (gamma-encoded); a factor on them is a factor on the light, to a power.
"""

import math

import torch

from fervit.metadata import LUMA
from fervit.models.inputs import copy_to_device
from fervit.training.degradation.draws import chosen_rows, log_uniform, per_image, uniform

Tensor = torch.Tensor


def random_shadow(x: Tensor, prob: float, light_min: float) -> Tensor:
    """Darken one side of a soft line, or a soft ellipse or what is around it; `light_min` to 0.9 of the light stays."""
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    part, count = x[rows], len(rows)
    u, v = _turned_axes(part)
    edge = uniform(count, x.device, 0.03, 0.3).view(-1, 1, 1)  # fractions of the side, as all lengths here
    line = u - uniform(count, x.device, -0.3, 0.3).view(-1, 1, 1)
    along, across = uniform(2 * count, x.device, 0.2, 0.6).view(2, count, 1, 1)
    shift = uniform(2 * count, x.device, -0.35, 0.35).view(2, count, 1, 1)
    radius = (((u - shift[0]) / along) ** 2 + ((v - shift[1]) / across) ** 2).sqrt()
    ellipse = (1 - radius) * torch.minimum(along, across)
    ellipse = torch.where(uniform(count, x.device).view(-1, 1, 1) < 0.5, ellipse, -ellipse)
    distance = torch.where(uniform(count, x.device).view(-1, 1, 1) < 0.5, line, ellipse)
    lost = (1 - uniform(count, x.device, light_min, 0.9)).view(-1, 1, 1)
    factor = 1 - lost * torch.sigmoid(4 * distance / edge)
    return x.index_copy_(0, rows, part * factor[:, None])


def random_dark(x: Tensor, prob: float, light_min: float) -> Tensor:
    """Scale light down to `light_min` to 1 of itself."""
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    return x.index_copy_(0, rows, x[rows] * per_image(log_uniform(len(rows), x.device, light_min, 1.0)))


def random_gamma(x: Tensor, prob: float, gamma_max: float) -> Tensor:
    """Raise the values to a power from 1 / `gamma_max` to `gamma_max`."""
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    gamma = per_image(log_uniform(len(rows), x.device, 1 / gamma_max, gamma_max))
    return x.index_copy_(0, rows, x[rows].pow(gamma))


def random_colour(x: Tensor, prob: float, saturation: float, white_balance: float) -> Tensor:
    """Scale the distance to grey by 1 ± `saturation`, and red and blue by exp(± `white_balance`) against green.

    The luma of white stays. Grey images are returned as they are.
    """
    if x.shape[1] == 1:
        return x
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    part, count = x[rows], len(rows)
    luma = copy_to_device(torch.tensor(LUMA), x.device)
    warm = uniform(count, x.device, -white_balance, white_balance)
    tint = uniform(count, x.device, -white_balance / 2, white_balance / 2)
    gains = torch.stack([warm + tint, torch.zeros_like(warm), tint - warm], 1).exp()  # along daylight, and across it
    gains = gains / (gains * luma).sum(1, keepdim=True)
    lit = part * gains[:, :, None, None]
    grey = (lit * luma.view(1, 3, 1, 1)).sum(1, keepdim=True)
    factor = per_image(uniform(count, x.device, 1 - saturation, 1 + saturation))
    return x.index_copy_(0, rows, (grey + (lit - grey) * factor).clamp(0, 1))


def random_grey(x: Tensor, prob: float) -> Tensor:
    """Replace the three channels of colour images by their luma; grey images are returned as they are."""
    if x.shape[1] == 1:
        return x
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    part = x[rows]
    luma = copy_to_device(torch.tensor(LUMA), x.device).view(1, 3, 1, 1)
    return x.index_copy_(0, rows, (part * luma).sum(1, keepdim=True).expand_as(part))


def _turned_axes(part: Tensor) -> tuple[Tensor, Tensor]:
    """Return two perpendicular coordinates `(n, H, W)` about the centre, in fractions of the side, turned at random."""
    height, width = part.shape[-2:]
    angle = uniform(len(part), part.device, 0, 2 * math.pi).view(-1, 1, 1)
    y = ((torch.arange(height, device=part.device) + 0.5) / height - 0.5).view(1, -1, 1)
    x = ((torch.arange(width, device=part.device) + 0.5) / width - 0.5).view(1, 1, -1)
    return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
