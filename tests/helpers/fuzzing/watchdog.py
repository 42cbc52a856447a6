"""Runs workers, kills those that hang, and tells which case each failure is."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers import ROOT

MOST_WALL_S = 10.0  # that a worker may do nothing at all; busy ones end by themselves after two seconds of work
START_S = 60.0  # for its imports and its model
CASES_PER_WORKER = 1000  # a leak shows, and does not add up to what no single case can be blamed for
MOST_FAILURES = 50  # then it is clear enough


@dataclass(frozen=True)
class Failure:
    """One case that ended in neither a result nor a clear refusal.

    Attributes:
        seed: the case's number.
        path: its file, which is kept.
        what: how the file was made.
        problem: what went wrong.
        detail: a traceback, or what was printed last.
    """

    seed: int
    path: str
    what: str
    problem: str
    detail: str = ""

    def __str__(self) -> str:
        again = f"FERVIT_FUZZ_START={self.seed} FERVIT_FUZZ_CASES=1"
        return f"case {self.seed}: {self.problem}\n  {self.what}\n  file: {self.path}\n  again: {again}\n{self.detail}"


@dataclass
class Summary:
    """What came of many cases.

    Attributes:
        outcomes: how many were `(kind, outcome)`.
        failures: those that must not be.
        printed: by case, what libraries printed while it was read.
        slowest: processor time in s and number of the slowest case.
        peak: most bytes that a worker had resident, and minus the number of the first case that took so many.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    printed: dict[int, str] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, -1)
    peak: tuple[int, int] = (0, -1)

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return sum(self.outcomes.values()) + len(self.failures)

    def table(self) -> str:
        """Return the counts as lines: format, read, refused."""
        kinds = sorted({kind for kind, _ in self.outcomes})
        lines = [f"{k:8} {self.outcomes[k, 'read']:6} read {self.outcomes[k, 'refused']:6} refused" for k in kinds]
        end = f"{self.cases} cases, {len(self.failures)} failures, slowest {self.slowest[0]:.2f} s (case "
        peak = f"peak {self.peak[0] / 1e6:.0f} MB (case {-self.peak[1]})"
        return "\n".join([*lines, f"{end}{self.slowest[1]}), {peak}"])


def run_cases(start: int, stop: int, folder: Path, broken: str | None = None) -> Summary:
    """Run the cases from `start` to before `stop`; their files, and those that failed, are in `folder`."""
    summary = Summary()
    while start < stop and len(summary.failures) < MOST_FAILURES:
        start = _run_worker(start, min(stop, start + CASES_PER_WORKER), folder, broken, summary)
    return summary


def _run_worker(start: int, stop: int, folder: Path, broken: str | None, summary: Summary) -> int:
    """Run one worker until it ends or is killed; return the case to go on with."""
    command = [sys.executable, "-m", "tests.helpers.fuzzing.worker", str(start), str(stop), str(folder)]
    lines: queue.Queue[str] = queue.Queue()
    with subprocess.Popen(
        [*command, *([broken] if broken else [])], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        threading.Thread(target=_pass_on, args=(process, lines), daemon=True).start()
        running: dict[str, object] | None = None
        wait_s, following = START_S, start
        while True:
            worked_s = _cpu_s(process.pid)
            try:
                line = lines.get(timeout=wait_s)
            except queue.Empty:
                if _cpu_s(process.pid) > worked_s:  # slowly, on a machine that has much else to do
                    continue
                process.kill()
                process.wait()
                problem = f"hung: did nothing for {wait_s:.0f} s"
                break
            if not line:
                process.wait()
                problem = _ended_by(process.returncode)
                break
            wait_s, report = MOST_WALL_S, json.loads(line)
            if "begin" in report:
                running = report
            else:
                _count(summary, report, running or {})
                running, following = None, int(report["seed"]) + 1
    if running is None and problem:
        if following == start:
            raise RuntimeError(f"the worker {problem} before a case began:\n{_tail(folder)}")
        what = f"one of the cases from {start} on; the worker was about to end, or to begin another"
        summary.failures.append(Failure(following - 1, "", what, problem, _tail(folder)))
    if running is not None:
        following = int(str(running["begin"])) + 1
        problem = problem or "the worker ended without a word"
        summary.failures.append(
            Failure(following - 1, str(running["path"]), str(running["what"]), problem, _tail(folder))
        )
    return following


def _pass_on(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, or 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ended_by(code: int) -> str:
    if code == -signal.SIGPROF:
        return "hung: more than 2 s of processor time"
    if code < 0:
        return f"crashed: {signal.Signals(-code).name}"
    return f"ended with status {code}" if code else ""


def _tail(folder: Path) -> str:
    printed = folder / "stderr.txt"
    return printed.read_text(errors="replace")[-3000:] if printed.exists() else ""


def _count(summary: Summary, report: dict[str, object], running: dict[str, object]) -> None:
    seed = int(str(report["seed"]))
    summary.slowest = max(summary.slowest, (float(str(report["cpu_s"])), seed))
    summary.peak = max(summary.peak, (int(str(report["peak"])), -seed))
    if report["printed"]:
        summary.printed[seed] = str(report["printed"])
    if "failure" in report:
        problem, trace = str(report["failure"]), str(report.get("trace", ""))
        summary.failures.append(Failure(seed, str(running["path"]), str(running["what"]), problem, trace))
    else:
        summary.outcomes[str(report["kind"]), str(report["outcome"])] += 1
