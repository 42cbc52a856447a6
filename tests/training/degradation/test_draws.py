"""Random numbers of the augmentation."""

import torch

from fervit.training.degradation.draws import chosen_rows, log_uniform, normal_like, per_image, uniform


def test_draws_repeat_with_a_seed_and_stay_in_their_range() -> None:
    torch.manual_seed(0)
    first = (uniform(2000, "cpu", -2, 3), log_uniform(2000, "cpu", 0.25, 4), normal_like(torch.zeros(2, 1000)))
    torch.manual_seed(0)
    again = (uniform(2000, "cpu", -2, 3), log_uniform(2000, "cpu", 0.25, 4), normal_like(torch.zeros(2, 1000)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    even, equal_factors, normal = first
    assert even.min() >= -2 and even.max() < 3 and abs(even.mean().item() - 0.5) < 0.1
    assert equal_factors.min() >= 0.25 and equal_factors.max() < 4
    assert abs((equal_factors < 1).float().mean().item() - 0.5) < 0.04
    assert normal.shape == (2, 1000) and abs(normal.std().item() - 1) < 0.05


def test_rows_are_chosen_with_their_probability_and_in_order() -> None:
    torch.manual_seed(0)
    rows = chosen_rows(torch.zeros(4000, 1), 0.25)
    assert abs(len(rows) / 4000 - 0.25) < 0.03
    assert (rows.diff() > 0).all()
    assert len(chosen_rows(torch.zeros(9, 1), 0.0)) == 0
    assert chosen_rows(torch.zeros(9, 1), 1.0).tolist() == list(range(9))
    assert per_image(torch.zeros(5)).shape == (5, 1, 1, 1)
