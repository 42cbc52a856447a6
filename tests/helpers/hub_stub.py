"""A loopback stand-in for the Hugging Face Hub: serves one data set repository from a folder."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


def serve(folder: Path, repo: str) -> ThreadingHTTPServer:
    """Serve the files of `folder` as the data set `repo` on a free loopback port, in a daemon thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            api, files = f"/api/datasets/{repo}", f"/datasets/{repo}/resolve/{SHA}/"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if path in (api, f"{api}/revision/{SHA}"):
                names = [{"rfilename": name} for name in listing(folder)]
                self.send_json({"id": repo, "sha": SHA, "siblings": names, "private": False, "tags": []})
            elif path.startswith(f"{api}/tree/{SHA}"):
                inside = path.removeprefix(f"{api}/tree/{SHA}").strip("/")
                deep = "recursive=true" in self.path.lower()
                found = [describe(folder, name) for name in listing(folder, inside, deep)]
                self.send_json(found) if found else self.send_bytes(b"", 404, {"X-Error-Code": "EntryNotFound"})
            elif path == f"{api}/paths-info/{SHA}":
                wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
                self.send_json([describe(folder, name) for name in wanted if (folder / name).exists()])
            elif path.startswith(files) and (folder / path.removeprefix(files)).is_file():
                self.send_file(folder / path.removeprefix(files))
            else:
                reason = "EntryNotFound" if path.startswith((api, files)) else "RepoNotFound"
                self.send_bytes(b"", 404, {"X-Error-Code": reason})

        do_HEAD = do_POST = do_GET

        def send_json(self, value: object) -> None:
            self.send_bytes(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

        def send_file(self, path: Path) -> None:
            data = path.read_bytes()
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
            if span := self.headers.get("Range"):
                first, last = span.removeprefix("bytes=").split("-")
                start, stop = int(first or 0), min(int(last or len(data)) + 1, len(data))
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
                self.send_bytes(data[start:stop], 206, headers)
            else:
                self.send_bytes(data, 200, headers)

        def send_bytes(self, data: bytes, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing of each request on stderr, as the base class would."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def listing(folder: Path, inside: str = "", deep: bool = True) -> list[str]:
    """Return the paths of all files (and, unless `deep`, of the folders directly below), relative, with `/`."""
    paths = (folder / inside).rglob("*") if deep else (folder / inside).glob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file() or not deep)


def describe(folder: Path, name: str) -> dict[str, object]:
    """Return what the Hub's API says of a file or folder."""
    path = folder / name
    if path.is_dir():
        return {"type": "directory", "oid": SHA, "size": 0, "path": name}
    data = path.read_bytes()
    return {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": name}
