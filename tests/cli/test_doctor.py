"""`fervit doctor`."""

import json
from importlib.metadata import PackageNotFoundError, version

import pytest

import fervit
from fervit.api import diagnosis
from fervit.api.diagnosis import Check, Diagnosis
from fervit.cli.doctor import as_text
from tests.helpers.commands import run


def test_it_shows_what_works_and_its_json_has_the_same() -> None:
    done = run("doctor", "--json", "-")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["healthy"] and found["fervit"] == fervit.__version__
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states["numpy"] == states["mobilenet"] == states["face detector"] == "ok"
    assert {check["group"] for check in found["checks"]} >= {"system", "packages", "runtimes", "models", "extras"}


def test_a_needed_package_that_is_absent_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_numpy(package: str) -> str:
        if package == "numpy":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(diagnosis, "version", without_numpy)
    found = fervit.doctor()
    (broken,) = found.of_state("broken")
    assert not found.healthy and broken.name == "numpy" and broken.remedy.startswith("pip install 'numpy")
    assert as_text(found).endswith("cannot work here: numpy")


def test_secrets_and_the_home_folder_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERVIT_TOKEN", "hunter2")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("FERVIT_CACHE", "/home/somebody/faces")
    text = as_text(fervit.doctor())
    assert "hunter2" not in text and "somebody" not in text and "~/faces" in text


def test_the_text_names_the_way_out_below_each_finding() -> None:
    lines = as_text(
        Diagnosis("1.0", (Check("extras", "tune", "absent", "lacks optuna", "pip install x"),))
    ).splitlines()
    assert lines[0] == "extras" and lines[1].split() == ["absent", "tune", "lacks", "optuna"]
    assert lines[2].strip() == "-> pip install x" and lines[-1] == "fervit 1.0 works here"
