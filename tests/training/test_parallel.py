from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fervit.training.parallel import (
    ChunkBatchNorm,
    ChunkDropout,
    Workers,
    generator,
    prepare_for_chunks,
    torch_threads,
    workers_for,
)

Tensor = torch.Tensor
CPU = torch.device("cpu")


class Unused(nn.Module):
    """A linear layer, with a parameter that no prediction depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.idle = nn.Linear(5, 3), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(x)
        return output


class Configured(nn.Linear):
    """A linear layer with a configuration, as transformers' models have one."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__(1, 1)
        self.config = config


def mean_loss(model: nn.Module) -> Callable[[tuple[Tensor, ...]], Tensor]:
    return lambda chunk: nn.functional.cross_entropy(model(chunk[0]), chunk[1])


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_gradients_are_those_of_the_whole_batch_also_with_uneven_chunks(count: int) -> None:
    torch.manual_seed(0)
    model = Unused()
    batch = (torch.randn(10, 5), torch.randint(0, 3, (10,)))
    expected = mean_loss(model)(batch)
    torch.autograd.backward(expected)
    whole = {name: p.grad for name, p in model.named_parameters()}
    with Workers(count) as workers:
        loss = workers.gradients(model, mean_loss(model), batch)
    torch.testing.assert_close(loss, expected.detach())
    assert model.idle.grad is None
    torch.testing.assert_close(model.linear.weight.grad, whole["linear.weight"])
    torch.testing.assert_close(model.linear.bias.grad, whole["linear.bias"])


def test_what_a_chunk_draws_depends_on_the_seed_alone() -> None:
    model = nn.Linear(1, 1)
    drawn: list[float] = []

    def loss_of(chunk: tuple[Tensor, ...]) -> Tensor:
        drawn.append(torch.rand(1, generator=generator()).item())
        loss: Tensor = model(chunk[0]).mean()
        return loss

    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with Workers(2) as workers:
            workers.gradients(model, loss_of, (torch.zeros(2, 1),))
    first, again, other = (sorted(drawn[k : k + 2]) for k in (0, 2, 4))
    assert first == again != other
    assert first[0] != first[1]
    assert generator() is None  # outside of a worker, PyTorch's own


def test_the_threads_of_pytorch_are_given_back_and_an_error_arrives() -> None:
    before = torch.get_num_threads()

    def fails(_: int) -> None:
        assert torch.get_num_threads() == 1
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"), Workers(2) as workers:
        workers.map(fails, range(4))
    assert torch.get_num_threads() == before


def test_a_batch_is_split_only_where_its_images_are_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert workers_for(nn.Linear(1, 1), CPU, 64).count == 4
    assert workers_for(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), CPU, 64).count == 1
    assert workers_for(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)), CPU, 64).count == 1
    assert workers_for(nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.1)), CPU, 64).count == 1
    assert workers_for(nn.Linear(1, 1), torch.device("cuda"), 64).count == 1
    drops = Configured(SimpleNamespace(attention_probs_dropout_prob=0.1))
    assert workers_for(drops, CPU, 64).count == workers_for(nn.Sequential(drops), CPU, 64).count == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert workers_for(nn.Linear(1, 1), CPU, 64).count == 8  # each holds gradients of the whole model


def small_cnn(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=0.2), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(12, 3))
    prepare_for_chunks(model)
    return model


@pytest.mark.parametrize(("batch_size", "count"), [(16, 1), (63, 1), (64, 2), (4096, 8)])
def test_with_batch_norms_every_chunk_has_enough_images(
    batch_size: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert workers_for(small_cnn(), CPU, batch_size).count == count


def test_preparing_for_chunks_keeps_modules_tensors_and_what_they_do_outside_of_a_chunk() -> None:
    norm = nn.BatchNorm2d(3)
    plain = nn.Sequential(norm, nn.Dropout(0.5), nn.BatchNorm2d(3, track_running_stats=False))
    running_mean = norm.running_mean
    assert running_mean is not None
    modules, tensors = [*plain], [*plain.state_dict(keep_vars=True).values()]
    x = torch.randn(4, 3, 2, 2)
    torch.manual_seed(1)
    expected, mean = plain(x), running_mean.clone()
    prepare_for_chunks(plain)
    assert [type(m) for m in plain] == [ChunkBatchNorm, ChunkDropout, nn.BatchNorm2d]
    assert all(a is b for a, b in zip(plain, modules, strict=True))
    assert all(a is b for a, b in zip(plain.state_dict(keep_vars=True).values(), tensors, strict=True))
    running_mean.zero_()
    torch.manual_seed(1)
    assert torch.equal(plain(x), expected) and torch.equal(running_mean, mean)


def test_norms_take_each_chunk_by_itself_and_their_running_statistics_the_mean() -> None:
    model, batch = small_cnn(), (torch.randn(8, 1, 4, 4) * 2 + 1, torch.randint(0, 3, (8,)))
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    expected = [t.clone() for t in (norm.running_mean, norm.running_var)]
    losses: list[Tensor] = []
    moments: list[list[Tensor]] = []
    for k in (0, 4):
        x = model[0](batch[0][k : k + 4])
        moments.append([f(dim=(0, 2, 3)).detach() for f in (x.mean, x.var)])
        y = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
        losses.append(nn.functional.cross_entropy(model[2:](y), batch[1][k : k + 4]))  # its weight is 1, its bias 0
    loss = torch.stack(losses).sum() / 2
    convolution = model[0]
    assert isinstance(convolution, nn.Conv2d)
    gradient = torch.autograd.grad(loss, convolution.weight)[0]
    with Workers(2) as workers:
        found = workers.gradients(model, mean_loss(model), batch)
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(convolution.weight.grad, gradient, rtol=1e-3, atol=1e-6)
    for before, own, k in zip(expected, (norm.running_mean, norm.running_var), (0, 1), strict=True):
        torch.testing.assert_close(own, 0.8 * before + 0.2 * (moments[0][k] + moments[1][k]) / 2)


def test_dropout_in_chunks_drops_its_part_and_depends_on_the_seed_alone() -> None:
    dropout = nn.Sequential(nn.Dropout(0.25))
    seen: list[Tensor] = []
    prepare_for_chunks(dropout)
    weight = nn.Linear(1, 1)

    def loss_of(chunk: tuple[Tensor, ...]) -> Tensor:
        seen.append(dropout(chunk[0]))
        loss: Tensor = weight(seen[-1][:, :1]).mean()
        return loss

    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with Workers(2) as workers:
            workers.gradients(weight, loss_of, (torch.ones(200, 50),))
    first, again, other = (torch.stack(sorted(seen[k : k + 2], key=lambda x: float(x.sum()))) for k in (0, 2, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert torch.unique(first).tolist() == pytest.approx([0, 4 / 3])
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_a_limit_on_threads_holds_inside_and_none_changes_nothing() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with torch_threads(None):
            assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
