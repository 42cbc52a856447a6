"""What `--label-map` and `--drop-labels` take, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest

from fervit.errors import ConfigError
from fervit.label_rules import LabelRules, read_rules


def test_pairs_files_mappings_and_label_sets_are_read(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('\ufeffsuprise = "surprise"\n"very happy" = "happy"\n', encoding="utf-8")
    rules = read_rules([str(tmp_path / "map.toml"), "joy=happy, 3 = sad", "RAF7"], ["contempt, neutral", "sad"])
    assert rules.names == {"suprise": "surprise", "very happy": "happy", "joy": "happy", "3": "sad"}
    assert rules.optional == {"suprise", "very happy"}
    assert rules.number_set == "raf7"
    assert rules.drop == ("contempt", "neutral", "sad")
    assert read_rules({0: "angry", 1: "sad"}).names == {"0": "angry", "1": "sad"}
    assert read_rules(tmp_path / "map.toml").names == read_rules(str(tmp_path / "map.toml")).names
    assert read_rules() == read_rules([], []) == LabelRules() and not read_rules()


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ("fer8", "unknown label set 'fer8': did you mean 'fer7'"),
        ("a=b,c", "takes old=new, a TOML file or fer7.*got 'c'"),
        ("a=", "a name is missing in a="),
        ("=b", "a name is missing in =b"),
        (["a=b", "a=c"], "calls a both b and c"),
        (["fer7", "raf7"], "names the numbers twice"),
        ("missing.toml", "missing.toml cannot be read"),
        ("folder.toml", "folder.toml cannot be read .it is a folder"),
        ("broken.toml", "broken.toml is no TOML file of lines"),
        ("number.toml", 'number.toml: a is no text; expected lines such as 0 = "angry"'),
    ],
)
def test_a_malformed_map_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label_map: str | list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "broken.toml").write_text("a = = b")
    (tmp_path / "number.toml").write_text("a = 3")
    with pytest.raises(ConfigError, match=message) as caught:
        read_rules(label_map)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [5, b"a=b", [5], [None], {"a"}, object()])
def test_python_values_of_other_kinds_are_refused_in_one_short_line(value: Any) -> None:
    for option in ("label_map", "drop_labels"):
        with pytest.raises(ConfigError, match=f"expected {option} to be text such as") as caught:
            read_rules(**{option: value})
        assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_a_file_may_lie_in_a_folder_with_any_name(tmp_path: Path) -> None:
    (tmp_path / "lr=1").mkdir()
    (tmp_path / "lr=1" / "map.toml").write_text('a = "b"')
    assert read_rules(str(tmp_path / "lr=1" / "map.toml")).names == {"a": "b"}
