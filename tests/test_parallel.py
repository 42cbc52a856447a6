from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fervit.parallel import Workers, generator, workers_for

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
    assert workers_for(nn.Linear(1, 1), CPU).count == 4
    assert workers_for(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), CPU).count == 1
    assert workers_for(nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.1)), CPU).count == 1
    assert workers_for(nn.Linear(1, 1), torch.device("cuda")).count == 1
    drops = nn.Linear(1, 1)
    drops.config = SimpleNamespace(attention_probs_dropout_prob=0.1)
    assert workers_for(drops, CPU).count == workers_for(nn.Sequential(drops), CPU).count == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert workers_for(nn.Linear(1, 1), CPU).count == 8  # each holds gradients of the whole model
