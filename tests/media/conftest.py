"""Fixtures of the tests of photos and videos."""

import pytest

import fervit.media.video


@pytest.fixture(params=["pyav", "opencv"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with PyAV and as if it were not installed."""
    if request.param == "pyav":
        pytest.importorskip("av")
    else:
        monkeypatch.setattr(fervit.media.video, "find_spec", lambda name: None)
    return str(request.param)
