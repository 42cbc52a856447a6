"""`fervit cache`: list and clear."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import STDOUT, check_target, listing_group, write_json
from fervit.errors import ConfigError, DataError, unknown
from fervit.formatting import file_size, text_table

if TYPE_CHECKING:
    from fervit.data.cache.space import CacheEntry

HOUR_S, DAY_S = 3600, 86_400


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    group = listing_group(
        list_,
        "List or clear what is kept to be opened quickly: decoded data sets, and fetched weights; see FERVIT_CACHE and "
        "FERVIT_CACHE_LIMIT in docs/data.md.",
    )
    group.command("list")(list_)
    group.command()(clear)
    app.add_typer(group, name="cache")


def list_(
    json: Annotated[str | None, typer.Option(metavar="FILE|-", help="Write it as JSON; - is the terminal.")] = None,
) -> None:
    """Show what the cache holds, how much it takes, and when it was used last."""
    from fervit.data.cache.contents import list_cache
    from fervit.data.cache.space import cache_limit
    from fervit.files import cache_folder

    check_target("--json", json)
    entries, limit = list_cache(), cache_limit()
    if json is not None:
        write_json(
            json,
            {
                "folder": str(cache_folder()),
                "limit_bytes": limit,
                "size_bytes": sum(entry.size_bytes for entry in entries),
                "entries": [
                    {
                        "name": _name(entry),
                        "what": entry.what,
                        "size_bytes": entry.size_bytes,
                        "used_s": entry.used_s,
                        "whole": entry.whole,
                    }
                    for entry in entries
                ],
            },
        )
    if json != STDOUT:
        typer.echo(as_text(entries, str(cache_folder()), limit))


def clear(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Entries, as `list` names them; default: all.")
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only what is damaged, unfinished or of another version of fervit.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete everything, fetched weights too, without a question.")
    ] = False,
) -> None:
    """Delete decoded data sets, which are decoded again when needed, and fetched weights, which are fetched again.

    Without names or --damaged, a terminal asks first; a script deletes the data sets only, and with --yes all.
    """
    from fervit.data.cache.contents import delete, list_cache
    from fervit.files import cache_folder

    if names and damaged:
        raise ConfigError("give names, or --damaged, not both")
    entries = list_cache()
    found = {_name(entry): entry for entry in entries}
    for name in names or ():
        if name not in found:
            raise DataError(unknown("cache entry", name, found))
    chosen = [found[name] for name in dict.fromkeys(names)] if names else entries
    if damaged:
        chosen = [entry for entry in entries if not entry.whole]
    elif not (names or yes):
        chosen = _agreed(entries)
    freed = delete(chosen)
    typer.echo(f"{cache_folder()}: {_count(len(chosen))} deleted, {file_size(freed)} freed")


def as_text(entries: "list[CacheEntry]", folder: str, limit: int | None) -> str:
    """Return what `fervit cache list` prints."""
    total = file_size(sum(entry.size_bytes for entry in entries))
    most = "no limit" if limit is None else f"limit {file_size(limit)} (FERVIT_CACHE_LIMIT)"
    summary = f"{folder}: {_count(len(entries))}, {total}; {most}"
    if not entries:
        return summary
    rows = [(_name(entry), entry.what, file_size(entry.size_bytes), _ago(entry.used_s)) for entry in entries]
    return "\n".join([text_table(("entry", "holds", "size", "used last"), rows), "", summary])


def _name(entry: "CacheEntry") -> str:
    """Return what an entry is called: its folder in the cache, `weights/NAME-VERSION` for fetched weights."""
    from fervit.data.cache.contents import is_weights

    return f"{entry.path.parent.name}/{entry.path.name}" if is_weights(entry) else entry.path.name


def _agreed(entries: "list[CacheEntry]") -> "list[CacheEntry]":
    """Return what may be deleted of everything: a person is asked, a script keeps the weights.

    Raises:
        Abort: the person does not agree.
    """
    from fervit.data.cache.contents import is_weights

    weights = [entry for entry in entries if is_weights(entry)]
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if weights:
            kept = file_size(sum(entry.size_bytes for entry in weights))
            typer.echo(f"kept: {_count(len(weights))} with weights, {kept}; --yes deletes them, too", err=True)
        return [entry for entry in entries if not is_weights(entry)]
    if entries:
        size, fetched = file_size(sum(entry.size_bytes for entry in entries)), len(weights)
        again = f", {fetched} of them with weights, which would be fetched again" if fetched else ""
        typer.confirm(f"Delete {_count(len(entries))}, {size}{again}?", abort=True, err=True)
    return entries


def _count(entries: int) -> str:
    return f"{entries:,} {'entry' if entries == 1 else 'entries'}"


def _ago(used_s: float) -> str:
    seconds = max(0.0, time.time() - used_s)
    if seconds < HOUR_S:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / HOUR_S:.0f} h ago" if seconds < DAY_S else f"{seconds / DAY_S:.0f} days ago"
