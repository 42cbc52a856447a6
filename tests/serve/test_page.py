"""The page in a real browser: photo, video, webcam, messages, accessibility."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fervit.inference.loading import load
from tests.helpers.browser import NEEDS_CHROMIUM, download, faults, film, frames, keep, photo_file
from tests.helpers.served import Served

expect = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright (PyPI)").expect

TOKEN = "a-token-of-the-test/+=ok"

pytestmark = [NEEDS_CHROMIUM, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Served]:
    with Served("--model", model, "--rate", 0, "--max-body-mb", 1) as served:
        yield served


def test_a_photo_shows_its_box_count_and_label(visit: Callable[..., Any], astronaut: np.ndarray, model: Path) -> None:
    page = visit()
    upload = photo_file("astronaut.jpg", astronaut)
    page.set_input_files("#file", upload)
    (expected,) = load(model)(upload["buffer"])
    expect(page.locator("#status")).to_have_text(re.compile(rf"^1 face: {expected.label} \d+ %\.$"))
    expect(page.locator("#faces")).to_have_text("1")
    expect(page.locator("#bars li")).to_have_count(7)
    expect(page.locator("#bars .top span").first).to_have_text(expected.label)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile("1 face"))
    keep(page, "serve-page")
    record = json.loads(download(page, "#json"))
    assert record["rows"][0]["faces"][0]["label"] == expected.label
    assert record["rows"][0]["faces"][0]["box"] == pytest.approx(expected.face.box.to_list(), abs=0.1)
    image = Image.open(io.BytesIO(download(page, "#png")))
    assert image.size == (512, 512)
    changed = np.abs(np.asarray(image.convert("RGB")).astype(int) - astronaut).max(axis=2) > 60
    x1, y1, x2, y2 = (round(v) for v in expected.face.box.to_list())
    assert changed[y1 - 2 : y1 + 3, x1:x2].any(axis=0).mean() > 0.9, "the box's upper edge is drawn"
    assert not changed[y1 + 10 : y2 - 10, x1 + 10 : x2 - 10].any(), "the face itself is not covered"


def test_of_several_faces_one_is_chosen_by_keyboard(visit: Callable[..., Any], astronaut: np.ndarray) -> None:
    page = visit(color_scheme="dark")
    page.set_input_files("#file", photo_file("two.png", astronaut[:300, 100:400], astronaut[:300, 100:400], kind="PNG"))
    expect(page.locator("#status")).to_have_text(re.compile("^2 faces: "))
    page.locator("#choice").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#choice")).to_have_value("2")
    expect(page.locator("#bars .percent").first).to_have_text(re.compile(r"\d+ %"))
    rows = list(csv.DictReader(io.StringIO(download(page, "#csv").decode())))
    assert [row["face"] for row in rows] == ["1", "2"]
    assert abs(sum(float(rows[0][label]) for label in ("angry", "happy", "neutral")) - 1) < 1
    keep(page, "two-faces-dark")
    assert faults(page) == []


def test_no_face_and_no_image_are_reported(visit: Callable[..., Any]) -> None:
    page = visit(expected="422")
    page.set_input_files("#file", photo_file("grey.jpg", np.full((200, 300, 3), 128, np.uint8)))
    expect(page.locator("#status")).to_have_text("No face found.")
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\xe0broken"})
    expect(page.locator("#error")).to_contain_text("The image cannot be decoded")
    expect(page.locator("#faces")).to_have_text("–")


def test_an_oversize_file_shows_a_readable_message(visit: Callable[..., Any]) -> None:
    large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff" + bytes(1_500_000)}
    page = visit()
    page.set_input_files("#file", large)
    expect(page.locator("#error")).to_have_text(
        "The photo has 1.5 MB; this service takes at most 1.0 MB. Choose a smaller one."
    )
    keep(page, "oversize")
    assert faults(page) == []


def test_the_services_own_refusal_of_an_oversize_file_is_readable_too(visit: Callable[..., Any]) -> None:
    page = visit(expected="413")
    page.evaluate("File.prototype.__defineGetter__('size', () => 1)")
    large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff" + bytes(1_500_000)}
    page.set_input_files("#file", large)
    expect(page.locator("#error")).to_have_text("The request is too large: expected at most 1 MB.")


def test_the_webcam_streams_updates_pauses_and_stops(visit: Callable[..., Any]) -> None:
    page = visit(permissions=["camera"])
    page.locator("#webcam").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#fps")).to_have_text(re.compile(r"\d+\.\d fps"))
    expect(page.locator("#faces")).to_have_text("1")
    expect(page.locator("#latency")).to_have_text(re.compile(r"\d+ ms"))
    expect(page.locator("#timeline")).to_have_attribute("aria-label", re.compile("Probabilities from"))
    page.wait_for_timeout(1500)
    keep(page, "webcam")
    assert faults(page) == []
    expect(page.locator("#pause")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(500)
    held = json.loads(download(page, "#json"))["rows"]
    page.wait_for_timeout(500)
    assert len(json.loads(download(page, "#json"))["rows"]) == len(held) > 3
    page.click("#pause")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(700)
    page.click("#stop")
    expect(page.locator("#status")).to_have_text("Stopped.")
    rows = json.loads(download(page, "#json"))["rows"]
    assert len(rows) > len(held)
    times = [row["time_s"] for row in rows]
    assert times == sorted(times) and len({tuple(row["faces"][0]["box"]) for row in rows if row["faces"]}) > 3


def test_in_a_video_the_chosen_person_stays_chosen(
    visit: Callable[..., Any], astronaut: np.ndarray, tmp_path: Path
) -> None:
    pair = np.full((480, 640, 3), 90, np.uint8)
    pair[100:400, :300] = pair[100:400, 320:620] = astronaut[:300, 100:400]
    path = film(tmp_path / "two.webm", (np.roll(pair, 2 * index, axis=0) for index in range(30)))
    page = visit()
    page.set_input_files("#file", str(path))
    expect(page.locator("#choice option")).to_have_count(2)
    page.select_option("#choice", "2")
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.locator("#choice")).to_have_value("2")
    rows = json.loads(download(page, "#json"))["rows"]
    lefts = {
        track: {face["box"][0] for row in rows for face in row["faces"] if face["track"] == track} for track in (1, 2)
    }
    assert max(lefts[1]) < min(lefts[2]) or max(lefts[2]) < min(lefts[1]), "a track is one person"
    table = csv.DictReader(io.StringIO(download(page, "#csv").decode()))
    assert {row["face"] for row in table} == {"1", "2"}
    keep(page, "video-of-two")


def test_a_video_is_followed_to_its_end(visit: Callable[..., Any], astronaut: np.ndarray, tmp_path: Path) -> None:
    path = film(tmp_path / "film.webm", frames(astronaut, 30))
    page = visit()
    page.set_input_files("#file", str(path))
    expect(page.locator("#timeline-box")).to_be_visible()
    expect(page.locator("#faces")).to_have_text("1")
    expect(page.locator("#status")).to_have_text("Stopped.")
    rows = json.loads(download(page, "#json"))["rows"]
    assert len(rows) > 2 and 0 <= rows[0]["time_s"] < rows[-1]["time_s"] <= 2.1
    keep(page, "video")


def test_a_service_that_ends_is_said(visit: Callable[..., Any], model: Path) -> None:
    with Served("--model", model, "--image-workers", 0) as server:
        page = visit(url=server.url, expected="ERR_CONNECTION_REFUSED", permissions=["camera"])
        page.click("#webcam")
        expect(page.locator("#fps")).to_have_text(re.compile("fps"))
        server.stop()
        expect(page.locator("#error")).to_have_text("The service is restarting.")
        expect(page.locator("#json")).to_be_enabled()
        page.set_input_files("#file", photo_file("a.jpg", np.zeros((90, 90, 3), np.uint8)))
        expect(page.locator("#error")).to_have_text("The service cannot be reached. Is it still running?")


def test_a_file_that_is_no_video_is_said(visit: Callable[..., Any]) -> None:
    page = visit()
    page.set_input_files("#file", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no video"})
    expect(page.locator("#error")).to_contain_text("This browser cannot play the video")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_360_px_and_has_no_accessibility_fault(
    scheme: str, visit: Callable[..., Any], astronaut: np.ndarray
) -> None:
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    expect(page.locator("#model")).to_contain_text("@")
    assert faults(page) == []
    page.set_input_files("#file", photo_file("a.jpg", astronaut))
    expect(page.locator("#status")).to_have_text(re.compile("^1 face"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator("footer")).to_contain_text("expressions, not feelings")
    expect(page.locator("footer")).to_contain_text("Art. 5(1)(f)")
    assert faults(page) == []
    keep(page, f"narrow-{scheme}")


def test_everything_is_reached_by_keyboard(visit: Callable[..., Any], astronaut: np.ndarray) -> None:
    page = visit()
    page.set_input_files("#file", photo_file("a.jpg", astronaut))
    expect(page.locator("#json")).to_be_enabled()
    page.locator("h1").click()
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert reached[:6] == ["API", "file", "webcam", "json", "csv", "png"]


def test_the_api_page_shows_every_path_with_examples(visit: Callable[..., Any]) -> None:
    page = visit("/docs")
    expect(page.locator("h2").first).to_have_text("POST /v1/predict")
    expect(page.locator("main")).to_contain_text('"label": "happy"')
    expect(page.locator("main")).to_contain_text("WS /v1/stream")
    keep(page, "docs")
    assert faults(page) == []


def test_a_token_is_asked_for_and_used(
    visit: Callable[..., Any], model: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with Served("--model", model, "--token-file", tmp_path / "token", "--image-workers", 0) as server:
        page = visit(url=server.url, expected="401", permissions=["camera"])
        expect(page.locator("#token-form")).to_be_visible()
        assert faults(page) == []
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#token-form")).to_be_hidden()
        page.set_input_files("#file", photo_file("a.jpg", astronaut))
        expect(page.locator("#faces")).to_have_text("1")
        page.click("#webcam")
        expect(page.locator("#fps")).to_have_text(re.compile(r"fps"))
        page.click("#stop")
