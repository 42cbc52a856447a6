"""A share of every batch for every core: how a CPU trains fastest.

PyTorch splits each matrix product over the cores, which wait for each other after every one of them. A thread per core
that takes its own share of the batch through the whole network waits once a step: 1.2 times as many pictures a second
on two cores (`benchmarks/step_speed.py`).
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import nn

Tensor = torch.Tensor
T = TypeVar("T")
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate")  # of transformers' configurations
MOST = 8  # workers; each holds gradients of the whole model
NORM_PICTURES = 32  # a share's, at least, where batch norms take their statistics from it
_of_thread = threading.local()


class Workers:
    """Threads that each compute a share of the work; a context in which they run.

    Attributes:
        count: how many there are, each with its part of PyTorch's threads; with one, everything runs in the calling
            thread as usual.
    """

    def __init__(self, count: int):
        self.count = count
        self._generators = [torch.Generator() for _ in range(count)]
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        self._threads = torch.get_num_threads()
        if self.count > 1:
            # of the worker alone (and of MKL, everywhere): what the calling thread does between, it does on all cores
            own = max(1, self._threads // self.count)
            self._pool = ThreadPoolExecutor(self.count, "fervit-share", torch.set_num_threads, (own,))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
            torch.set_num_threads(self._threads)

    def map(self, function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        """Return `function` of every item, in order."""
        return [*map(function, items)] if self._pool is None else [*self._pool.map(function, items)]

    def gradients(
        self, model: nn.Module, loss_of: Callable[[tuple[Tensor, ...]], Tensor], batch: Sequence[Tensor]
    ) -> Tensor:
        """Set the gradients of `model` to those of the mean loss of a batch, and return that loss.

        They are added up in one order, so that a seed gives one result.

        Args:
            model: whose gradients are replaced.
            loss_of: turns a share of the batch into its mean loss.
            batch: tensors `(N, ...)`, split over the workers.
        """
        parameters = [p for p in model.parameters() if p.requires_grad]
        seed = int(torch.randint(2**62, ()))  # of the generator that a checkpoint keeps: a resumed run draws alike

        def share(numbered: tuple[int, tuple[Tensor, ...]]) -> tuple[Tensor, Sequence[Tensor | None]]:
            k, tensors = numbered
            _of_thread.number, _of_thread.generator = k, self._generators[k].manual_seed(seed + k)
            try:
                loss = loss_of(tensors) * (len(tensors[0]) / len(batch[0]))
            finally:
                _of_thread.generator = None
            return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

        parts = zip(*(tensor.chunk(self.count) for tensor in batch), strict=True)
        losses, gradients = zip(*self.map(share, enumerate(parts)), strict=True)
        used = [k for k, gradient in enumerate(gradients[0]) if gradient is not None]
        total = [gradients[0][k] for k in used]
        for others in gradients[1:]:
            torch._foreach_add_(total, [others[k] for k in used])
        model.zero_grad(set_to_none=True)
        for k, gradient in zip(used, total, strict=True):
            parameters[k].grad = gradient
        for module in model.modules():
            if isinstance(module, ShareNorm):
                module.settle()
        return torch.stack(losses).sum()


def generator() -> torch.Generator | None:
    """Return what the calling thread draws from: its worker's generator, or None for PyTorch's own."""
    return getattr(_of_thread, "generator", None)


class ShareNorm(nn.BatchNorm2d):
    """A batch norm that takes each share by its own statistics; the running ones get the shares' mean.

    As in training on several devices without synchronised norms; smaller batches regularise (ghost batch norm, Hoffer
    et al. 2017, arXiv 1705.08741).
    """

    seen: dict[int, tuple[Tensor, Tensor]]  # mean and variance `(C,)` by worker

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(B, C, H, W)`."""
        if not self.training or generator() is None:
            return super().forward(input)
        mean, variance = torch.zeros(2, self.num_features).unbind()
        self.seen[_of_thread.number] = (mean, variance)
        return nn.functional.batch_norm(input, mean, variance, self.weight, self.bias, True, 1.0, self.eps)

    @torch.no_grad()
    def settle(self) -> None:
        """Move the running statistics by those of the shares; in their order, so that a seed gives one result."""
        if not self.seen:
            return
        means, variances = zip(*(self.seen[k] for k in sorted(self.seen)), strict=True)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(torch.stack(means).mean(0), self.momentum)
        self.running_var.lerp_(torch.stack(variances).mean(0), self.momentum)
        self.seen.clear()


class ShareDropout(nn.Dropout):
    """A dropout that draws from its worker's generator: PyTorch's would depend on which thread comes first."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop single values of `input` while training."""
        if not self.training or generator() is None or not self.p:
            return super().forward(input)
        return input * (torch.rand(input.shape, generator=generator()) >= self.p) / (1 - self.p)


def share_out(model: nn.Module) -> None:
    """Have a model's batch norms and dropouts know of shares. They stay the same modules, with the same tensors."""
    modules: Iterable[Any] = model.modules()
    for module in modules:
        kind = type(module)
        if kind is nn.BatchNorm2d and module.track_running_stats and module.momentum is not None:
            module.__class__ = ShareNorm
            module.seen = {}
        elif kind is nn.Dropout:
            module.__class__ = ShareDropout


def workers_for(model: nn.Module, device: torch.device, batch_size: int) -> Workers:
    """Return one worker per thread of PyTorch's, `MOST` at most, where a batch can be shared out; else a single one.

    It cannot on an accelerator; nor with norms over a batch and dropouts of another kind than `share_out` knows. With
    batch norms every share has `NORM_PICTURES` at least.
    """
    if device.type != "cpu" or any(map(_needs_the_whole_batch, model.modules())):
        return Workers(1)
    count = min(MOST, torch.get_num_threads())
    if any(isinstance(module, ShareNorm) for module in model.modules()):
        count = min(count, batch_size // NORM_PICTURES)
    return Workers(max(1, count))


def _needs_the_whole_batch(module: Any) -> bool:
    # an encoder inside another model has a configuration of its own
    dropout = any(getattr(getattr(module, "config", None), name, 0) for name in DROPOUTS)
    drops = isinstance(module, nn.modules.dropout._DropoutNd) and not isinstance(module, ShareDropout)
    norm = isinstance(module, nn.modules.batchnorm._NormBase) and not isinstance(module, ShareNorm)
    return bool(dropout or (drops and module.p > 0) or norm)
