"""Outputs that cannot be written: each is told once, the others go on, and the run ends with an error."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from fervit.errors import ConfigError, FervitError

log = logging.getLogger(__name__)


class Failures:
    """The outputs of a run that failed.

    Args:
        outputs: how many there are; once all of them failed, there is nothing to go on for.
        tell: is given a line for people, such as that the others go on.
    """

    def __init__(self, outputs: int, tell: Callable[[str], None] = log.warning):
        self._outputs, self.tell = outputs, tell
        self._reasons: dict[str, str] = {}
        self._ended = 0  # of the outputs, those that will not go on

    def __contains__(self, output: str) -> bool:
        return output in self._reasons

    @contextlib.contextmanager
    def tolerated(self, output: str, *, ends: bool = True) -> Iterator[None]:
        """Tell of an error of the block and go on without this output.

        Args:
            output: its name.
            ends: that is the end of one of the outputs; not so where it was one of several files of an output.

        Raises:
            ConfigError: it was the last output.
        """
        try:
            yield
        except FervitError as error:
            if output in self._reasons:  # such as a file that cannot be closed either
                return
            self._reasons[output] = str(error)
            self._ended += ends
            if ends and self._ended >= self._outputs:
                raise ConfigError(str(error)) from error
            self.tell(f"fervit: {' '.join(str(error).split())}; the other outputs go on")

    def check(self) -> None:
        """Raise `ConfigError` where an output failed: a run that wrote less than it was asked for is no success."""
        if self._reasons:
            count, first = len(self._reasons), next(iter(self._reasons.values()))
            raise ConfigError(first if count == 1 else f"{count} outputs could not be written, first: {first}")
