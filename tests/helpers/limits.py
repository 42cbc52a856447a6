"""Python in a process of its own, with a bound on its memory and its time."""

import multiprocessing
import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MEMORY = 6 << 30  # of addresses, most of which torch's libraries reserve and never touch
RESIDENT_KB = 2_000_000
REPORT = """
from pathlib import Path
from fervit.errors import FervitError
try:
{code}
except FervitError as error:
    print("REFUSED", error)
else:
    print("ACCEPTED")
status = Path("/proc/self/status").read_text()  # unlike getrusage, it does not count what the parent had in memory
print("PEAK", status.split("VmHWM:")[1].split()[0])
"""

# A process that has imported torch, and has done nothing else, is forked for each piece of code: importing torch anew
# takes four seconds of processor time. What a child has imported counts as its memory as if it had done so itself.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["fervit.models", "fervit.export.onnx", "fervit.inference.loading"])


@dataclass(frozen=True)
class Done:
    """How code in a process of its own ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str


def run_forked(code: str, *, stdin: str = "", seconds: float = 120, memory: int | None = None) -> Done:
    """Run code in a process of its own, which has `fervit` and torch imported and may have `memory` bytes of addresses.

    Its environment is that of the first call in this test process.

    Raises:
        AssertionError: it ran for longer than `seconds`; it is ended.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stdin").write_text(stdin, encoding="utf-8")
        for written in ("stdout", "stderr"):
            (folder / written).touch()
        process = SERVER.Process(target=_run, args=(code, folder, memory))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise AssertionError(f"still running after {seconds:g} s: {code}")
        assert process.exitcode is not None
        stdout, stderr = ((folder / written).read_text(encoding="utf-8") for written in ("stdout", "stderr"))
        return Done(process.exitcode, stdout, stderr)


def _run(code: str, folder: Path, memory: int | None) -> None:
    """Run code with its standard streams in files of the folder, as a child of the server."""
    for descriptor, name, flags in (
        (0, "stdin", os.O_RDONLY),
        (1, "stdout", os.O_WRONLY),
        (2, "stderr", os.O_WRONLY),
    ):
        opened = os.open(folder / name, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  (multiprocessing closed the other)
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})


def refusal(code: str, *, seconds: float = 60) -> str:
    """Run code that a `FervitError` must end in `seconds` s and below 2 GB; return its message, which is one line."""
    indented = "\n".join(f"    {line}" for line in code.splitlines())
    done = run_forked(REPORT.format(code=indented), seconds=seconds, memory=MEMORY)
    assert done.status == 0, done.stderr[-2000:]
    said, peak = done.stdout.rstrip().rsplit("\nPEAK ", 1)
    assert said.startswith("REFUSED ") and len(said.splitlines()) == 1, said[:2000]
    assert int(peak) < RESIDENT_KB
    assert len(said) < 1000
    return said.removeprefix("REFUSED ")
