"""What checks every request: headers, token, origins, hosts, rate."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from fervit.serve.guard import HEADERS, RateLimit, client_key, token_protocol
from tests.helpers.service import STREAM, TOKEN, client_of


def denied(client: TestClient, **options: Any) -> int:
    """Return the status with which a stream is refused."""
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(STREAM, **options):
        pytest.fail("the stream was opened")
    return refused.value.status_code


@pytest.mark.parametrize("path", ["/", "/docs", "/page/app.js", "/v1/model", "/nowhere", "/healthz"])
def test_every_response_has_the_security_headers(path: str, client: TestClient) -> None:
    response = client.get(path)
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in response.headers and "server" not in response.headers


def test_a_token_guards_everything_but_health_and_the_page(tiny_onnx: Path, photo: bytes) -> None:
    good = {"authorization": f"Bearer {TOKEN}"}
    with client_of(tiny_onnx, token=TOKEN) as client:
        for path in ("/v1/model", "/metrics", "/nowhere"):
            response = client.get(path)
            assert response.status_code == 401 and response.headers["www-authenticate"].startswith("Bearer")
            assert client.get(path, headers={"authorization": f"Basic {TOKEN}"}).status_code == 401
            assert client.get(path, headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 401
            assert client.get(path, headers=good).status_code in (200, 404)
        for path in ("/healthz", "/readyz", "/", "/docs", "/page/app.js"):
            assert client.get(path).status_code == 200
        assert client.post("/v1/predict", content=photo).status_code == 401
        assert client.post("/v1/predict", content=photo, headers=good).status_code == 200
        assert denied(client) == 401
        offered = ["fervit", token_protocol(TOKEN)]
        with client.websocket_connect(STREAM, subprotocols=offered) as socket:
            assert socket.accepted_subprotocol == "fervit"


@pytest.mark.slow
def test_foreign_pages_are_refused_unless_allowed(tiny_onnx: Path, photo: bytes) -> None:
    page = {"origin": "https://app.example"}
    with client_of(tiny_onnx) as client:
        assert client.post("/v1/predict", content=photo, headers=page).status_code == 403
        assert client.post("/v1/predict", content=photo, headers={"origin": "null"}).status_code == 403
        assert client.post("/v1/predict", content=photo, headers={"origin": "http://localhost"}).status_code == 200
        assert denied(client, headers=page) == 403
    with client_of(tiny_onnx, allow_origins=("https://app.example",)) as client:
        response = client.post("/v1/predict", content=photo, headers=page)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert client.get("/v1/model", headers={"origin": "https://evil.example"}).status_code == 403
        ask = page | {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        assert client.options("/v1/predict", headers=ask).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:9", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example@localhost", 421),
        ("", 421),
        ("LOCALHOST:", 200),
        ("[::1", 400),
        ("[", 400),
        ("a]b", 400),
        ("[::1]x", 400),
        ("[fe80:::1]", 400),
        ("localhost:http", 400),
        ("localhost:99999", 400),
        ("localhost:80:80", 400),
    ],
)
def test_a_loopback_service_responds_to_loopback_names_only(host: str, status: int, client: TestClient) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == status


def test_a_malformed_host_name_is_refused_in_one_line_by_a_service_of_the_network_too(tiny_onnx: Path) -> None:
    with client_of(tiny_onnx, host="0.0.0.0", token=TOKEN) as client:
        response = client.get("/healthz", headers={"host": "[::1"})
        assert (response.status_code, response.json()["detail"]) == (400, "expected a header Host: NAME or NAME:PORT")
        assert client.get("/healthz", headers={"host": "faces.example"}).status_code == 200


def test_no_redirect_takes_its_address_from_the_host_header(client: TestClient) -> None:
    assert client.get("/docs/", follow_redirects=False).status_code == 404


def test_another_host_name_can_be_allowed(tiny_onnx: Path) -> None:
    with client_of(tiny_onnx, allow_hosts=("faces.example",)) as client:
        assert client.get("/healthz", headers={"host": "faces.example"}).status_code == 200


def test_the_rate_limit_responds_429_and_says_when(tiny_onnx: Path) -> None:
    with client_of(tiny_onnx, rate=0.5, burst=3) as client:
        statuses = [client.get("/v1/model").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        response = client.get("/v1/model")
        assert response.json()["type"].endswith("rate-limited") and response.headers["retry-after"] == "2"
        assert client.get("/healthz").status_code == 200


def test_buckets_refill_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("fervit.serve.guard.time.monotonic", lambda: now[0])
    limit = RateLimit(2, 2)
    assert [limit.wait_s("a") for _ in range(3)] == [0, 0, 0.5]
    now[0] = 0.5
    assert limit.wait_s("a") == 0 and limit.wait_s("a") == 0.5
    for client in range(10_000):
        limit.wait_s(str(client))
    assert len(limit._buckets) <= 4096
    assert client_key({"client": ("2001:db8::1", 1)}) == client_key({"client": ("2001:db8::ffff", 2)})
    assert client_key({"client": ("10.0.0.1", 1)}) != client_key({"client": ("10.0.0.2", 1)})
