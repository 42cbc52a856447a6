"""`[FORM:]SOURCE[@WEIGHT]` names a data set."""

from pathlib import Path

import pytest

from fervit.data.source_spec import SourceSpec, parse_source
from fervit.errors import ConfigError

FORMS = ("rafdb", "ck+")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("faces", SourceSpec("faces")),
        ("rafdb:faces", SourceSpec("faces", "rafdb")),
        ("RAFDB:faces@2", SourceSpec("faces", "rafdb", 2.0)),
        ("ck+:a/b.csv@.5", SourceSpec("a/b.csv", "ck+", 0.5)),
        ("synthetic:70:3@1e-1", SourceSpec("synthetic:70:3", None, 0.1)),
        ("C:\\faces", SourceSpec("C:\\faces")),
        ("owner/name@3", SourceSpec("owner/name", None, 3.0)),
        ("s3:bucket", SourceSpec("s3:bucket")),
        ("me@home/faces", SourceSpec("me@home/faces")),
    ],
)
def test_form_and_weight_are_told_from_the_source(text: str, spec: SourceSpec) -> None:
    assert parse_source(text, FORMS) == spec


@pytest.mark.parametrize("weight", ["", "0", "-1", "nan", "inf", "half"])
def test_a_weight_that_is_none_is_refused(weight: str) -> None:
    with pytest.raises(ConfigError, match="expected a weight above 0 after @"):
        parse_source(f"faces@{weight}", FORMS)


def test_a_weight_alone_is_no_data_set() -> None:
    with pytest.raises(ConfigError, match="expected a data set before the weight"):
        parse_source("@2", FORMS)


def test_what_exists_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces@2").mkdir()
    (tmp_path / "rafdb:x").mkdir()
    assert parse_source("faces@2", FORMS) == SourceSpec("faces@2")
    assert parse_source("rafdb:x@3", FORMS) == SourceSpec("rafdb:x", None, 3.0)
    assert parse_source(Path("faces@9"), FORMS) == SourceSpec("faces@9")
    assert parse_source("rafdb:faces@2", FORMS) == SourceSpec("faces@2", "rafdb")


def test_a_spec_is_written_as_it_is_read() -> None:
    for text in ("faces", "rafdb:faces@0.5", "synthetic:70"):
        assert str(parse_source(text, FORMS)) == text
