"""`fervit serve`."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from fervit.cli._shared import MODEL, Detector, Device, ModelLabels, Revision, Runtime, Threads
from fervit.errors import MissingExtra

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets")

Model = Annotated[Path | None, typer.Option(help=MODEL)]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File whose first line is the bearer token that callers must send.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow a non-loopback --host without a token.")]
AllowOrigin = Annotated[list[str] | None, typer.Option(help="Origin of a foreign web page that may call; repeatable.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="Host name to respond to besides localhost, for a proxy on this machine; repeatable."),
]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(help="Address or network of a proxy whose X-Forwarded-For, -Proto and -Prefix count; repeatable."),
]
RootPath = Annotated[
    str, typer.Option(help="Path prefix under which a proxy shows the service, such as /faces; default: none.")
]
Workers = Annotated[int, typer.Option(min=1, help="Server processes, each with its own model.")]
ImageWorkers = Annotated[
    int | None, typer.Option(min=0, help="Processes that decode and detect; default: cores, at most 4.")
]
MinConfidence = Annotated[float, typer.Option(min=0, max=1, help="Label uncertain below this probability.")]
Formats = Annotated[str, typer.Option(help="Image formats accepted; AVIF and HEIC where this Python decodes them.")]
MaxBodyMb = Annotated[float, typer.Option(min=0.001, help="MB of one image.")]
MaxBatchBodyMb = Annotated[float, typer.Option(min=0.001, help="MB of one batch.")]
MaxBufferedMb = Annotated[float, typer.Option(min=0.001, help="MB of all uploads held at once.")]
MaxImages = Annotated[int, typer.Option(min=1, help="Images in a batch.")]
MaxMegapixels = Annotated[float, typer.Option(min=0.001, help="Megapixels of an image.")]
MaxFaces = Annotated[int, typer.Option(min=1, help="Faces returned per image.")]
MaxConnections = Annotated[int, typer.Option(min=1, help="Open connections.")]
MaxStreams = Annotated[int, typer.Option(min=0, help="Live streams at once.")]
Queue = Annotated[int, typer.Option(min=1, help="Images in work or waiting; more get 503.")]
Rate = Annotated[float, typer.Option(min=0, help="Requests a second per client; 0: no limit.")]
Burst = Annotated[int, typer.Option(min=1, help="Requests a client may make at once.")]
ReadTimeout = Annotated[float, typer.Option(min=0.1, help="Seconds for a request to come in.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds for its response.")]
BatchWindowMs = Annotated[float, typer.Option(min=0, help="Longest wait for more faces.")]
MaxBatch = Annotated[int, typer.Option(min=1, help="Faces classified at once.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(serve)


def serve(
    model: Model = None,
    revision: Revision = None,
    label_map: ModelLabels = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    allow_origin: AllowOrigin = None,
    allow_host: AllowHost = None,
    trusted_proxy: TrustedProxy = None,
    root_path: RootPath = "",
    workers: Workers = 1,
    image_workers: ImageWorkers = None,
    threads: Threads = None,
    runtime: Runtime = "onnxruntime",
    device: Device = "auto",
    min_confidence: MinConfidence = 0.0,
    detector: Detector = "auto",
    formats: Formats = "JPEG,PNG,WebP,AVIF,HEIC",
    max_body_mb: MaxBodyMb = 10,
    max_batch_body_mb: MaxBatchBodyMb = 40,
    max_buffered_mb: MaxBufferedMb = 256,
    max_images: MaxImages = 16,
    max_megapixels: MaxMegapixels = 25,
    max_faces: MaxFaces = 64,
    max_connections: MaxConnections = 512,
    max_streams: MaxStreams = 8,
    queue: Queue = 64,
    rate: Rate = 20,
    burst: Burst = 40,
    read_timeout: ReadTimeout = 10,
    timeout: Timeout = 20,
    batch_window_ms: BatchWindowMs = 4,
    max_batch: MaxBatch = 32,
) -> None:
    """Serve recognition over HTTP, and a web page with photo, video and webcam."""
    if not all(find_spec(name) for name in PACKAGES):
        raise MissingExtra("fervit serve", "serve")
    from fervit.serve.launch import run
    from fervit.serve.settings import MB, Settings, read_token

    settings = Settings(model, runtime, min_confidence, detector, host, port, insecure=insecure)
    settings = replace(settings, revision=revision, label_map=tuple(label_map or ()))
    settings = replace(settings, token=read_token(token_file) if token_file else None)
    settings = replace(settings, trusted_proxies=tuple(trusted_proxy or ()), root_path=root_path.removesuffix("/"))
    settings = replace(settings, allow_origins=tuple(allow_origin or ()), allow_hosts=tuple(allow_host or ()))
    settings = replace(settings, workers=workers, image_workers=image_workers, threads=threads, device=device)
    settings = replace(settings, formats=tuple(name.strip() for name in formats.split(",") if name.strip()))
    settings = replace(settings, max_body=round(max_body_mb * MB), max_batch_body=round(max_batch_body_mb * MB))
    settings = replace(settings, max_buffered=round(max_buffered_mb * MB), max_pixels=round(max_megapixels * MB))
    settings = replace(settings, max_images=max_images, max_faces=max_faces, queue=queue, rate=rate, burst=burst)
    settings = replace(settings, max_connections=max_connections, max_streams=max_streams)
    settings = replace(settings, read_timeout_s=read_timeout, timeout_s=timeout)
    settings = replace(settings, window_s=batch_window_ms / 1000, max_batch=max_batch)
    run(settings, lambda url: typer.echo(f"fervit serves {url} (Ctrl-C ends)"))
