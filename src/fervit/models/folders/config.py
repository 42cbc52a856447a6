# mypy: disallow-untyped-calls=False
"""`config.json` of anyone's model folder, checked before anything is built; Python code that it names is never run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from transformers import CONFIG_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, PreTrainedConfig

from fervit.errors import ModelError, reason
from fervit.weights.layout import CONFIG, MAX_DEPTH, read_object

# What transformers would follow to other files, to the Hub, or into packages that run code of their own.
REACHES_OUT = {
    "quantization_config": "says that the weights are quantised",
    "transformers_weights": "names a weights file of its own",
    "configuration_files": "names other configuration files",
    "use_pretrained_backbone": "names weights elsewhere",
}
KERNELS = ("attn_implementation", "experts_implementation")  # parts of keys whose value may name code on the Hub
UNREAD = ("fervit", "id2label", "label2id", "auto_map", "task_specific_params")  # checked where they are read, if ever
# Parts of the names of what a network has many of, and of factors on that; and the most that is credible of them.
REPEATED, MAX_REPEATS = ("layer", "depth", "block", "stage", "repeat", "head", "expert"), 1000
FACTORS, MAX_FACTOR = ("multiplier", "coefficient", "ratio", "factor", "width", "depth", "expansion"), 64
MAX_NUMBER, MAX_LENGTH = 1e9, 10_000


def read_config(folder: Path) -> PreTrainedConfig:
    """Return the configuration of a model folder, an image classifier of a kind that transformers or fervit has.

    Raises:
        ModelError: it is not readable, is of another kind, names code or files elsewhere, or a value is out of range.
    """
    path = folder / CONFIG
    try:
        values = read_object(path)
    except FileNotFoundError:
        raise ModelError(f"{folder} is no model folder: it has no {CONFIG}") from None
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        known = "expected that of an image classifier in transformers, or fervit's own"
        if "auto_map" in values:
            raise ModelError(
                f"{path}: model_type {kind!r} needs the folder's own Python code, which is never run; {known}"
            )
        raise ModelError(f"{path}: model_type {kind!r} is unknown; {known}")
    _check_values(path, values)
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[kind].from_dict(values)
        config.name_or_path = str(folder)
        usable = type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    except Exception as error:  # transformers checks with exceptions of many kinds
        raise ModelError(f"{path} does not describe a {kind!r}: {reason(error)}") from error
    if not usable:
        raise ModelError(f"{path}: a {kind!r} is no image classifier")
    return config


def _check_values(path: Path, values: Mapping[str, object]) -> None:
    """Refuse values that no network has; what remains is bounded, but may still not fit together."""
    for name, value in _entries(path, values):
        key = name.rpartition(".")[2]
        if key in REACHES_OUT and value not in (None, False):
            raise ModelError(f"{path} {REACHES_OUT[key]} ({name}); expected plain weights in its own folder")
        if any(part in key for part in KERNELS) and "/" in str(value):
            raise ModelError(f"{path}: {name} names code elsewhere ({str(value)[:80]!r}), which is never run")
        numbers = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, int | float)]
        numbers = [v for v in numbers if not isinstance(v, bool)]
        if not all(abs(v) <= MAX_NUMBER for v in numbers):  # also for NaN
            raise ModelError(f"{path}: {name} is {_short(value)}; expected finite numbers up to {MAX_NUMBER:,.0f}")
        whole = [v for v in numbers if isinstance(v, int)]
        if any(part in key for part in REPEATED) and "size" not in key and sum(map(abs, whole)) > MAX_REPEATS:
            raise ModelError(f"{path}: {name} is {_short(value)}; expected at most {MAX_REPEATS:,}")
        if any(part in key for part in FACTORS) and any(isinstance(v, float) and abs(v) > MAX_FACTOR for v in numbers):
            raise ModelError(f"{path}: {name} is {_short(value)}; expected a factor of at most {MAX_FACTOR}")


def _entries(
    path: Path, values: Mapping[str, object], within: str = "", depth: int = 0
) -> Iterator[tuple[str, object]]:
    """Yield every value with its dotted name, also those of objects within objects."""
    if depth > MAX_DEPTH:
        raise ModelError(f"{path}: {within[:100]}... is nested too deeply; expected at most {MAX_DEPTH} levels")
    for key, value in values.items():
        name = f"{within}{key}"
        if isinstance(value, list | str) and len(value) > MAX_LENGTH:
            raise ModelError(f"{path}: {name[:100]} has {len(value):,} entries; expected at most {MAX_LENGTH:,}")
        if key in UNREAD and not depth:
            continue
        yield name, value
        for k, part in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(part, dict):
                yield from _entries(path, part, f"{name}.{k}." if isinstance(value, list) else f"{name}.", depth + 1)
            elif isinstance(part, list) and isinstance(value, list):
                yield from _entries(path, {str(k): part}, f"{name}.", depth + 1)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
