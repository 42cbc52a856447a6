"""A process that ends with its parent, however that dies."""

import multiprocessing
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows os.kill ends a process by either


def signal_on_parent_death(number: int) -> None:
    """Have this process, one of `multiprocessing`'s, get a signal when its parent dies; `kill -9` included.

    Args:
        number: the signal, such as `SIGTERM`, which lets a server finish its requests, or `KILL`.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if not _ask_kernel(number):
        threading.Thread(target=_watch, args=(number,), daemon=True).start()
    elif os.getppid() != parent.pid:  # it died before the kernel was asked
        os.kill(os.getpid(), number)


def _ask_kernel(number: int) -> bool:
    """Return whether the kernel will send the signal, which also reaches a process that is busy in C."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _watch(number: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), number)
