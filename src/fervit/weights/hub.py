"""Models of the Hugging Face Hub: `owner/name` or `owner/name@revision`, fetched into the Hub's own cache.

Of a repository, only the files of a model folder are fetched: two JSON files, safetensors, and the exported model where
PyTorch is missing. Where a file of weights has its SHA-256 as its name in the cache, it is compared with it.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fervit.errors import MissingExtra, ModelError, quoted, reason, request_reason
from fervit.files import PICKLE_SUFFIXES, file_digest
from fervit.weights.layout import (
    ADAPTER,
    CONFIG,
    ENSEMBLE_FILE,
    INDEX,
    MEMBERS,
    ONNX,
    PROCESSOR,
    SHA256,
    WEIGHTS,
    list_shards,
    read_object,
)

log = logging.getLogger(__name__)

NAME = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"  # of an owner or a repository, as the Hub allows it
HUB_ID = re.compile(rf"({NAME}/{NAME})(?:@([^@\s]{{1,200}}))?", re.ASCII)
FILE_SUFFIXES = frozenset({".onnx", ".xml", ".safetensors", ".json", *PICKLE_SUFFIXES})  # of what is meant as a file
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class HubId:
    """A model of the Hub: its repository `owner/name`, and the branch, tag or commit that is wanted (None: `main`)."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def parse_hub_id(text: str, revision: str | None = None) -> HubId | None:
    """Return the Hub id that a text is; None where it looks like a path.

    >>> parse_hub_id("owner/name@v1.0")
    HubId(repo='owner/name', revision='v1.0')
    >>> parse_hub_id("./owner/name"), parse_hub_id("models/mine.onnx")
    (None, None)

    Raises:
        ModelError: the text names a revision, and `revision` is another one.
    """
    match = HUB_ID.fullmatch(text)
    if match is None or Path(match[1]).suffix.lower() in FILE_SUFFIXES:
        return None
    if match[2] and revision and match[2] != revision:
        raise ModelError(f"{text} names the revision {match[2]}, and revision= is {quoted(revision)}: give one of them")
    return HubId(match[1], match[2] or revision)


def find_folder(name: str) -> Path:
    """Return the folder of a model: `name` itself where it is one, or where a Hub id's files are, fetched if needed.

    Raises:
        ModelError: see `fetch`; or it is neither.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    hub_id = parse_hub_id(name)
    if hub_id is None:
        raise ModelError(f"no model folder at {name}, and it is no Hub id owner/name")
    return fetch(hub_id)


def cached_file(hub_id: HubId, name: str) -> Path | None:
    """Return a file of a model that was fetched before, or None."""
    found = _look_up(hub_id.repo, name, hub_id.revision)
    return Path(found) if isinstance(found, str) else None


def fetch(hub_id: HubId) -> Path:
    """Return the folder in the Hub's cache with a model's files, all of one commit; what is missing is fetched.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        ModelError: there is no such model, revision or file, it may not be read, or the Hub cannot be reached; or a
            file of weights in the cache is not what the Hub had.
    """
    if find_spec("huggingface_hub") is None:
        raise MissingExtra(f"{hub_id}, which is no file or folder here and would be a model of the Hub,", "hub")
    with _explained(hub_id), quiet_unless_watched():
        folder, files = _Repository(hub_id).fetch()
    for file in files:
        _check_content(file)
    return folder


class _Repository:
    """The files of one repository, all of them of the commit that its first file was of."""

    def __init__(self, hub_id: HubId):
        from huggingface_hub import constants

        self.hub_id, self.revision = hub_id, hub_id.revision
        # huggingface_hub asks again for most of a minute before it takes what its cache has.
        self.unreachable = None if constants.is_offline_mode() else _why_unreachable(constants.ENDPOINT)

    def fetch(self) -> tuple[Path, list[Path]]:
        """Return the folder, and its files of weights."""
        config = self._file(CONFIG, optional=True)
        if config is not None:
            self.revision = config.parent.name
            return config.parent, self._model("")
        ensemble = self._file(ENSEMBLE_FILE, optional=True, certain=True)
        if ensemble is None:
            raise ModelError(f"{self.hub_id} is no model: it has no {CONFIG} on the Hub")
        self.revision = ensemble.parent.name
        entries = read_object(ensemble).get("members")
        names = (
            [str(entry.get("folder")) for entry in entries if isinstance(entry, dict)]
            if isinstance(entries, list)
            else []
        )
        files = [file for name in names if re.fullmatch(NAME, name) for file in self._member(f"{MEMBERS}/{name}/")]
        return ensemble.parent, files  # what is wrong with the list is said by who reads it

    def _member(self, within: str) -> list[Path]:
        self._file(within + CONFIG)
        return self._model(within)

    def _model(self, within: str) -> list[Path]:
        """Fetch the files of a model beside its configuration; return those of its weights."""
        self._file(within + PROCESSOR, optional=True, certain=True)
        if find_spec("torch") is None or find_spec("transformers") is None:  # then the exported model can be run
            return [found for found in [self._file(within + ONNX, optional=True)] if found is not None]
        self._file(within + ADAPTER, optional=True)
        weights = self._file(within + WEIGHTS, optional=True)
        if weights is not None:
            return [weights]
        index = self._file(within + INDEX, optional=True, certain=True)
        if index is None:
            raise ModelError(
                f"{self.hub_id} has no {WEIGHTS} on the Hub: fervit reads no pickles such as pytorch_model.bin, which "
                "can run code; ask its owner for safetensors, or name a revision that has them (owner/name@REVISION)"
            )
        return [file for shard in list_shards(index) if (file := self._file(within + shard)) is not None]

    def _file(self, name: str, *, optional: bool = False, certain: bool = False) -> Path | None:
        """Return one file, fetched where the cache lacks it.

        Args:
            name: in the repository.
            optional: None is returned where the repository has none.
            certain: of an optional file, whether None means that; else it may also be that the Hub cannot be asked.
        """
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(
                hf_hub_download(
                    self.hub_id.repo,
                    name,
                    revision=self.revision,
                    cache_dir=constants.HF_HUB_CACHE,
                    local_files_only=self.unreachable is not None,
                )
            )
        except LocalEntryNotFoundError as error:
            if optional and (not certain or self._known_absent(name)):
                return None
            raise ModelError(_out_of_reach(self.hub_id, self.unreachable or reason(error))) from error
        except EntryNotFoundError:
            if optional:
                return None
            raise

    def _known_absent(self, name: str) -> bool:
        """Return whether the Hub's cache notes that the repository has no such file."""
        from huggingface_hub import _CACHED_NO_EXIST

        return _look_up(self.hub_id.repo, name, self.revision) is _CACHED_NO_EXIST


