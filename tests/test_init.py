"""What `import fervit` gives, and what it leaves unimported."""

import subprocess
import sys

import pytest

import fervit


def test_public_names_are_lazy_and_complete() -> None:
    assert set(fervit.__all__) <= set(dir(fervit))
    for name in fervit.__all__:
        if name not in ("Dataset", "load_dataset"):
            assert getattr(fervit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        fervit.lod  # noqa: B018


def test_the_run_half_imports_neither_torch_nor_opencv() -> None:
    code = (
        "import sys, fervit; print('numpy' in sys.modules)\n"
        "fervit.load; fervit.annotate; import fervit.inference.rows\n"
        "print(*(m for m in ('torch', 'transformers', 'cv2', 'onnxruntime') if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["False", ""]
