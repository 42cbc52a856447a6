"""The page in a real browser: one frame for image and bars, colours, a path prefix."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fervit.inference.loading import load
from fervit.media.style.colours import colour, on_light
from fervit.types import ModelSpec, Preprocess
from tests.helpers import write_onnx
from tests.helpers.browser import NEEDS_CHROMIUM, download, faults, film, keep, photo_file
from tests.helpers.nginx import NGINX, Nginx, documented
from tests.helpers.served import Served

expect = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright (PyPI)").expect

pytestmark = [NEEDS_CHROMIUM, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Served]:
    with Served("--model", model, "--rate", 0, "--max-body-mb", 1) as served:
        yield served


# Stands in for the stream to a slow service: every response takes 400 ms, and what it finds is the frame's own grey.
SLOW_FAKE = """
window.WebSocket = class {
  static OPEN = 1;
  readyState = 0;
  number = -1;
  constructor() { setTimeout(() => { this.readyState = 1; this.work(); }, 50); }
  send(blob) { this.waiting = [++this.number, blob]; }
  close() { this.closed = true; }
  async work() {
    while (!this.closed) {
      const [number, blob] = this.waiting ?? [];
      this.waiting = null;
      if (!blob) { await new Promise((done) => setTimeout(done, 5)); continue; }
      const image = await createImageBitmap(blob);
      const context = new OffscreenCanvas(1, 1).getContext("2d");
      context.drawImage(image, 0, 0, 1, 1);
      const grey = context.getImageData(0, 0, 1, 1).data[0] / 255;
      await new Promise((done) => setTimeout(done, 400));
      const probs = { angry: 1 - grey, disgust: 0, fear: 0, happy: grey, sad: 0, surprise: 0, neutral: 0 };
      const face = { box: [40, 40, 100, 100], face_score: 1, label: "happy", score: grey, probs, track: 1 };
      const row = { frame: number, dropped: 0, width: image.width, height: image.height, faces: [face] };
      const late = { ...row, frame: number - 1, faces: [] };
      for (const data of LATE ? [row, late] : [row]) this.onmessage?.({ data: JSON.stringify(data) });
    }
  }
};
"""


def greys(page: Any) -> tuple[float, float, float]:
    """Return the grey of the frame that the bars are of, of the one that is shown, and of the last downloaded row."""
    bars = page.locator("#bars li", has_text="happy").locator(".percent").inner_text()
    shown = page.evaluate("document.getElementById('canvas').getContext('2d').getImageData(5, 5, 1, 1).data[0]")
    rows = json.loads(download(page, "#json"))["rows"]
    return float(bars.rstrip("\u00a0 %")) / 100, shown / 255, rows[-1]["faces"][0]["probs"]["happy"]


def brightening(tmp_path: Path) -> Path:
    """Return a film of two seconds that becomes brighter with every frame."""
    return film(tmp_path / "grey.webm", (np.full((480, 640, 3), 20 + 7 * index, np.uint8) for index in range(30)))


@pytest.mark.parametrize("late", [False, True], ids=["in order", "with late responses"])
def test_at_the_end_of_a_clip_image_and_bars_are_of_its_last_frame(
    late: bool, visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(script=f"const LATE = {json.dumps(late)};{SLOW_FAKE}")
    page.set_input_files("#file", str(brightening(tmp_path)))
    expect(page.locator("#status")).to_have_text("Stopped.")
    bars, shown, row = greys(page)
    assert bars == pytest.approx(shown, abs=0.02) and bars == pytest.approx(row, abs=0.01)
    assert shown > 0.8, "the last frame, not one that happened to be answered"


def test_while_paused_and_when_stopped_image_and_bars_are_of_one_frame(
    visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(script=f"const LATE = false;{SLOW_FAKE}")
    page.set_input_files("#file", str(brightening(tmp_path)))
    expect(page.locator("#faces")).to_have_text("1")
    page.click("#pause")
    for _ in range(4):
        bars, shown, _ = greys(page)
        assert bars == pytest.approx(shown, abs=0.02)
        page.wait_for_timeout(250)
    page.click("#pause")
    page.wait_for_timeout(300)
    page.click("#stop")
    bars, shown, _ = greys(page)
    assert bars == pytest.approx(shown, abs=0.02)


@pytest.fixture(scope="module")
def own_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of labels of one's own, umlauts among them."""
    labels = ("müde", "wach", "happy", "neugierig", "gelangweilt", "überrascht", "幸せ", "ängstlich")
    spec = ModelSpec(arch="cnn", preprocess=Preprocess(32, (0.5,) * 3, (0.5,) * 3), labels=labels, name="own")
    path = tmp_path_factory.mktemp("own") / "own.onnx"
    write_onnx(path, {"fervit": spec.to_json()}, classes=len(labels))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_own_labels_have_the_colours_of_annotated_images(
    scheme: str, visit: Callable[..., Any], own_labels: Path, astronaut: np.ndarray
) -> None:
    with Served("--model", own_labels, "--image-workers", 0) as server:
        page = visit(url=server.url, color_scheme=scheme)
        page.set_input_files("#file", photo_file("a.jpg", astronaut))
        expect(page.locator("#faces")).to_have_text("1")
        fills = page.evaluate(
            "[...document.querySelectorAll('#bars .fill')].map(e => getComputedStyle(e).backgroundColor)"
        )
        labels = load(own_labels).spec.labels
        rule = [colour(label, labels) if scheme == "dark" else on_light(colour(label, labels)) for label in labels]
        assert fills == [f"rgb({r}, {g}, {b})" for r, g, b in rule] and len(set(fills)) == len(labels)
        assert faults(page) == []
        page.emulate_media(color_scheme={"light": "dark", "dark": "light"}[scheme])
        expect(page.locator("#bars .fill").first).not_to_have_css("background-color", fills[0])
        keep(page, f"own-labels-{scheme}")


@pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")
def test_behind_a_path_prefix_the_page_is_styled_and_works(
    visit: Callable[..., Any], model: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    inside, outside = documented()
    behind = ("--rate", 0, "--image-workers", 0, "--trusted-proxy", "127.0.0.1")
    with (
        Served("--model", model, *behind) as server,
        Nginx(tmp_path, inside.replace(":8000", f":{server.port}"), outside) as nginx,
    ):
        page = visit("/faces/", url=nginx.url, permissions=["camera"])
        expect(page.locator("#model")).to_contain_text("@")
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily").startswith("system-ui")
        page.set_input_files("#file", photo_file("a.jpg", astronaut))
        expect(page.locator("#faces")).to_have_text("1")
        page.click("#webcam")
        expect(page.locator("#fps")).to_have_text(re.compile("fps"))
        page.click("#stop")
        page.click("text=API")
        expect(page.locator("h2").first).to_have_text("POST /v1/predict")
        expect(page.locator("pre").first).to_contain_text(f"curl {nginx.url}/faces/v1/predict")
        page.click("text=Page")
        expect(page.locator("#model")).to_contain_text("@")
