"""`fervit serve` as a command: refusals, start, worker processes, end."""

import signal
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.errors import FervitError
from fervit.serve.settings import Settings
from tests.helpers import served
from tests.helpers.served import Served, all_end

START_S = 3.0  # promised; measured on a fresh install: 1.8 s at first, 1.1 s after


def refusal(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert isinstance(result.exception, FervitError), result.output
    return str(result.exception)


def test_it_refuses_to_listen_to_the_network_without_a_token(tiny_onnx: Path) -> None:
    assert "--token-file" in refusal("--model", tiny_onnx, "--host", "0.0.0.0", "--port", 0)
    assert "--token-file" in refusal("--model", tiny_onnx, "--host", "::", "--port", 0)


def test_mistakes_are_one_line(tiny_onnx: Path, tmp_path: Path) -> None:
    assert "no model at" in refusal("--model", tmp_path / "none.onnx", "--port", 0)
    assert "token file" in refusal("--token-file", tmp_path / "none")
    assert "did you mean 'PNG'" in refusal("--formats", "PNF")
    assert "unknown detector" in refusal("--model", tiny_onnx, "--detector", "slimefase", "--port", 0)
    assert "exceeds --queue" in refusal("--queue", 2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen on" in refusal("--model", tiny_onnx, "--port", taken.getsockname()[1])


def test_the_commands_defaults_are_the_settings_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    monkeypatch.setattr("fervit.serve.launch.run", lambda settings, announce: seen.append(settings))
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 0 and seen == [Settings()]


@pytest.mark.slow
def test_a_forwarded_address_is_believed_from_the_trusted_proxy_only(tiny_onnx: Path) -> None:
    def statuses(*arguments: object) -> list[int]:
        tight = ("--rate", 0.01, "--burst", 1, "--image-workers", 0, "--detector", "none")
        with Served("--model", tiny_onnx, *tight, *arguments) as server:
            clients = ("10.0.0.1", "10.0.0.2", "10.0.0.2")
            return [server.request("GET", "/v1/model", None, {"X-Forwarded-For": ip}).status for ip in clients]

    assert statuses() == [200, 429, 429]
    assert statuses("--trusted-proxy", "127.0.0.1") == [200, 200, 429]


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fervit.cli.inference.serve.find_spec", lambda name: None)
    assert "fervit[serve]" in refusal()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_responds_soon_after_its_start(tiny_onnx: Path) -> None:
    with Served("--model", tiny_onnx) as server:
        assert server.request("GET", "/readyz").status == 200
        assert server.cpu_s() < 2 * START_S, "processor time of two cores: a busy machine must not fail this"


@pytest.mark.slow
def test_sigterm_lets_requests_in_work_end(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(astronaut).resize((1500, 1500)).save(file, "PNG")
    with Served("--model", tiny_onnx, "--rate", 0) as server:
        responses: list[int] = []
        threads = [
            threading.Thread(target=lambda: responses.append(server.post(file.getvalue()).status)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        children = server.children()
        code = server.stop()
        for thread in threads:
            thread.join(30)
        assert responses == [200] * 4
        assert code in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
        assert "Traceback" not in server.output
        assert all_end(children)


@pytest.mark.slow
def test_image_processes_end_with_a_killed_server(tiny_onnx: Path) -> None:
    with Served("--model", tiny_onnx) as server:
        children = server.children()
        assert children
        server.process.kill()
        server.process.wait()
        assert all_end(children)


@pytest.mark.slow
def test_several_workers_share_the_port_and_the_metrics(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    with Served("--model", tiny_onnx, "--workers", 2, "--image-workers", 0, "--detector", "none") as server:
        deadline = time.monotonic() + served.START_S
        while time.monotonic() < deadline:
            try:
                if server.request("GET", "/readyz").status == 200:
                    break
            except OSError:
                time.sleep(0.1)
        for _ in range(12):
            assert server.post(b"GIF89a").status == 415
        counted = 'fervit_requests_total{path="/v1/predict",status="415"} 12.0'
        deadline = time.monotonic() + 5  # a worker counts a request after its response, and another may report
        while counted not in (text := server.request("GET", "/metrics").body.decode()):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        assert server.stop() in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
