"""What the user says about labels: `--label-map` and `--drop-labels`, read and checked for themselves."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fervit.errors import ConfigError, quoted, reason, unknown
from fervit.files import read_regular
from fervit.labels import LABEL_SETS, clean_label

LabelMap = str | Path | Mapping[str, str] | Mapping[int, str] | Sequence[str | Path]
"""How labels are renamed: `old=new,...`, a TOML file, the name of a label set for numbers, a mapping, or several."""
DropLabels = str | Sequence[str]
"""Labels whose images are left out: `contempt,neutral`, or several such texts."""

NUMBERED = re.compile(r"(?:label|class|emotion|expression)?[ _-]*([0-9]{1,3})", re.IGNORECASE)  # 3, LABEL_3
MAP_HINT = f"--label-map {', '.join(LABEL_SETS)}, FILE.toml, or pairs such as 0=angry,1=disgust"
EXAMPLES = {"label_map": "suprise=surprise or raf7, a mapping or a TOML file", "drop_labels": "contempt,neutral"}
MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True)
class LabelRules:
    """What the user says about labels.

    Attributes:
        names: a source's label to the data set's.
        number_set: the label set in `LABEL_SETS` that names a source's numbers, if any.
        optional: those of `names` that need not occur, since they come from a file that may serve several sources.
        drop: labels whose images are left out, by their new or their old name.
        shared: whether the rules serve several sources, so that those about labels that a source lacks are passed over.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    number_set: str | None = None
    optional: frozenset[str] = frozenset()
    drop: tuple[str, ...] = ()
    shared: bool = False

    def __bool__(self) -> bool:
        return bool(self.names or self.number_set or self.drop)


NO_RULES = LabelRules()


def read_rules(label_map: LabelMap | LabelRules | None = None, drop_labels: DropLabels | None = None) -> LabelRules:
    """Read what `--label-map` and `--drop-labels` say; rules that were read before stay as they are.

    >>> read_rules("suprise=surprise,joy=happy", "contempt").names["joy"]
    'happy'

    Raises:
        ConfigError: a rule is malformed, contradicts another one, or its file cannot be read.
    """
    if isinstance(label_map, LabelRules):
        return label_map
    names: dict[str, str] = {}
    optional: set[str] = set()
    number_set = None
    for item in _items("label_map", label_map, (str, Path, Mapping)):
        if isinstance(item, str) and item.strip().lower() in LABEL_SETS:
            if number_set not in (None, item.strip().lower()):
                raise ConfigError(f"--label-map names the numbers twice ({number_set}, {item}): give one label set")
            number_set = item.strip().lower()
            continue
        pairs, from_file = _pairs(item)
        for old, new in pairs:
            _add(names, clean_label(str(old)), clean_label(str(new)))
            optional |= {clean_label(str(old))} if from_file else set()
    drop = [clean_label(name) for text in _items("drop_labels", drop_labels, (str,)) for name in str(text).split(",")]
    return LabelRules(names, number_set, frozenset(optional), tuple(dict.fromkeys(name for name in drop if name)))


def _items(option: str, value: object, kinds: tuple[type, ...]) -> list[object]:
    """Return the values of an option that takes one or several.

    Raises:
        ConfigError: it is, or holds, something else.
    """
    if value is None:
        return []
    items = [value] if isinstance(value, kinds) else list(value) if isinstance(value, list | tuple) else None
    if items is None or not all(isinstance(item, kinds) for item in items):
        raise ConfigError(f"expected {option} to be text such as {EXAMPLES[option]}, or a list, got {quoted(value)}")
    return items


def _add(names: dict[str, str], old: str, new: str) -> None:
    """Add a rule.

    Raises:
        ConfigError: a side is empty, or there is another rule for the same label.
    """
    if not old or not new:
        raise ConfigError(f"--label-map: a name is missing in {old}={new}; expected old=new")
    if names.setdefault(old, new) != new:
        raise ConfigError(f"--label-map calls {old} both {names[old]} and {new}; expected one name for each label")


def _pairs(item: object) -> tuple[Iterable[tuple[object, object]], bool]:
    """Return the rules of one item, and whether they come from a file."""
    if isinstance(item, Mapping):
        return item.items(), False
    if isinstance(item, Path) or "=" not in str(item) or Path(str(item)).suffix.lower() == ".toml":
        return _read_file(Path(str(item))), True
    pairs = []
    for part in str(item).split(","):
        old, equals, new = part.partition("=")
        if not equals:
            raise ConfigError(f"--label-map takes old=new, a TOML file or {', '.join(LABEL_SETS)}; got {part!r}")
        pairs.append((old, new))
    return pairs, False


def _read_file(path: Path) -> list[tuple[str, str]]:
    """Read a TOML file of `old = "new"` lines.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    path = path.expanduser()
    if path.suffix.lower() != ".toml" and not path.exists():
        choices = unknown("label set", str(path), LABEL_SETS)
        raise ConfigError(f"--label-map takes pairs old=new, a TOML file, or a label set for numbers: {choices}")
    try:
        table = tomllib.loads(read_regular(path, limit=MAX_FILE_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({reason(error)})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} is no TOML file of lines such as suprise = "surprise" ({reason(error)})') from error
    if wrong := [key for key, value in table.items() if not isinstance(value, str)]:
        raise ConfigError(f'{path}: {wrong[0]} is no text; expected lines such as 0 = "angry"')
    return list(table.items())
