"""Training in processes that are killed at a given file operation, in one program that imports torch once.

`python -c "from tests.helpers.kills import main; main()" WEIGHTS FOLDER KILLS SEED` prints a JSON object.
"""

import gc
import json
import os
import random
import signal
import sys
from pathlib import Path

from tests.helpers import faces

OPERATIONS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"})
EPOCHS = 4


class Killer:
    """An audit hook that counts a process's file operations in a folder, and kills the process before one of them."""

    def __init__(self, folder: Path, before: int):
        self.folder, self.before, self.seen = str(folder), before, 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in OPERATIONS and arguments and self.folder in str(arguments[0]):
            self.seen += 1
            if self.seen == self.before:
                os.kill(os.getpid(), signal.SIGKILL)


def attempt(weights: Path, out: Path, before: int) -> int | None:
    """Train in a forked process that is killed before its file operation number `before` (0: never), or resume.

    Returns:
        The number of its operations, or None where it was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            killer = Killer(out, before)
            sys.addaudithook(killer)
            _train(weights, out)
            os.write(writer, str(killer.seen).encode())
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    assert status == 0, f"training ended with {status} in {out}"
    return int(text)


def _train(weights: Path, out: Path) -> None:
    from fervit.training import train
    from tests.helpers.training import quick_config

    config = quick_config(epochs=EPOCHS, ema_decay=0.9, drop_path=0.1, augment={"flip_prob": 0.5, "shift": 0.1})
    resume = (out / "run.json").is_file()
    try:
        train(config, faces(56), out, init=weights, resume=resume, threads=1)
    except BaseException:
        import traceback

        traceback.print_exc()
        raise


def main() -> None:
    """Train once unbroken, then with so many kills; print where these fell and how the runs ended."""
    import torch

    torch.set_num_threads(1)
    weights, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    killer = Killer(folder / "whole", 0)
    sys.addaudithook(killer)
    _train(weights, folder / "whole")  # in this process: what it imports, its children need not import
    whole = killer.seen
    gc.freeze()  # accelerate collects garbage when a run begins, and a child need not look through what is imported
    done: list[int] = []
    draw, runs = random.Random(seed), 0
    while len(done) < kills or (folder / f"run{runs}").exists():
        # Half of a run on average: most runs are killed more than once, and all of them end.
        before = draw.randint(1, whole) if len(done) < kills else 0
        if attempt(weights, folder / f"run{runs}", before) is None:
            done.append(before)
        else:
            runs += 1
    print(json.dumps({"operations": whole, "kills": done, "runs": runs}))  # noqa: T201
