"""`fervit serve`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from fervit.cli._shared import DETECTORS, MODEL
from fervit.errors import MissingExtra

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets")


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(serve)


def serve(
    model: Annotated[Path | None, typer.Option(help=MODEL)] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the bearer token that callers must send.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow a non-loopback --host without a token.")] = False,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Origin of a foreign web page that may call; repeatable.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name to answer to besides localhost, for a proxy on this machine; repeatable."),
    ] = None,
    trusted_proxy: Annotated[
        str | None, typer.Option(help="Address of the proxy whose X-Forwarded-For is believed.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Server processes, each with its own model.")] = 1,
    image_workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode and detect; default: cores, at most 4.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    runtime: Annotated[
        str, typer.Option(help="onnxruntime, openvino, or auto: the faster one that is installed.")
    ] = "onnxruntime",
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Answer uncertain below this probability.")] = 0.0,
    detector: Annotated[str, typer.Option(help=DETECTORS)] = "auto",
    formats: Annotated[str, typer.Option(help="Picture formats taken.")] = "JPEG,PNG,WebP",
    max_body_mb: Annotated[float, typer.Option(min=0.001, help="MB of one picture.")] = 10,
    max_batch_body_mb: Annotated[float, typer.Option(min=0.001, help="MB of one batch.")] = 40,
    max_buffered_mb: Annotated[float, typer.Option(min=0.001, help="MB of all uploads held at once.")] = 256,
    max_images: Annotated[int, typer.Option(min=1, help="Pictures in a batch.")] = 16,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Megapixels of a picture.")] = 25,
    max_faces: Annotated[int, typer.Option(min=1, help="Faces answered per picture.")] = 64,
    max_connections: Annotated[int, typer.Option(min=1, help="Open connections.")] = 512,
    max_streams: Annotated[int, typer.Option(min=0, help="Live streams at once.")] = 8,
    queue: Annotated[int, typer.Option(min=1, help="Pictures in work or waiting; more get 503.")] = 64,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second per client; 0: no limit.")] = 20,
    burst: Annotated[int, typer.Option(min=1, help="Requests a client may make at once.")] = 40,
    read_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for a request to come in.")] = 10,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for its answer.")] = 20,
    batch_window_ms: Annotated[float, typer.Option(min=0, help="Longest wait for more faces.")] = 4,
    max_batch: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 32,
) -> None:
    """Answer over HTTP, and show a web page with photo, video and webcam."""
    if not all(find_spec(name) for name in PACKAGES):
        raise MissingExtra("fervit serve", "serve")
    from fervit.serve.launch import run
    from fervit.serve.settings import MB, Settings, read_token

    settings = Settings(
        model=model,
        runtime=runtime,
        min_confidence=min_confidence,
        detector=detector,
        host=host,
        port=port,
        token=read_token(token_file) if token_file else None,
        insecure=insecure,
        allow_origins=tuple(allow_origin or ()),
        allow_hosts=tuple(allow_host or ()),
        trusted_proxy=trusted_proxy,
        workers=workers,
        image_workers=image_workers,
        threads=threads,
        max_body=round(max_body_mb * MB),
        max_batch_body=round(max_batch_body_mb * MB),
        max_buffered=round(max_buffered_mb * MB),
        max_images=max_images,
        max_pixels=round(max_megapixels * MB),
        formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
        max_faces=max_faces,
        max_connections=max_connections,
        max_streams=max_streams,
        queue=queue,
        rate=rate,
        burst=burst,
        read_timeout_s=read_timeout,
        timeout_s=timeout,
        window_s=batch_window_ms / 1000,
        max_batch=max_batch,
    )
    run(settings, lambda url: typer.echo(f"fervit serves {url} (Ctrl-C ends)"))