def _look_up(repo: str, name: str, revision: str | None) -> object:
    """Return the path of a file in the Hub's cache as text, its mark for one that does not exist, or None."""
    from huggingface_hub import constants, try_to_load_from_cache

    return try_to_load_from_cache(repo, name, revision=revision, cache_dir=constants.HF_HUB_CACHE)


@contextlib.contextmanager
def _explained(hub_id: HubId) -> Iterator[None]:
    """Turn the Hub's errors into one line that says what to do."""
    from huggingface_hub import constants, errors

    place = constants.ENDPOINT
    try:
        yield
    except ModelError:
        raise
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{hub_id} is gated: accept its terms at {place}/{hub_id.repo}, then log in (`hf auth login`, or HF_TOKEN)"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"no model at {hub_id}: there is no such file or folder here, and {place} has none of that name, or a "
            "private one (log in with `hf auth login`, or set HF_TOKEN)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{hub_id.repo} has no revision {quoted(hub_id.revision)}: expected a branch, a tag or a commit of it"
        ) from error
    except errors.EntryNotFoundError as error:
        raise ModelError(f"{hub_id} lacks a file on the Hub: {reason(error)}") from error
    except errors.HFValidationError as error:
        raise ModelError(f"no model at {hub_id}, and it is no Hub id: {reason(error)}") from error
    except Exception as error:  # of httpx, hf_xet and the system, by version
        raise ModelError(f"{hub_id} cannot be fetched from {place}: {reason(error)}") from error


def _why_unreachable(address: str) -> str | None:
    """Return why an address cannot be reached, or None where it can."""
    import http.client
    import urllib.error
    import urllib.request  # here, as it takes several ms, and most models are files

    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "fervit"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return None
    except urllib.error.HTTPError:
        return None  # a refusal, too, shows that it can be reached
    except (OSError, ValueError, http.client.HTTPException) as error:
        return request_reason(error)


def _out_of_reach(hub_id: HubId, why: str) -> str:
    """Return what to say of a model that is not whole in the cache while the Hub cannot be asked."""
    from huggingface_hub import constants

    here = f"no model at {hub_id}: there is no such file or folder here, it is not whole in the Hub's cache"
    if constants.is_offline_mode():
        return f"{here} ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set: unset it to fetch it once"
    return (
        f"{here}, and {constants.ENDPOINT} cannot be reached ({why}): connect to the internet, or copy the model's "
        "folder here and name that"
    )


@contextlib.contextmanager
def quiet_unless_watched() -> Iterator[None]:
    """Show the progress bars of huggingface_hub on a terminal only, and none of its notes on retries."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hub = logging.getLogger("huggingface_hub")
    level, silenced = hub.level, not (sys.stderr.isatty() or are_progress_bars_disabled())
    hub.setLevel(logging.ERROR)
    if silenced:
        disable_progress_bars()
    try:
        yield
    finally:
        hub.setLevel(level)
        if silenced:
            enable_progress_bars()


def _check_content(file: Path) -> None:
    """Compare a file of weights with the SHA-256 that the Hub's cache has as its name, where it has one.

    Raises:
        ModelError: they differ.
    """
    kept = file.resolve()
    if SHA256.fullmatch(kept.name) and file_digest(kept) != kept.name:
        raise ModelError(
            f"{file.name} in the Hub's cache is damaged: its SHA-256 is not {kept.name[:12]}...; delete {kept}, and it "
            "is fetched again"
        )
