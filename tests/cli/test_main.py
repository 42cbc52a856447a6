"""The command line as a whole: real processes, exit codes, and one clear line for every mistake."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from PIL import Image

import fervit
from fervit.cli import main
from tests.helpers.weights import save_timm

Call: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fervit", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_version() -> None:
    assert call("--version").stdout == f"fervit {fervit.__version__}\n"


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fervit.cli import app; "
        "heavy = {'torch', 'transformers', 'numpy', 'cv2', 'onnxruntime', 'PIL'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    shown = call("--help").stdout
    assert all(name in shown for name in ("predict", "train", "evaluate", "export", "data", "demo"))


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the command line in this process: importing torch anew for each call takes ten seconds."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["fervit", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        assert isinstance(code, int)
        shown = capsys.readouterr()
        return subprocess.CompletedProcess([str(argument) for argument in arguments], code, shown.out, shown.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--recipe", "papr", "--data", "synthetic:70", "--out", "r"], "did you mean 'paper'"),
        (["train", "--set", "learning_rate=1", "--data", "synthetic:70", "--out", "r"], "unknown key 'learning_rate'"),
        (["train", "--data", "none.csv", "--out", "r"], "no data set at none.csv"),
        (["train", "--data", "synthetic:0", "--out", "r"], "synthetic"),
        (["train", "--data", "synthetic:70", "--out", "r", "--init", "none.safetensors"], "no weights at"),
        (["train", "--data", "synthetic:70", "--out", "r", "--init", "w.pt"], "pickle"),
        (["evaluate", "none.onnx", "--data", "synthetic:70"], "none.onnx"),
        (["evaluate", "m.bin", "--data", "synthetic:70"], "m.bin"),
        (["evaluate", "--data", "synthetic:70", "--split", "test"], "private_test"),
        (["export", "empty", "--out", "m.onnx"], "config.json"),
        (["export", "empty", "--out", "m.pt"], "onnx"),
        (["predict", "none.jpg"], "none.jpg"),
        (["predict", "empty"], "no images in empty"),
        (["data", "inspect", "empty"], "empty"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, inside: Call, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "w.pt").write_bytes(b"\x80\x04")
    (tmp_path / "m.bin").write_bytes(b"\x80\x04")
    done = inside(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fervit: ")
    assert message in lines[0]
    assert not (tmp_path / "r").exists() or not any((tmp_path / "r").iterdir())


@pytest.mark.slow
def test_a_mistake_in_a_process_of_its_own_is_reported_in_the_same_way(tmp_path: Path) -> None:
    done = call("predict", "none.jpg", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("fervit: ") and done.stderr.count("\n") == 1 and "none.jpg" in done.stderr


@pytest.mark.slow
def test_train_evaluate_export_predict_agree_from_end_to_end(tmp_path: Path, inside: Call) -> None:
    save_timm(tmp_path / "w.safetensors")
    options = ["--set", "image_size=32", "--set", "epochs=2", "--set", "lr=1e-3", "--data", "synthetic:140"]
    done = inside("train", *options, "--init", "w.safetensors", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "public_test accuracy" in done.stdout
    again = inside("train", *options, "--init", "w.safetensors", "--out", "run")
    assert again.returncode == 2 and "--resume" in again.stderr
    assert inside("export", "run", "--out", "m.onnx").returncode == 0
    reports = [
        json.loads(inside("evaluate", model, "--data", "synthetic:140", "--json", "-").stdout)
        for model in ("run", "m.onnx")
    ]
    assert reports[0]["confusion"] == reports[1]["confusion"]
    assert reports[0]["split"] == "public_test"
    figures = json.loads((tmp_path / "run" / "run.json").read_text())["public_test"]
    assert reports[0]["accuracy"] == pytest.approx(figures["accuracy"])

    face = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    Image.fromarray(face).save(tmp_path / "face.png")
    rows = [
        json.loads(inside("predict", "face.png", "--crop", "--json", "-", "--model", m).stdout)
        for m in ("run", "m.onnx")
    ]
    from transformers import pipeline

    answer = pipeline("image-classification", model=str(tmp_path / "run"), top_k=7)(
        Image.fromarray(face).convert("RGB")
    )
    for row in rows:
        assert {item["label"]: pytest.approx(item["score"], abs=1e-3) for item in answer} == row["probs"]
