"""A loopback stand-in for the model repositories of the Hugging Face Hub: read, made, and pushed to."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

TOKEN = "hf_written_for_tests"
LARGE = (".safetensors", ".onnx")  # what is kept in LFS


@dataclass
class Repository:
    """One repository: the files of each commit, and the commits that branches and tags are at."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def add(self, files: dict[str, bytes], *refs: str) -> str:
        """Add a commit to branches or tags."""
        content = "".join(f"{name}{hashlib.sha1(data).hexdigest()}" for name, data in sorted(files.items()))
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.commits[commit] = files
        self.refs.update(dict.fromkeys(refs, commit))
        return commit

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return the commit that a revision names, and its files."""
        commit = self.refs.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


class Hub(ThreadingHTTPServer):
    """The service: `repositories` by `owner/name`; `requests` are those that came, as `METHOD path`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.spoils = ""  # what is named so arrives as something else

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repo: str, folder: Path, *refs: str) -> str:
        """Make a commit of a folder's files; return its hash."""
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        return self.repositories.setdefault(repo, Repository()).add(files, *(refs or ("main",)))


class Handler(BaseHTTPRequestHandler):
    """Responds as the Hub does to what huggingface_hub asks."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def handle_request(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.requests.append(f"{self.command} {path}")
        body = self.body()
        parts = path.split("/")
        writes = self.command not in ("GET", "HEAD") and parts[0] != "lfs"
        if writes and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send(b"{}", 401)
            return
        if path == "api/validate-yaml":
            self.send_json({"errors": [], "warnings": []})
        elif path == "api/repos/create":
            self.create(json.loads(body))
        elif parts[0] == "lfs":
            self.server.stored[parts[1]] = body
            self.send(b"")
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.batch(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self.call("/".join(parts[2:4]), parts[4:], body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.send(b"", 404, {"X-Error-Code": "RepoNotFound"})

    def body(self) -> bytes:
        """Return what was sent, also in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}"
        known = repo in self.server.repositories
        made = self.server.repositories.setdefault(repo, Repository(private=wanted.get("visibility") == "private"))
        if not known:
            made.add({}, "main")
        self.send_json({"url": f"{self.server.address}/{repo}"}, 409 if known else 200)

    def batch(self, wanted: dict[str, Any]) -> None:
        def upload(oid: str) -> dict[str, object]:
            return {"upload": {"href": f"{self.server.address}/lfs/{oid}"}}

        actions = [{"oid": e["oid"], "size": e["size"], "actions": upload(e["oid"])} for e in wanted["objects"]]
        self.send_json({"transfer": "basic", "objects": actions})

    def call(self, repo: str, rest: list[str], body: bytes) -> None:
        """Respond to a call about one repository."""
        known = self.server.repositories.get(repo)
        if known is None:
            self.send(b"", 404, {"X-Error-Code": "RepoNotFound"})
        elif rest[0] == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in names}
            files = [{"path": name, "uploadMode": modes[name], "shouldIgnore": False} for name in names]
            self.send_json({"files": files})
        elif rest[0] == "branch":
            known.refs.setdefault(rest[1], known.refs["main"])
            self.send_json({})
        elif rest[0] == "commit":
            self.commit(repo, known, rest[1], [json.loads(line) for line in body.splitlines()])
        elif rest[0] == "paths-info":
            self.paths_info(known, rest[1], parse_qs(body.decode())["paths"])

    def commit(self, repo: str, known: Repository, branch: str, lines: list[dict[str, Any]]) -> None:
        files = dict(known.commits[known.refs[branch]])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
        if self.server.spoils:
            files[self.server.spoils] += b" "
        oid = known.add(files, branch)
        self.send_json({"commitUrl": f"{self.server.address}/{repo}/commit/{oid}", "commitOid": oid})

    def paths_info(self, known: Repository, revision: str, paths: list[str]) -> None:
        found = known.files(revision)
        assert found is not None
        rows: list[dict[str, Any]] = []
        for name in paths:
            data = found[1][name]
            row = {"type": "file", "path": name, "size": len(data), "oid": blob_id(data)}
            if name.endswith(LARGE):
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            rows.append(row)
        self.send_json(rows)

    def resolve(self, repo: str, revision: str, name: str) -> None:
        """Send a file of a repository."""
        known = self.server.repositories.get(repo)
        if known is None or (known.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self.send(b"", 404, {"X-Error-Code": "RepoNotFound"})
            return
        if known.gated:
            self.send(b"", 403, {"X-Error-Code": "GatedRepo"})
            return
        found = known.files(revision)
        if found is None:
            self.send(b"", 404, {"X-Error-Code": "RevisionNotFound"})
            return
        commit, files = found
        if name not in files:
            self.send(b"", 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        data = files[name]
        digest = hashlib.sha256(data).hexdigest() if name.endswith(LARGE) else blob_id(data)
        if name == self.server.spoils:
            data = data[:-1] + b"?"
        self.send(data, 200, {"ETag": f'"{digest}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"})

    def send_json(self, value: object, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing of each request on stderr, as the base class would."""


def blob_id(data: bytes) -> str:
    """Return git's hash of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def direct_to(patch: pytest.MonkeyPatch, address: str, cache: Path, *, offline: bool = False) -> None:
    """Have huggingface_hub, in this process, ask `address` instead of the Hub, with a cache and a token of its own."""
    constants = "huggingface_hub.constants"
    patch.setattr(f"{constants}.ENDPOINT", address)
    patch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(f"{constants}.HF_HUB_CACHE", str(cache))
    patch.setattr(f"{constants}.HF_HUB_OFFLINE", offline)
    patch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)
    patch.setenv("HF_TOKEN", TOKEN)


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve an empty Hub on a free loopback port."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
