"""Search spaces: what may vary, between which values, and what is wrong with one."""

from pathlib import Path

import pytest

from fervit.config.spaces import (
    Choices,
    Range,
    combinations,
    contains,
    find_space,
    read_grid,
    read_space,
    value_of,
    with_values,
)
from fervit.config.training import TrainConfig, load_config, recipe_names
from fervit.errors import ConfigError

CONFIG = load_config("tiny")


def space_of(tmp_path: Path, text: str) -> dict[str, Range | Choices]:
    (tmp_path / "my.toml").write_text(text)
    return dict(read_space(tmp_path / "my.toml", CONFIG))


def test_a_space_names_settings_as_set_does_and_has_their_types(tmp_path: Path) -> None:
    found = space_of(
        tmp_path,
        """
        lr = { low = 1e-5, high = 1, log = true }
        epochs = { low = 2, high = 8, step = 2 }
        weight_decay = { times = [0.5, 2] }
        batch_size = { times = [0.5, 2] }
        schedule = ["cosine", "linear"]
        drop_conflicts = { values = [true, false] }
        label_smoothing = [0, 0.1]
        "augment.erase_prob" = { low = 0, high = 1 }
        [augment.mix_prob]
        low = 0.0
        high = 0.5
        """,
    )
    assert found == {
        "lr": Range(1e-5, 1.0, log=True),
        "epochs": Range(2, 8, step=2),
        "weight_decay": Range(0.025, 0.1),
        "batch_size": Range(64, 256),
        "schedule": Choices(("cosine", "linear")),
        "drop_conflicts": Choices((True, False)),
        "label_smoothing": Choices((0.0, 0.1)),
        "augment.erase_prob": Range(0.0, 1.0),
        "augment.mix_prob": Range(0.0, 0.5),
    }
    ends = found["lr"], found["epochs"]
    assert [type(one.low) for one in ends if isinstance(one, Range)] == [float, int]
    assert space_of(tmp_path, "[space]\nschedule = ['cosine']") == {"schedule": Choices(("cosine",))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.toml is empty: expected settings to vary"),
        ("[space]", "my.toml is empty"),
        ("lrr = [1.0]", "my.toml: unknown key 'lrr': did you mean 'lr'?"),
        ("lrr = { times = [1, 2] }", "did you mean 'lr'?"),
        ("augment.flip_pro = [0.5]", "did you mean 'augment.flip_prob'?"),
        ("model.dropout = [0.5]", "unknown key 'model.dropout'"),
        ("lr = 1e-4", "lr must be a list of values, or a range such as"),
        ("lr = []", "lr has no values to choose from"),
        ("lr = { low = 1e-4 }", "lr needs numbers for low and high, got 0.0001 and None"),
        ("lr = { low = 1e-3, high = 1e-4 }", "lr: low must be below high, got 0.001 and 0.0001"),
        ("lr = { low = 0.0, high = 1e-4, log = true }", "lr: with log, low must be above 0"),
        ("lr = { low = -1.0, high = 1e-4 }", "lr must be above 0, got -1.0"),
        ("lr = { low = 1e-4, high = 1e-3, step = 1e-4, log = true }", "without log"),
        ("lr = { low = 1e-4, high = 1e-3, logg = true }", "lr: unknown word 'logg': did you mean 'log'?"),
        ("lr = { times = [1] }", "`times` is a list of two factors"),
        ("sam_rho = { times = [0.5, 2] }", "`times` needs a number other than 0 in the recipe, which has 0.0"),
        ("epochs = { low = 1.5, high = 3 }", "epochs must be int, got 1.5"),
        ("epochs = { low = 1, high = 3, step = 0.5 }", "step must be a whole number"),
        ("drop_path = { low = 0.0, high = 1.0 }", "drop_path must lie in [0, 1), got 1.0"),
        ("schedule = ['cosin']", "did you mean 'cosine'?"),
        ("schedule = [['cosine']]", "schedule takes plain values"),
        ("seed = [0, 1]", "seed cannot be tuned"),
        ("arch = ['vit']", "arch cannot be tuned"),
        ("lr = [", "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_space_is_one_line_with_the_way_out(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        space_of(tmp_path, text)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_space_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no search space at .*none\.toml"):
        read_space(tmp_path / "none.toml", CONFIG)


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_lies_within_a_space_that_fervit_has_for_it(recipe: str) -> None:
    config = load_config(recipe)
    space = read_space(find_space(recipe, config), config)
    assert {"lr", "weight_decay", "label_smoothing"} <= space.keys()
    assert all(value_of(config, key) is not None for key in space)


def test_a_space_beside_the_recipe_goes_first_and_is_no_recipe(tmp_path: Path) -> None:
    for name in ("mine.toml", "mine.space.toml"):
        (tmp_path / name).write_text("lr = 1e-4\n")
    assert find_space(tmp_path / "mine.toml", CONFIG) == tmp_path / "mine.space.toml"
    assert find_space(str(tmp_path / "other.toml"), CONFIG).name == "transformer.space.toml"
    assert find_space("cnn", load_config("cnn")).name == "convolutional.space.toml"
    assert [name for name in recipe_names() if "space" in name] == []


def test_a_grid_is_every_combination_in_order() -> None:
    space = read_grid(["lr=2e-5, 5e-5", "epochs=1,2", "schedule=cosine"], CONFIG)
    assert combinations(space) == [
        {"lr": lr, "epochs": epochs, "schedule": "cosine"} for lr in (2e-5, 5e-5) for epochs in (1, 2)
    ]
    steps = read_space({"drop_path": {"low": 0.0, "high": 0.3, "step": 0.1}, "epochs": {"low": 1, "high": 2}}, CONFIG)
    assert [round(float(row["drop_path"]), 6) for row in combinations(steps)] == [0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["lr"], "--grid takes key=value,value, got 'lr'"),
        (["lr="], "--grid takes key=value,value"),
        (["lrr=1"], "did you mean 'lr'"),
        (["lr=1e-4", "lr=1e-3"], "--grid names lr twice"),
        (["epochs=0"], "epochs must be above 0"),
    ],
)
def test_a_mistake_in_a_grid_is_named(grid: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_grid(grid, CONFIG)


def test_a_grid_of_a_range_needs_steps_and_has_an_end() -> None:
    with pytest.raises(ConfigError, match="needs the values of lr"):
        combinations({"lr": Range(1e-5, 1e-3, log=True)})
    with pytest.raises(ConfigError, match="100,000 combinations"):
        combinations({"epochs": Range(1, 100_000)})


def test_settings_are_replaced_and_found_by_their_names() -> None:
    config = with_values(CONFIG, {"lr": 1e-4, "augment.mix_prob": 0.5})
    assert (config.lr, config.augment.mix_prob, config.epochs) == (1e-4, 0.5, CONFIG.epochs)
    space: dict[str, Range | Choices] = {
        "lr": Range(1e-5, 1e-3, log=True),
        "epochs": Range(2, 24, step=2),
        "schedule": Choices(("linear",)),
    }
    assert not contains(space, TrainConfig(epochs=3))
    assert contains(space, TrainConfig(epochs=4)) and not contains(space, TrainConfig(epochs=4, lr=0.1))
