"""Model folders that say that they have learnt from RAF-DB, for tests of where its licence travels."""

import json
from dataclasses import asdict
from pathlib import Path

from fervit.licences import KNOWN

RAF = KNOWN["rafdb"]


def learnt_from_raf(folder: Path) -> Path:
    """Write into a model folder that it was trained on RAF-DB, and return it."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.setdefault("fervit", {})["trained_on"] = [asdict(RAF)]
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder
