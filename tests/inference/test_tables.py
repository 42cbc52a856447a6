"""Result files: what a killed run leaves is whole."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_rows_survive_a_kill(tmp_path: Path, tiny_onnx: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    code = (
        "import sys, time; import numpy as np; from pathlib import Path; from fervit.inference.tables import *\n"
        "from fervit.inference.results import FrameResult; from fervit.types import *\n"
        "labels = ('a', 'b'); out = Path(sys.argv[1])\n"
        "tables = [CsvTable(out / 'r.csv', labels, errors=False)]\n"
        "tables += [ParquetTable(out / 'r.parquet', labels, errors=False)]\n"
        "for k in range(10**6):\n"
        "    p = Prediction(Face(Box(0, 0, 9, 9), 0.9), labels, np.array([0.4, 0.6]), 1)\n"
        "    result = FrameResult('v', Frame(k, k / 100, np.zeros((1, 1, 3), np.uint8)), [p])\n"
        "    for table in tables: table.write(result)\n"
        "    if k == 250: print('go', flush=True)\n"
        "    time.sleep(0.01)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    csv, parquet = pandas.read_csv(tmp_path / "r.csv"), pandas.read_parquet(tmp_path / "r.parquet")
    assert csv.frame.tolist() == list(range(len(csv))) and len(csv) > 250
    assert parquet.frame.tolist() == list(range(len(parquet))) and len(parquet) > len(csv) - 150
