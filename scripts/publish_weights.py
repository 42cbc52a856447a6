"""Make the registry of released weights from the folders in models/, and say what a release uploads.

Usage: python scripts/publish_weights.py [--url ADDRESS] [--write] [--check] [--assets DIR] [--models models]

Without options, nothing is written: it prints what would be uploaded, and whether `registry.json` is up to date.
`--write` writes src/fervit/weights/registry.json; `--check` only ends with status 1 where that would change it.
`--assets DIR` copies the files there under the names that they have in a release, to be uploaded with
`gh release upload TAG DIR/*`, or with `hf upload`. `--url` sets where they are then, with `{asset}` for a file's name:

    https://github.com/OWNER/fervit/releases/download/TAG/{asset}
    https://huggingface.co/OWNER/fervit-weights/resolve/REVISION/{asset}
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from fervit.files import file_digest
from fervit.formatting import file_size, text_table
from fervit.inference.model_files import folder_licences
from fervit.weights.layout import CONFIG, PROCESSOR, WEIGHTS
from fervit.weights.registry import (
    MODELS,
    REGISTRY,
    Registry,
    ReleasedFile,
    ReleasedModel,
    read_registry,
    registry_text,
)

CARD = "README.md"
RELEASED = (CONFIG, PROCESSOR, WEIGHTS, CARD)
FIGURES = ("public_test", "private_test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS, help="The folder of the model folders.")
    parser.add_argument("--url", help="Where the release has its files, with {asset} in it; default: as it was.")
    parser.add_argument("--write", action="store_true", help="Write the registry.")
    parser.add_argument("--check", action="store_true", help="End with status 1 where the registry is out of date.")
    parser.add_argument("--assets", type=Path, metavar="DIR", help="Copy the files there as a release names them.")
    args = parser.parse_args()
    registry = make_registry(args.models, read_registry().url if args.url is None else args.url)
    text = registry_text(registry)
    stale = text != REGISTRY.read_text(encoding="utf-8")
    if args.check:
        print(f"{REGISTRY.name} is {'out of date: run scripts/publish_weights.py --write' if stale else 'up to date'}")
        sys.exit(stale)
    if args.write:
        REGISTRY.write_text(text, encoding="utf-8")
    if args.assets is not None:
        copy_assets(registry, args.models, args.assets)
    print(describe(registry))
    print(
        f"\n{REGISTRY.name}: {'written' if args.write else 'out of date, --write writes it' if stale else 'up to date'}"
    )


def make_registry(models: Path, url: str) -> Registry:
    """Return the registry of the model folders in a folder."""
    folders = sorted(path.parent for path in models.glob(f"*/{CONFIG}"))
    if not folders:
        raise SystemExit(f"{models} has no model folders (no */{CONFIG})")
    if url and "{asset}" not in url:
        raise SystemExit(f"--url {url} has no {{asset}}, which stands for the name of a file")
    return Registry(url, {folder.name: describe_model(folder) for folder in folders})


def describe_model(folder: Path) -> ReleasedModel:
    """Return what the registry says of a model folder."""
    values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["fervit"]
    files = tuple(
        ReleasedFile(name, f"{folder.name}-{name}", file_digest(folder / name), (folder / name).stat().st_size)
        for name in RELEASED
    )
    figures = {split: values["metrics"][split]["accuracy"] for split in FIGURES if split in values["metrics"]}
    learnt = tuple(str(licence) for licence in folder_licences(folder))
    return ReleasedModel(folder.name, files, values["arch"], values["licence"], learnt, figures)


def copy_assets(registry: Registry, models: Path, target: Path) -> None:
    """Copy all files under the names that they have in a release."""
    target.mkdir(parents=True, exist_ok=True)
    for model in registry.models.values():
        for file in model.files:
            shutil.copy(models / model.name / file.name, target / file.asset)


def describe(registry: Registry) -> str:
    """Return a table of what is to be uploaded, and the next steps."""
    files = [file for model in registry.models.values() for file in model.files]
    rows = [(file.asset, file_size(file.size), file.sha256) for file in files]
    total = file_size(sum(file.size for file in files))
    place = registry.url or "nowhere yet: name the release's address with --url"
    return "\n".join(
        [
            text_table(("to upload", "size", "SHA-256"), rows),
            "",
            f"{len(files)} files, {total}; fetched from {place}",
            "",
            "1. python scripts/publish_weights.py --url ADDRESS/{asset} --write --assets DIR, and commit registry.json",
            "2. gh release upload TAG DIR/*    (or: hf upload OWNER/fervit-weights DIR .)",
            "3. with an empty FERVIT_CACHE and outside of the checkout: fervit weights fetch small",
        ]
    )


if __name__ == "__main__":
    main()
