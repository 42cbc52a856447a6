"""Recipes and their settings."""

from dataclasses import fields
from pathlib import Path

import pytest

from fervit.config.augmentation import DEGRADATIONS, AugmentConfig
from fervit.config.training import TrainConfig, load_config, recipe_names
from fervit.errors import ConfigError


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_loads(name: str) -> None:
    assert load_config(name).epochs >= 1


def test_paper_recipe_says_what_the_paper_says() -> None:
    config = load_config("paper")
    assert config.lr == 2e-5
    assert config.augment.blur_prob > 0
    assert config.augment.brightness > 0
    assert config.label_smoothing == config.votes_weight == config.ema_decay == 0


def test_overrides_reach_nested_keys_and_keep_their_types() -> None:
    config = load_config("paper", ["epochs=3", "lr=1", "augment.flip_prob=0.5", "init=./here", "drop_not_a_face=true"])
    assert (config.epochs, config.lr, config.augment.flip_prob, config.init, config.drop_not_a_face) == (
        3,
        1.0,
        0.5,
        "./here",
        True,
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "did you mean 'epochs'"),
        ("augment.flip=0.5", "did you mean 'augment.flip_prob'"),
        ("augment=3", "must be a table"),
        ("augment.augment.x=3", "unknown key"),
        ("epochs=many", "must be int, got 'many'"),
        ("epochs=0", "above 0"),
        ("epochs=true", "must be int"),
        ("warmup=1.0", r"\[0, 1\), got 1.0"),
        ("drop_path=1.0", r"\[0, 1\), got 1.0"),
        ("patience=-1", "0 or more, got -1"),
        ("weight_decay=-0.1", "0 or more, got -0.1"),
        ("grad_clip=inf", "0 or more, got inf"),
        ("ema_decay=2", "between 0 and 1"),
        ("augment.flip_prob=7.0", r"augment.flip_prob must lie between 0 and 1, got 7.0"),
        ("augment.shift=-1.0", "augment.shift must be 0 or more"),
        ("augment.scale_min=0.0", r"augment.scale_min must be above 0 and at most scale_max \(1.0\), got 0.0"),
        ("augment.scale_max=0.5", "augment.scale_min"),
        ("augment.jpeg_prob=1.5", "augment.jpeg_prob must lie between 0 and 1, got 1.5"),
        ("augment.noise_pro=0.5", "did you mean 'augment.noise_prob'"),
        ("augment.jpeg_min=0", "augment.jpeg_min must lie between 1 and 95, got 0"),
        ("augment.jpeg_min=9.5", "augment.jpeg_min must be int, got 9.5"),
        ("augment.low_res_min=1", "augment.low_res_min must lie between 2 and 1024, got 1"),
        ("augment.gamma_max=0.5", "augment.gamma_max must lie between 1.0 and 10.0, got 0.5"),
        ("augment.dark_min=0.0", "augment.dark_min must lie between 0.01 and 1.0, got 0.0"),
        ("augment.shadow_min=0.95", "augment.shadow_min must lie between 0.0 and 0.9, got 0.95"),
        ("augment.turn_deg=-1.0", "augment.turn_deg must be 0 or more, got -1.0"),
        ("lr.x=1", "lr.x: lr is a plain value"),
        ("schedule=cosin", "did you mean 'cosine'"),
        ("lr", "key=value"),
        ("lr=nan", "above 0"),
    ],
)
def test_a_bad_override_names_the_way_out(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("paper", [override])


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'paper'"):
        load_config("papr")


def test_recipe_file_that_is_missing_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe at"):
        load_config(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("lr = = 3")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(broken)


def test_defaults_switch_every_augmentation_off() -> None:
    config = AugmentConfig()
    assert not any((config.flip_prob, config.rotate_deg, config.shift, config.blur_prob, config.erase_prob))
    assert not any(getattr(config, name) for name in DEGRADATIONS)
    assert {field.name for field in fields(config) if field.name.endswith("_prob")} - set(DEGRADATIONS) == {
        *("flip_prob", "blur_prob", "erase_prob", "mix_prob")
    }
    assert TrainConfig().augment == config
