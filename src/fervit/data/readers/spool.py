"""Encoded images in one file, for readers that can go through their source only once, or at a cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fervit.data.cache import cannot_write


class Spool:
    """Encoded images in one file, one after another: they are decoded twice, and streamed only once."""

    def __init__(self, path: Path):
        self.path = path
        self._lengths: list[int] = []
        self._file: BinaryIO

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep the file open for `append`.

        Raises:
            DataError: it cannot be written.
        """
        try:
            self._file = self.path.open("wb")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        with self._file:
            yield

    def append(self, image: bytes) -> None:
        """Add one image.

        Raises:
            DataError: the disk is full.
        """
        try:
            self._file.write(image)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._lengths.append(len(image))

    def contents(self) -> Iterator[bytes]:
        """Yield the images in order."""
        with self.path.open("rb") as file:
            for length in self._lengths:
                yield file.read(length)
