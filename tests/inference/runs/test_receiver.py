"""Rows that are sent by HTTP: in order, none twice, and what cannot be delivered is told without secrets."""

import base64
import time

import pytest

import fervit.inference.runs.receiver
from fervit.errors import ConfigError
from fervit.inference.rows import JsonRow
from fervit.inference.runs.receiver import Receiver, check_receiver
from tests.helpers.receiver import Requests, receiver


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fervit.inference.runs.receiver, "PAUSES_S", (0.02,))
    monkeypatch.setattr(fervit.inference.runs.receiver, "CLOSING_S", 0.5)


def row(index: int) -> JsonRow:
    return {"source": "camera 0", "frame": index, "faces": 0}


def send(address: str, count: int, pause_s: float = 0.0) -> tuple[Receiver, list[str]]:
    told: list[str] = []
    with Receiver(address, "camera 0", told.append) as sender:
        sender.started = "2026-01-31T12:00:00.000+00:00"
        for index in range(count):
            sender.add([row(index)])
            time.sleep(pause_s)
    return sender, told


def frames(requests: Requests) -> list[object]:
    return [row["frame"] for row in requests.rows]


def test_a_fast_receiver_gets_each_frame_and_a_slow_one_several_at_once() -> None:
    with receiver() as fast:
        sender, told = send(fast.address, 4, pause_s=0.03)
    assert frames(fast) == [0, 1, 2, 3] and len(fast.bodies) >= 3
    assert fast.bodies[0]["source"] == "camera 0" and fast.bodies[0]["started"] == "2026-01-31T12:00:00.000+00:00"
    assert fast.headers[0]["Content-Type"] == "application/json; charset=utf-8" and fast.paths[0] == "/rows"
    assert told == [] and sender.undelivered() is None
    with receiver(pause_s=0.1) as slow:
        sender, told = send(slow.address, 20, pause_s=0.005)
    assert frames(slow) == list(range(20)) and len(slow.bodies) <= 4
    assert told == [] and sender.undelivered() is None


def test_a_receiver_that_fails_for_a_while_gets_every_row_once() -> None:
    with receiver([503, 429, 500]) as requests:
        sender, told = send(requests.address, 10, pause_s=0.02)
    assert frames(requests) == list(range(10)) and sender.undelivered() is None
    assert told[0] == f"fervit: {requests.address}: it responded 503 Service Unavailable; trying again"
    assert told[-1] == f"fervit: {requests.address}: takes rows again"


@pytest.mark.parametrize(("status", "words"), [(401, "401 Unauthorized"), (302, "302 Found")])
def test_rows_that_are_refused_are_lost_and_counted_and_the_next_ones_are_sent(status: int, words: str) -> None:
    with receiver([status]) as requests:
        sender, told = send(requests.address, 3, pause_s=0.05)
    assert frames(requests) == [1, 2] and requests.bodies[-1]["lost"] == 1
    assert told[0] == f"fervit: {requests.address}: it responded {words}; its rows are lost"
    assert sender.undelivered() == f"1 row was not delivered to {requests.address}: it responded {words}"


def test_who_is_not_there_costs_no_time_and_bounded_memory_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fervit.inference.runs.receiver, "MOST_WAITING", 5)
    start_s = time.monotonic()
    sender, told = send("http://ann:hunter2@127.0.0.1:9/rows?token=1234", 30)
    assert time.monotonic() - start_s < 3
    assert [line for line in told if "Connection refused" in line] == told and len(told) == 1
    assert sender.undelivered() == (
        "30 rows were not delivered to http://***@127.0.0.1:9/rows?token=***: not reached: Connection refused"
    )
    assert sender.lost >= 20 and not any("hunter2" in line or "1234" in line for line in told)


def test_a_login_in_the_address_is_sent_as_basic_authentication_and_nowhere_else() -> None:
    with receiver() as requests:
        address = requests.address.replace("//", "//ann:p%40ss@") + "/caf\u00e9?token=a%20b"
        sender, _ = send(address, 1)
    assert sender.undelivered() is None
    [headers] = requests.headers
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"ann:p@ss").decode()
    assert requests.paths == ["/rows/caf%C3%A9?token=a%20b"] and "@" not in headers["Host"]
    assert sender.name == requests.address.replace("//", "//***@") + "/caf\u00e9?token=***"


@pytest.mark.parametrize(
    "address", ["", "rows", "ftp://host/x", "http://", "http://host:port/", "http://a b/", None, 3, "http://[::1/"]
)
def test_what_is_no_address_for_rows_is_refused(address: object) -> None:
    with pytest.raises(ConfigError, match="expected an address for rows, such as http://"):
        check_receiver(address)
