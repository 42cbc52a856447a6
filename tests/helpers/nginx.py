"""A real nginx in front of the service, with the configuration that docs/serve.md shows."""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.helpers import ROOT

NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    types {{ }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {outside}
    server {{
        listen 127.0.0.1:{port};
        {inside}
    }}
}}
"""


def documented() -> tuple[str, str]:
    """Return the two parts of the configuration in the docs: of the `server` block, and outside of it."""
    inside, outside = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(encoding="utf-8"), re.S)
    return inside, outside


class Nginx:
    """`with Nginx(folder, inside, outside) as nginx: nginx.url`."""

    def __init__(self, folder: Path, inside: str, outside: str):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        text = CONFIGURATION.format(folder=folder, port=self.port, inside=inside, outside=outside)
        (folder / "nginx.conf").write_text(text)

    def __enter__(self) -> "Nginx":
        assert NGINX is not None
        log = self.folder / "error.log"
        command = [NGINX, "-p", str(self.folder), "-e", str(log), "-c", str(self.folder / "nginx.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"nginx did not start: {log.read_text()}") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
