"""The service under a path prefix, behind proxies that are trusted or not, and behind a real nginx."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
from starlette.testclient import TestClient

from fervit.errors import ConfigError
from fervit.serve.settings import Settings
from tests.helpers.nginx import NGINX, Nginx, documented
from tests.helpers.page import Page
from tests.helpers.served import Served
from tests.helpers.service import client_of, jpeg

PREFIX = {"x-forwarded-prefix": "/faces"}
WAYS = {
    "the prefix is taken off, and said by the proxy": ("proxy_pass http://127.0.0.1:8000/;", ()),
    "the prefix is left on, and said by the proxy": ("proxy_pass http://127.0.0.1:8000;", ()),
    "the prefix is taken off, and said by --root-path": (
        "proxy_pass http://127.0.0.1:8000/;",
        ("--root-path", "/faces"),
    ),
    "the prefix is left on, and said by --root-path": ("proxy_pass http://127.0.0.1:8000;", ("--root-path", "/faces/")),
}


def servers(client: TestClient, path: str = "/openapi.json", **headers: str) -> object:
    """Return what the OpenAPI document names as its servers."""
    return client.get(path, headers=headers).json().get("servers")


def test_the_prefix_is_believed_from_named_proxies_only(tiny_onnx: Path) -> None:
    with client_of(tiny_onnx) as client:
        client.headers.update(PREFIX)
        assert servers(client) is None
    for named in ("10.0.0.1", "10.0.0.0/8"):
        chosen = client_of(tiny_onnx, trusted_proxies=(named,))
        with TestClient(chosen.app, "http://localhost", client=("10.0.0.1", 9), headers=PREFIX) as client:
            assert servers(client) == [{"url": "/faces"}]
        with TestClient(chosen.app, "http://localhost", client=("192.0.2.1", 9), headers=PREFIX) as client:
            assert servers(client) is None


@pytest.mark.parametrize("prefix", ["faces", "//evil.example", "/a/../b", "/a b", "https://evil.example", "/a, /b"])
def test_a_prefix_that_is_no_path_is_refused(prefix: str, tiny_onnx: Path) -> None:
    chosen = client_of(tiny_onnx, trusted_proxies=("10.0.0.1",))
    with TestClient(chosen.app, "http://localhost", client=("10.0.0.1", 9)) as client:
        response = client.get("/", headers={"x-forwarded-prefix": prefix})
        assert response.status_code == 400 and "X-Forwarded-Prefix such as /faces" in response.json()["detail"]
    with pytest.raises(ConfigError, match="--root-path PREFIX such as /faces"):
        Settings(root_path=prefix).check()


@pytest.mark.parametrize("name", ["*", "proxy.example", "10.0.0.1/8", ""])
def test_proxies_are_named_by_address_or_network(name: str) -> None:
    with pytest.raises(ConfigError, match="--trusted-proxy ADDRESS or NETWORK"):
        Settings(trusted_proxies=(name,)).check()


@pytest.mark.parametrize("root", ["/faces", "/v1", "/a/b"])
def test_every_path_is_found_with_and_without_the_prefix(root: str, tiny_onnx: Path) -> None:
    with client_of(tiny_onnx, root_path=root) as client:
        for path in ("/", "/docs", "/page/app.js", "/healthz", "/v1/model", "/openapi.json"):
            assert client.get(path).status_code == client.get(root + path).status_code == 200
        assert servers(client) == servers(client, f"{root}/openapi.json") == [{"url": root}]
        assert client.get(f"{root}x/healthz").status_code == 404
        moved = client.get(root, follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (308, f"{root}/")


def test_the_rate_limit_counts_the_forwarded_client(tiny_onnx: Path) -> None:
    chosen = client_of(tiny_onnx, trusted_proxies=("10.0.0.1",), rate=0.01, burst=1)
    with TestClient(chosen.app, "http://localhost", client=("10.0.0.1", 9)) as client:
        statuses = [
            client.get("/v1/model", headers={"x-forwarded-for": ip}).status_code for ip in ("1.1.1.1", "2.2.2.2")
        ]
        assert statuses == [200, 200]
        assert client.get("/v1/model", headers={"x-forwarded-for": "1.1.1.1"}).status_code == 429


@pytest.fixture(params=WAYS)
def proxied(request: pytest.FixtureRequest, tiny_onnx: Path, tmp_path: Path) -> Iterator[str]:
    """The address of the service behind nginx, configured as the docs say, or in another usual way."""
    if NGINX is None:
        pytest.skip("no nginx: apt-get install nginx-light")
    line, arguments = WAYS[request.param]
    light = ("--image-workers", 0, "--rate", 0, "--trusted-proxy", "127.0.0.1")
    inside, outside = documented()
    assert WAYS["the prefix is taken off, and said by the proxy"][0] in inside
    if arguments:
        inside = inside.replace("proxy_set_header X-Forwarded-Prefix /faces;", "")
    with Served("--model", tiny_onnx, *light, *arguments) as server:
        inside = inside.replace(next(iter(WAYS.values()))[0], line).replace(":8000", f":{server.port}")
        with Nginx(tmp_path, inside, outside) as nginx:
            yield f"{nginx.url}/faces/"


def fetch(address: str, body: bytes | None = None) -> tuple[str, bytes]:
    """Return the address that responded at last, and its body."""
    with urllib.request.urlopen(urllib.request.Request(address, body), timeout=20) as response:
        return response.geturl(), response.read()


@pytest.mark.slow
def test_behind_nginx_page_document_predictions_and_stream_work(proxied: str, astronaut: np.ndarray) -> None:
    from websockets.sync.client import connect

    assert fetch(proxied.removesuffix("/"))[0] == proxied
    for name in ("", "docs"):
        address, text = fetch(proxied + name)
        for link in Page(text.decode()).addresses:
            where = urljoin(address, link)
            assert where.startswith(proxied) and fetch(where)[1]
    document = json.loads(fetch(proxied + "openapi.json")[1])
    assert document["servers"] == [{"url": "/faces"}]
    photo = jpeg(astronaut)
    assert len(json.loads(fetch(proxied + "v1/predict", photo)[1])["faces"]) == 1
    with connect(proxied.replace("http", "ws", 1) + "v1/stream", compression=None) as client:
        client.send(photo)
        assert len(json.loads(client.recv(timeout=20))["faces"]) == 1
