"""Load on `fervit serve`, on loopback only: requests/s, p50, p99 and peak memory, batched and one at a time.

python benchmarks/serve_load.py [--requests 400] [--model FILE.onnx] [--photo FILE.jpg] [--crop]

Four rows: 1, 8 and 32 clients on the service as it is, and 32 clients on the same service handling one
image at a time (one image process, batches of one, no overlap). Clients run in one process of their own with
a connection each, kept alive. Bounded: it stops after the given number of requests per row.
"""

import argparse
import asyncio
import dataclasses
import io
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CLIENTS = (1, 8, 32)
LIMITS = ("--rate", "0", "--queue", "128", "--timeout", "60")


def photo_bytes(path: Path | None) -> bytes:
    if path is not None:
        return path.read_bytes()
    from PIL import Image
    from skimage.data import astronaut

    file = io.BytesIO()
    Image.fromarray(astronaut()).save(file, "JPEG", quality=90)
    return file.getvalue()


class Service:
    """`fervit serve` on a free port; its processes' peak memory is read at the end."""

    def __init__(self, *arguments: str):
        command = [sys.executable, "-m", "fervit", "serve", "--port", "0", *LIMITS, *arguments]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        found = re.search(r":(\d+)", self.process.stdout.readline())
        if found is None:
            raise SystemExit("the service did not start")
        self.port = int(found[1])

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def peak_mb(self) -> float:
        """Return the sum of the peaks of the server and its image processes."""
        pids = [self.process.pid]
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            pids += [int(pid) for pid in (task / "children").read_text().split()]
        total = 0
        for pid in pids:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
            total += int(found[1]) if found else 0
        return total / 1024


@dataclass(frozen=True)
class Load:
    """What is sent: `requests` times the same photo to one address."""

    requests: int
    body: bytes
    query: str


async def send(load: Load, port: int, clients: int, lock: asyncio.Lock | None) -> list[float]:
    """Send all requests by `clients` clients; return every latency in seconds."""
    head = f"POST /v1/predict{load.query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    head += f"Content-Length: {len(load.body)}\r\n\r\n"
    message = head.encode() + load.body
    left = load.requests
    latencies: list[float] = []

    async def client() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            started = time.perf_counter()
            if lock is None:
                await exchange(reader, writer)
            else:
                async with lock:
                    await exchange(reader, writer)
            latencies.append(time.perf_counter() - started)
        writer.close()

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise SystemExit(head.decode())
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))

    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


def measure(name: str, service: Service, clients: int, load: Load, *, serial: bool = False) -> float:
    """Print one row; return its requests per second."""

    async def run() -> tuple[list[float], float]:
        lock = asyncio.Lock() if serial else None
        await send(dataclasses.replace(load, requests=16), service.port, min(clients, 4), lock)  # warm
        started = time.perf_counter()
        latencies = await send(load, service.port, clients, lock)
        return latencies, time.perf_counter() - started

    latencies, seconds = asyncio.run(run())
    latencies.sort()
    rate = len(latencies) / seconds
    p50, p99 = (1000 * latencies[min(len(latencies) - 1, int(q * len(latencies)))] for q in (0.5, 0.99))
    print(f"{name:<34} {rate:8.1f}/s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   peak {service.peak_mb():6.0f} MB")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--crop", action="store_true", help="no detection: decoding and the model only")
    options = parser.parse_args()
    model = ["--model", str(options.model)] if options.model else []
    load = Load(options.requests, photo_bytes(options.photo), "?crop=true" if options.crop else "")
    rates = {}
    for clients in CLIENTS:
        with Service(*model) as service:
            rates[clients] = measure(f"{clients} clients", service, clients, load)
    with Service(*model, "--image-workers", "1", "--max-batch", "1", "--batch-window-ms", "0") as service:
        name = "32 clients, one image at a time"
        single = measure(name, service, 32, load, serial=True)
    print(f"32 clients / one at a time: {rates[32] / single:.2f}x; 32 clients / 1 client: {rates[32] / rates[1]:.2f}x")


if __name__ == "__main__":
    main()
