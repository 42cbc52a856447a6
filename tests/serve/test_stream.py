"""The stream: the newest frame wins, tracks, limits."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from fervit.serve.app import create_app
from fervit.serve.engine import Engine
from fervit.serve.metrics import Metrics
from tests.helpers.service import STREAM, Gate, client_of, jpeg, settings


def test_a_stream_responds_to_frames(client: TestClient, photo: bytes) -> None:
    with client.websocket_connect(STREAM) as socket:
        for number in range(3):
            socket.send_bytes(photo)
            row = json.loads(socket.receive_text())
            assert row["frame"] == number and row["dropped"] == 0 and len(row["faces"]) == 1
        socket.send_bytes(b"no image")
        assert socket.receive_json()["error"]["status"] == 415
        socket.send_bytes(photo)
        assert len(socket.receive_json()["faces"]) == 1


def test_a_stream_tracks_who_is_who_from_frame_to_frame(client: TestClient, astronaut: np.ndarray) -> None:
    face = astronaut[:300, 100:400]
    with client.websocket_connect(STREAM) as socket:
        tracks = []
        for shift in (0, 12, 24):
            # The one on the right fades: the surest face, which comes first, may change.
            pair = np.hstack([face, (face * (1 - shift / 48)).astype(np.uint8)])
            socket.send_bytes(jpeg(np.roll(pair, shift, axis=0)))
            faces = sorted(socket.receive_json()["faces"], key=lambda face: face["box"][0])
            tracks.append([face["track"] for face in faces])
        assert sorted(tracks[0]) == [1, 2] and tracks == [tracks[0]] * 3
    with client.websocket_connect(STREAM) as socket:
        socket.send_bytes(jpeg(face))
        assert socket.receive_json()["faces"][0]["track"] == 1, "every stream has tracks of its own"
    response = client.post("/v1/predict", content=jpeg(face), headers={"content-type": "image/jpeg"}).json()
    assert "track" not in response["faces"][0]


@pytest.mark.slow
def test_of_many_frames_the_newest_wins(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx)
    engine = Engine(chosen, Metrics())
    with (
        TestClient(create_app(chosen, engine), "http://localhost") as client,
        client.websocket_connect(STREAM) as socket,
    ):
        gate = Gate(engine)
        socket.send_bytes(photo)
        assert gate.inside.acquire(timeout=5)
        for _ in range(20):
            socket.send_bytes(photo)
        socket.send_bytes(b"GIF89a, the newest")
        time.sleep(0.3)
        gate.opened.set()
        assert socket.receive_json()["frame"] == 0
        newest = socket.receive_json()
        assert (newest["frame"], newest["dropped"], newest["error"]["status"]) == (21, 20, 415)


@pytest.mark.slow
def test_streams_are_bounded_and_take_images_only(tiny_onnx: Path) -> None:
    from starlette.websockets import WebSocketDisconnect

    with client_of(tiny_onnx, max_streams=1, idle_timeout_s=0.3) as client:
        with client.websocket_connect(STREAM):
            with client.websocket_connect(STREAM) as second, pytest.raises(WebSocketDisconnect) as refused:
                second.receive_text()
            assert refused.value.code == 1013
        with client.websocket_connect(STREAM) as socket:
            socket.send_text("hello")
            with pytest.raises(WebSocketDisconnect) as ended:
                socket.receive_text()
            assert ended.value.code == 1003
        with client.websocket_connect(STREAM) as socket, pytest.raises(WebSocketDisconnect) as idle:
            socket.receive_text()
        assert idle.value.code == 1008
