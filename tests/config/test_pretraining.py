"""Settings of pre-training."""

import pytest

from fervit.config.pretraining import PretrainConfig, load_pretrain_config
from fervit.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mask_rato=0.5", "did you mean 'mask_ratio'"),
        ("augment.flip_pro=1", "did you mean 'augment.flip_prob'"),
        ("augment=3", "augment must be a table"),
        ("epochs=1.5", "epochs must be int"),
        ("epochs=-1", "epochs must be 0 or more"),
        ("mask_ratio=1.0", "mask_ratio must lie between"),
        ("decoder_width=90", "multiple of 4 and of decoder_heads"),
        ("augment.mix_prob=0.5", "mixes images"),
        ("precision=fp8", "unknown precision 'fp8'"),
        ("lr", "--set takes key=value"),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_what_is_right(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_pretrain_config([override])


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    changed = load_pretrain_config(["lr=1", "augment.shift=0"])
    assert (changed.lr, changed.augment.shift) == (1.0, 0.0)
    assert changed.augment.scale_min == PretrainConfig().augment.scale_min == 0.5
    assert load_pretrain_config() == PretrainConfig()
