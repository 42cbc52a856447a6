from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fervit.training.parallel import ShareDropout, ShareNorm, Workers, generator, share_out, workers_for

CPU = torch.device("cpu")


class Unused(nn.Module):
    """A linear layer, with a parameter that no answer depends on."""

    def __init__(self):
        super().__init__()
        self.linear, self.idle = nn.Linear(5, 3), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.linear(x)


def mean_loss(model):
    return lambda share: nn.functional.cross_entropy(model(share[0]), share[1])


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_gradients_are_those_of_the_whole_batch_also_with_uneven_shares(count):
    torch.manual_seed(0)
    model = Unused()
    batch = (torch.randn(10, 5), torch.randint(0, 3, (10,)))
    expected = mean_loss(model)(batch)
    expected.backward()
    whole = {name: p.grad for name, p in model.named_parameters()}
    with Workers(count) as workers:
        loss = workers.gradients(model, mean_loss(model), batch)
    torch.testing.assert_close(loss, expected.detach())
    assert model.idle.grad is None
    torch.testing.assert_close(model.linear.weight.grad, whole["linear.weight"])
    torch.testing.assert_close(model.linear.bias.grad, whole["linear.bias"])


def test_what_a_share_draws_depends_on_the_seed_alone():
    model, drawn = nn.Linear(1, 1), []

    def loss_of(share):
        drawn.append(torch.rand(1, generator=generator()).item())
        return model(share[0]).mean()

    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with Workers(2) as workers:
            workers.gradients(model, loss_of, (torch.zeros(2, 1),))
    first, again, other = (sorted(drawn[k : k + 2]) for k in (0, 2, 4))
    assert first == again != other
    assert first[0] != first[1]
    assert generator() is None  # outside of a worker, PyTorch's own


def test_the_threads_of_pytorch_are_given_back_and_an_error_arrives():
    before = torch.get_num_threads()

    def fails(_):
        assert torch.get_num_threads() == 1
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"), Workers(2) as workers:
        workers.map(fails, range(4))
    assert torch.get_num_threads() == before


def test_a_batch_is_shared_out_only_where_its_parts_are_independent(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert workers_for(nn.Linear(1, 1), CPU, 64).count == 4
    assert workers_for(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), CPU, 64).count == 1
    assert workers_for(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)), CPU, 64).count == 1
    assert workers_for(nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.1)), CPU, 64).count == 1
    assert workers_for(nn.Linear(1, 1), torch.device("cuda"), 64).count == 1
    drops = nn.Linear(1, 1)
    drops.config = SimpleNamespace(attention_probs_dropout_prob=0.1)
    assert workers_for(drops, CPU, 64).count == workers_for(nn.Sequential(drops), CPU, 64).count == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert workers_for(nn.Linear(1, 1), CPU, 64).count == 8  # each holds gradients of the whole model


def small_cnn(dropout=0.0):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=0.2), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(12, 3))
    share_out(model)
    return model


@pytest.mark.parametrize(("batch_size", "count"), [(16, 1), (63, 1), (64, 2), (4096, 8)])
def test_with_batch_norms_every_share_has_enough_pictures(batch_size, count, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert workers_for(small_cnn(), CPU, batch_size).count == count


def test_sharing_out_keeps_modules_tensors_and_what_they_do_outside_of_a_share():
    plain = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.BatchNorm2d(3, track_running_stats=False))
    modules, tensors = [*plain], [*plain.state_dict(keep_vars=True).values()]
    x = torch.randn(4, 3, 2, 2)
    torch.manual_seed(1)
    expected, mean = plain(x), plain[0].running_mean.clone()
    share_out(plain)
    assert [type(m) for m in plain] == [ShareNorm, ShareDropout, nn.BatchNorm2d]
    assert all(a is b for a, b in zip(plain, modules, strict=True))
    assert all(a is b for a, b in zip(plain.state_dict(keep_vars=True).values(), tensors, strict=True))
    plain[0].running_mean.zero_()
    torch.manual_seed(1)
    assert torch.equal(plain(x), expected) and torch.equal(plain[0].running_mean, mean)


def test_norms_take_each_share_by_itself_and_their_running_statistics_the_mean():
    model, batch = small_cnn(), (torch.randn(8, 1, 4, 4) * 2 + 1, torch.randint(0, 3, (8,)))
    norm = model[1]
    expected = [t.clone() for t in (norm.running_mean, norm.running_var)]
    losses, moments = [], []
    for k in (0, 4):
        x = model[0](batch[0][k : k + 4])
        moments.append([f(dim=(0, 2, 3)).detach() for f in (x.mean, x.var)])
        y = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
        losses.append(nn.functional.cross_entropy(model[2:](y), batch[1][k : k + 4]))  # its weight is 1, its bias 0
    loss = sum(losses) / 2
    gradient = torch.autograd.grad(loss, model[0].weight)[0]
    with Workers(2) as workers:
        found = workers.gradients(model, mean_loss(model), batch)
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(model[0].weight.grad, gradient, rtol=1e-3, atol=1e-6)
    for before, own, k in zip(expected, (norm.running_mean, norm.running_var), (0, 1), strict=True):
        torch.testing.assert_close(own, 0.8 * before + 0.2 * (moments[0][k] + moments[1][k]) / 2)


def test_dropout_in_shares_drops_its_part_and_depends_on_the_seed_alone():
    dropout, seen = nn.Sequential(nn.Dropout(0.25)), []
    share_out(dropout)
    weight = nn.Linear(1, 1)

    def loss_of(share):
        seen.append(dropout(share[0]))
        return weight(seen[-1][:, :1]).mean()

    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with Workers(2) as workers:
            workers.gradients(weight, loss_of, (torch.ones(200, 50),))
    first, again, other = (torch.stack(sorted(seen[k : k + 2], key=torch.sum)) for k in (0, 2, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert first.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
