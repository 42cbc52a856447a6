"""Locks, worker threads and open models in threads, forked children and pickles."""

import functools
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fervit.concurrency import Lock, NativeCalls, PerProcess, WorkerThreads
from tests.helpers.processes import run_program

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")

HELD = """
import os, threading
from fervit.concurrency import Lock

other, own, held, done = Lock(), Lock(), threading.Event(), threading.Event()

def hold():
    with other:
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
with own:
    child = os.fork()
if child == 0:
    with other, own:
        os._exit(7)
status = os.waitpid(child, 0)[1]
done.set()
print(os.waitstatus_to_exitcode(status))
"""

POOLS = """
import os
from fervit.concurrency import PerProcess, WorkerThreads

workers, opened = WorkerThreads(2, "worker"), PerProcess(os.getpid)
assert workers.map(abs, [-1, -2]) == [1, 2] and opened.get() == os.getpid()
child = os.fork()
if child == 0:
    own = workers.map(abs, [-3, -4]) == [3, 4] and opened.get() == os.getpid()
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(7 if workers.map(abs, [-5]) == [5] and opened.get() == os.getpid() else 1)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) if own else 2)
assert workers.map(abs, [-1, -2]) == [1, 2] and opened.get() == os.getpid()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@forks
def test_a_lock_that_a_thread_held_at_the_fork_is_free_in_the_child() -> None:
    assert run_program(HELD, limit_s=20).split() == ["7"]


@forks
def test_a_child_and_its_child_have_threads_and_open_things_of_their_own() -> None:
    assert run_program(POOLS, limit_s=20).split() == ["7"]


def test_callers_share_the_threads_and_an_exception_arrives() -> None:
    workers, names = WorkerThreads(2, "worker"), set()

    def work(value: int) -> int:
        names.add(threading.current_thread().name)
        return 10 // value

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(lambda k: workers.map(work, [1 + k, 2]), range(20))) == [
            [10 // (1 + k), 5] for k in range(20)
        ]
    assert names <= {"worker_0", "worker_1"}
    with pytest.raises(ZeroDivisionError):
        workers.map(work, [1, 0])


def test_a_pickle_opens_anew_and_starts_no_thread() -> None:
    opened: PerProcess[list[int]] = PerProcess(functools.partial(list, (1, 2)))
    copy = pickle.loads(pickle.dumps(opened))
    assert copy.get() == [1, 2] and copy.get() is not opened.get()
    workers = pickle.loads(pickle.dumps(WorkerThreads(3, "some")))
    assert (workers.count, workers.name) == (3, "some")
    with pickle.loads(pickle.dumps(Lock())):
        pass


def test_what_cannot_be_opened_raises_at_once() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        PerProcess(functools.partial(int, "x"))


@forks
def test_a_fork_waits_until_no_native_call_is_running_and_the_library_has_rested() -> None:
    calls, began, ended = NativeCalls(rest_s=0.05), threading.Event(), 0.0

    def call() -> None:
        nonlocal ended
        with calls():
            began.set()
            time.sleep(0.1)
            ended = time.monotonic()

    thread = threading.Thread(target=call)
    thread.start()
    began.wait()
    calls._wait()  # what a fork does first
    forked = time.monotonic()
    calls._go_on()
    thread.join()
    assert forked - ended >= 0.05
    with calls():
        assert calls._running == 1
    calls._renew()  # what its child does
    with calls():
        assert calls._running == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_that_had_begun_before_calls_were_registered_leaves_their_lock_alone() -> None:
    calls = NativeCalls()
    calls._go_on()
    calls._wait()
    calls._go_on()

    def call() -> bool:
        with calls():
            return True

    with ThreadPoolExecutor(1) as other:  # the thread of the fork could take the lock again in any case
        assert other.submit(call).result(timeout=5)
