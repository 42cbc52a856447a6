"""The process that reads cases: what kills it, or never comes back, is seen by `watchdog` and leaves the file behind.

python -m tests.helpers.fuzzing.worker START STOP FOLDER [BROKEN]
"""

import ctypes
import faulthandler
import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

import numpy as np

import fervit
from fervit.errors import ImageError
from fervit.inference.recognizer import Recognizer
from fervit.types import Image
from tests.helpers.fuzzing.cases import Case, make_case
from tests.helpers.fuzzing.checks import Checker, limit_cpu

if TYPE_CHECKING:
    from fervit.serve.finder import Finder

MOST_MEMORY = 1_000_000_000  # bytes that the process may have resident, libraries and models included
ADDRESSES = 8_000_000_000  # bytes of address space: a case that asks for more fails before the machine is out of memory


def peak_memory() -> int:
    """Return the most bytes that this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():  # the other figure also counts the parent's pages from before this program began
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def trim_memory() -> None:
    """Give what is free back to the system, so that the next case is blamed for its own memory only."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps blocks of up to 32 MB
    if trim is not None:
        trim(0)


_hoard: list[np.ndarray] = []


def _raises(_: object) -> NoReturn:
    raise ValueError("not a FervitError")


def _talks(_: object) -> NoReturn:
    raise ImageError("a message\nof two lines")


def _spins(_: object) -> NoReturn:
    while True:
        pass


def _waits(_: object) -> NoReturn:
    while True:
        time.sleep(60)


def _crashes(_: object) -> NoReturn:
    ctypes.string_at(0)
    raise AssertionError


def _hoards(_: object) -> Image:
    _hoard.append(np.ones(450_000_000, np.uint8))  # a case reads its file twice
    return np.zeros((4, 4, 3), np.uint8)


def _returns_floats(_: object) -> Image:
    return np.zeros((4, 4, 3))


def _prints(_: object) -> Image:
    os.write(1, b"hello")
    return np.zeros((4, 4, 3), np.uint8)


BROKEN: dict[str, Callable[[object], Image]] = {
    "raises": _raises,
    "talks": _talks,
    "spins": _spins,
    "waits": _waits,
    "crashes": _crashes,
    "hoards": _hoards,
    "returns floats": _returns_floats,
    "prints": _prints,
}
"""Readers that do what none may: the randomised test must report each."""


def _run(checker: Checker, case: Case, path: Path) -> dict[str, object]:
    start = time.process_time()
    report: dict[str, object] = {"seed": case.seed, "kind": case.kind}
    try:
        report["outcome"] = checker.check(case, path)
        gc.collect()  # what a case spoils in memory is seen now, and not in a later one
    except Exception as error:  # noqa: BLE001  (any is what this test looks for)
        report |= {"failure": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    finally:
        limit_cpu(0)
    report |= {"cpu_s": time.process_time() - start, "peak": peak_memory()}
    if peak_memory() > MOST_MEMORY:
        report.setdefault("failure", f"{peak_memory() / 1e6:.0f} MB of memory, more than {MOST_MEMORY / 1e6:.0f}")
    return report


def _finder(recognizer: Recognizer) -> "Finder | None":
    """Return the service's finder of faces, for every format that it can be told to take."""
    if not find_spec("fastapi"):
        return None
    from fervit.serve.finder import Finder
    from fervit.serve.settings import FORMATS, Settings

    return Finder(Settings(formats=FORMATS), recognizer.spec)


class Printed:
    """What is printed in this process from here on, by C libraries too, goes to two files.

    Args:
        folder: where the files are.

    Attributes:
        channel: what stdout was.
    """

    def __init__(self, folder: Path):
        self.channel: IO[str] = os.fdopen(os.dup(1), "w")
        self._files = []
        for descriptor, name in ((1, "stdout.txt"), (2, "stderr.txt")):
            file = (folder / name).open("w+b", buffering=0)
            os.dup2(file.fileno(), descriptor)
            self._files.append(file)

    def take(self) -> list[str]:
        """Return what was printed on stdout and on stderr since the last call, and empty the files."""
        sys.stdout.flush()
        texts = []
        for descriptor, file in zip((1, 2), self._files, strict=True):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
        return texts

    def tell(self, message: dict[str, object]) -> None:
        """Write one line to what stdout was."""
        self.channel.write(json.dumps(message) + "\n")
        self.channel.flush()


def main(start: int, stop: int, folder: Path, broken: str | None = None) -> None:
    """Read the cases from `start` to before `stop` in `folder`; write a line as each begins, and one as it ends."""
    printed = Printed(folder)
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # it prints where the time went, and then the process ends
    recognizer = fervit.load("tiny", threads=1, runtime="onnxruntime")
    finder = _finder(recognizer)
    checker = Checker(recognizer, BROKEN[broken], finder) if broken else Checker(recognizer, finder=finder)
    gc.collect()
    gc.freeze()  # what there is by now need not be looked at after every case
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    for seed in range(start, stop):
        case = make_case(seed)
        path = folder / case.name
        path.write_bytes(case.data)
        printed.take()  # encoders print, too
        trim_memory()
        printed.tell({"begin": seed, "path": str(path), "what": case.what})
        report = _run(checker, case, path)
        stdout, report["printed"] = printed.take()
        if stdout:  # which may be a result file
            report.setdefault("failure", f"printed on stdout: {stdout[:200]!r}")
        if "failure" not in report:
            path.unlink()
        printed.tell(report)
        if peak_memory() > MOST_MEMORY:  # the peak does not come down: go on in a new process
            break


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
