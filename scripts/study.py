"""Train the rows of a study one after another, resumably, and write their table: what does each change bring?

Usage: python scripts/study.py scripts/studies/techniques.toml --data fer2013.parquet --votes ferplus.parquet
           --weights FOLDER --out runs/techniques [--threads 1] [--jobs 1] [--private] [--only ROW ...]

A study (TOML) holds `title`, `reference` (the row that the others are compared with), `seeds`, `set` (overrides of
every row) and rows with `name`, `recipe`, and optionally `set`, `init` (a file in --weights, or anything that --init
takes), `votes = true`, `plain = true` (without the study's `set`) and `pretrain` (overrides of a `fervit pretrain` that
makes the row's starting weights first).
A row whose run is complete is not run again; one that was interrupted goes on. Accuracy is that of public_test, with
McNemar's test against the reference for the same seed, and the difference in negative log-likelihood with its 95 %
interval over the images: it shows smaller changes. `--private` adds private_test, to be read once at the end.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fervit import probabilities
from fervit.data import PRIVATE_TEST, PUBLIC_TEST, load
from fervit.evaluation import intervals, metrics
from fervit.evaluation.comparison import mcnemar
from fervit.evaluation.prediction import predict_dataset
from fervit.models import TorchClassifier, load_checkpoint

Table = dict[str, Any]
"""A table of TOML: a study or one of its rows; or what a run's run.json holds."""

Probs = dict[tuple[str, str, int], np.ndarray]
"""`(N, K)` predictions by row, split and seed."""

KEYS = {"name", "recipe", "set", "init", "votes", "pretrain", "plain"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--votes")
    parser.add_argument("--weights", type=Path, default=Path())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--jobs", type=int, default=1, help="Runs at a time.")
    parser.add_argument("--private", action="store_true", help="Also read private_test.")
    parser.add_argument("--only", nargs="*", help="Names of the rows to run and show.")
    args = parser.parse_args()
    study = tomllib.loads(args.study.read_text(encoding="utf-8"))
    for row in study["row"]:
        if unknown := row.keys() - KEYS:
            parser.error(f"row {row.get('name')}: unknown {', '.join(sorted(unknown))}")
    rows = [row for row in study["row"] if not args.only or row["name"] in args.only]
    runs = [(row, seed) for row in rows for seed in study.get("seeds", [0])]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda run: _train(args, study, *run), runs))
    table = _table(args, study, rows)
    (args.out / "table.md").write_text(table, encoding="utf-8")
    print(table)


def settings_of(study: Table, row: Table) -> list[str]:
    """Return the overrides of a row's recipe, the study's first."""
    return [*([] if row.get("plain") else study.get("set", [])), *row.get("set", [])]


def _train(args: argparse.Namespace, study: Table, row: Table, seed: int) -> None:
    out = _folder(args, row, seed)
    if "public_test" in _read(out / "run.json"):
        return
    init = row.get("init", study.get("init"))
    if init and (args.weights / init).is_file():
        init = str(args.weights / init)
    if "pretrain" in row:
        init = _pretrain(args, row, seed, init)
    settings = [*settings_of(study, row), f"seed={seed}"]
    command = ["train", "--recipe", row["recipe"], "--data", args.data, "--out", str(out), *_sets(settings)]
    command += ["--init", init] if init else []
    command += ["--votes", args.votes] if row.get("votes", study.get("votes")) else []
    _fervit(args, out, command)


def _pretrain(args: argparse.Namespace, row: Table, seed: int, init: str | None) -> str:
    run = _folder(args, row, seed)
    out = run.with_name(f"{run.name}-pretrained")
    if not (out / "model.safetensors").is_file():
        command = ["pretrain", "--data", args.data, "--out", str(out), "--init", init]
        _fervit(args, out, [*command, *_sets([*row["pretrain"], f"seed={seed}"])])
    return str(out)


def _fervit(args: argparse.Namespace, out: Path, command: list[str]) -> None:
    words = [sys.executable, "-m", "fervit", *command]
    words += ["--threads", str(args.threads)] if args.threads else []
    words += ["--resume"] if out.exists() else []
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / f"{out.name}.log").open("a", encoding="utf-8") as log:
        code = subprocess.run(words, stdout=log, stderr=log, check=False).returncode
    print(f"{out.name}: {'done' if code == 0 else f'failed, see {log.name}'}", flush=True)


