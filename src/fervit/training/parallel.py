"""Data parallelism over the cores of a CPU: every batch is split into chunks, one for each worker thread.

PyTorch splits each matrix product over the cores, which wait for each other after every one of them. A thread per core
that takes its own chunk of the batch through the whole network waits once a step: 1.2 times as many images a second
on two cores (`benchmarks/step_speed.py`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

Tensor = torch.Tensor
T = TypeVar("T")
Item = TypeVar("Item")
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate")  # of transformers' configurations
MAX_WORKERS = 8  # each holds gradients of the whole model
MIN_NORM_CHUNK = 32  # images in a chunk, at least, where batch norms take their statistics from it
_of_thread = threading.local()


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Hold PyTorch to `count` CPU threads, and restore its setting at the end; None leaves it as it is."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


class Workers:
    """Threads that each compute a chunk of a batch; a context in which they run.

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
            # Each worker calls set_num_threads when it starts. That limits PyTorch's operations in this worker only:
            # the calling thread, which augments the batches, still uses all cores. MKL alone keeps one limit for the
            # whole process, which is why `__exit__` sets the old number again.
            own = max(1, self._threads // self.count)
            self._pool = ThreadPoolExecutor(self.count, "fervit-chunk", torch.set_num_threads, (own,))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
            torch.set_num_threads(self._threads)

    def map(self, function: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
        """Return `function` of every item, in order."""
        return [*map(function, items)] if self._pool is None else [*self._pool.map(function, items)]

    def gradients(
        self, model: nn.Module, loss_of: Callable[[tuple[Tensor, ...]], Tensor], batch: Sequence[Tensor]
    ) -> Tensor:
        """Set the gradients of `model` to those of the mean loss of a batch, and return that loss.

        They are added up in one order, so that a seed gives one result.

        Args:
            model: whose gradients are replaced.
            loss_of: turns a chunk of the batch into its mean loss.
            batch: tensors `(N, ...)`, split over the workers.
        """
        parameters = [p for p in model.parameters() if p.requires_grad]
        # The seed comes from the generator that a checkpoint saves, so that a resumed run draws the same numbers.
        seed = int(torch.randint(2**62, ()))

        def chunk_gradients(numbered: tuple[int, tuple[Tensor, ...]]) -> tuple[Tensor, Sequence[Tensor | None]]:
            k, tensors = numbered
            _of_thread.number, _of_thread.generator = k, self._generators[k].manual_seed(seed + k)
            try:
                loss = loss_of(tensors) * (len(tensors[0]) / len(batch[0]))
            finally:
                _of_thread.generator = None
            return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

        chunks = zip(*(tensor.chunk(self.count) for tensor in batch), strict=True)
        losses, gradients = zip(*self.map(chunk_gradients, enumerate(chunks)), strict=True)
        model.zero_grad(set_to_none=True)
        _set_gradients(parameters, gradients)
        for module in model.modules():
            if isinstance(module, ChunkBatchNorm):
                module.update_running_statistics()
        return torch.stack(losses).sum()


def _set_gradients(parameters: Sequence[Tensor], gradients: Sequence[Sequence[Tensor | None]]) -> None:
    """Set each parameter's gradient to the sum of its gradients over the chunks; a parameter without use has none."""
    used = [k for k, gradient in enumerate(gradients[0]) if gradient is not None]
    total, *others = ([gradient for k in used if (gradient := chunk[k]) is not None] for chunk in gradients)
    for more in others:
        torch._foreach_add_(total, more)
    for k, gradient in zip(used, total, strict=True):
        parameters[k].grad = gradient


def generator() -> torch.Generator | None:
    """Return what the calling thread draws from: its worker's generator, or None for PyTorch's own."""
    found: torch.Generator | None = getattr(_of_thread, "generator", None)
    return found


class ChunkBatchNorm(nn.BatchNorm2d):
    """A batch norm that normalises each chunk by its own statistics; the running ones get the chunks' mean.

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
    def update_running_statistics(self) -> None:
        """Move the running statistics toward the chunks' mean, in their order, so that a seed gives one result."""
        if not self.seen:
            return
        means, variances = zip(*(self.seen[k] for k in sorted(self.seen)), strict=True)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(torch.stack(means).mean(0), self.momentum)
        self.running_var.lerp_(torch.stack(variances).mean(0), self.momentum)
        self.seen.clear()


class ChunkDropout(nn.Dropout):
    """A dropout that draws from its worker's generator: PyTorch's would depend on which thread comes first."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop single values of `input` while training."""
        if not self.training or generator() is None or not self.p:
            return super().forward(input)
        return input * (torch.rand(input.shape, generator=generator()) >= self.p) / (1 - self.p)


def prepare_for_chunks(model: nn.Module) -> None:
    """Make a model's batch norms and dropouts work chunk by chunk. They stay the same modules with the same tensors."""
    for module in model.modules():
        kind = type(module)
        if kind is nn.BatchNorm2d and module.track_running_stats and module.momentum is not None:
            module.__class__ = ChunkBatchNorm
            assert isinstance(module, ChunkBatchNorm)
            module.seen = {}
        elif kind is nn.Dropout:
            module.__class__ = ChunkDropout


def workers_for(model: nn.Module, device: torch.device, batch_size: int) -> Workers:
    """Return one worker per thread of PyTorch's, `MAX_WORKERS` at most, where a batch can be split; else a single one.

    It cannot on an accelerator; nor with norms over a batch and dropouts of another kind than `prepare_for_chunks`
    replaces. With batch norms every chunk has `MIN_NORM_CHUNK` images at least.
    """
    if device.type != "cpu" or any(map(_needs_the_whole_batch, model.modules())):
        return Workers(1)
    count = min(MAX_WORKERS, torch.get_num_threads())
    if any(isinstance(module, ChunkBatchNorm) for module in model.modules()):
        count = min(count, batch_size // MIN_NORM_CHUNK)
    return Workers(max(1, count))


def _needs_the_whole_batch(module: nn.Module) -> bool:
    config = getattr(module, "config", None)  # an encoder inside another model has a configuration of its own
    dropout = any(getattr(config, name, 0) for name in DROPOUTS)
    drops = isinstance(module, nn.modules.dropout._DropoutNd) and not isinstance(module, ChunkDropout) and module.p > 0
    norm = isinstance(module, nn.modules.batchnorm._NormBase) and not isinstance(module, ChunkBatchNorm)
    return dropout or drops or norm