def _table(args: argparse.Namespace, study: Table, rows: list[Table]) -> str:
    dataset = load(args.data)
    splits = [PUBLIC_TEST, PRIVATE_TEST] if args.private else [PUBLIC_TEST]
    probs: Probs = {}
    done, sizes = [], {}
    for row in rows:
        for seed in study.get("seeds", [0]):
            folder = _folder(args, row, seed)
            if "public_test" not in _read(folder / "run.json"):
                continue
            model, spec = load_checkpoint(folder)
            sizes[row["name"]] = sum(p.numel() for p in model.parameters()) / 1e6
            for split in splits:
                probs[row["name"], split, seed] = predict_dataset(TorchClassifier(model, spec), dataset.split(split))
            done.append((row["name"], seed))
    head = ["row", "parameters", "epochs", "minutes"]
    head += [f"{split} {figure}" for split in splits for figure in ("accuracy (95 %)", "macro-F1", "NLL")]
    lines = [[*head, "accuracy against the reference, public_test", "NLL against the reference (95 %)"]]
    for name in dict.fromkeys(name for name, _ in done):
        seeds = [seed for other, seed in done if other == name]
        run = _read(_folder(args, {"name": name}, seeds[0]) / "run.json")
        cells = [name, f"{sizes[name]:.1f} M", str(run["config"]["epochs"]), f"{run['seconds'] / 60:.0f}"]
        for split in splits:
            cells += _figures([probs[name, split, seed] for seed in seeds], dataset.split(split).targets)
        cells += _against(name, study["reference"], seeds, probs, dataset.split(PUBLIC_TEST).targets)
        lines.append(cells)
    lines.insert(1, ["---"] * len(lines[0]))
    note = f"seeds: {', '.join(map(str, study.get('seeds', [0])))}; `python scripts/study.py {args.study}`"
    return "\n".join([study["title"], "", *("| " + " | ".join(cells) + " |" for cells in lines), "", note, ""])


def _figures(predictions: list[np.ndarray], targets: np.ndarray) -> list[str]:
    hits = [probs.argmax(axis=1) == targets for probs in predictions]
    f1 = [
        metrics.macro_f1(metrics.confusion_matrix(targets, probs.argmax(axis=1), probs.shape[1]))
        for probs in predictions
    ]
    if len(hits) == 1:
        low, high = intervals.wilson_interval(int(hits[0].sum()), len(targets))
        spread = f"{100 * low:.1f} to {100 * high:.1f}"
    else:
        spread = f"seeds {100 * min(h.mean() for h in hits):.1f} to {100 * max(h.mean() for h in hits):.1f}"
    loss = np.mean([metrics.nll(probs, targets) for probs in predictions])
    return [f"{100 * np.mean([h.mean() for h in hits]):.2f} % ({spread})", f"{np.mean(f1):.3f}", f"{loss:.3f}"]


def _against(name: str, reference: str, seeds: list[int], probs: Probs, targets: np.ndarray) -> list[str]:
    """Return the two cells that compare a row with the reference: McNemar for each seed, NLL over them together."""
    shared = [seed for seed in seeds if (reference, PUBLIC_TEST, seed) in probs]
    if name == reference or not shared:
        return ["", ""]
    words, gaps = [], []
    for seed in shared:
        pair = [probs[n, PUBLIC_TEST, seed] for n in (name, reference)]
        mine, theirs = (one.argmax(axis=1) == targets for one in pair)
        test = mcnemar(int((theirs & ~mine).sum()), int((mine & ~theirs).sum()))
        words.append(f"{100 * (mine.mean() - theirs.mean()):+.2f} points, p = {test.p:.2g}")
        of_truth = [one[np.arange(len(targets)), targets].clip(probabilities.SMALLEST_PROB) for one in pair]
        gaps.append(np.log(of_truth[1] / of_truth[0]))
    gap = np.mean(gaps, axis=0)  # of each image
    mean, half = gap.mean(), 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    return ["; ".join(words), f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"]


def _folder(args: argparse.Namespace, row: Table, seed: int) -> Path:
    out: Path = args.out
    return out / f"{row['name'].replace(' ', '-').replace(',', '')}-{seed}"


def _sets(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def _read(path: Path) -> Table:
    run: Table = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return run


if __name__ == "__main__":
    main()
