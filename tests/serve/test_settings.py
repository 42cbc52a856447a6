"""Settings that would be unsafe are refused."""

from pathlib import Path

import pytest

from fervit.errors import ConfigError
from fervit.serve.settings import Settings, read_token
from tests.helpers.service import TOKEN


def test_another_address_needs_a_token_or_insecure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--token-file FILE, or --insecure"):
        Settings(host="0.0.0.0").check()
    assert Settings(host="0.0.0.0", token=TOKEN).check() and Settings(host="::", insecure=True).check()
    with pytest.raises(ConfigError, match="at least 16"):
        Settings(token="short").check()
    assert TOKEN not in repr(Settings(token=TOKEN))
    (tmp_path / "token").write_text(f"{TOKEN}\nmore\n")
    assert read_token(tmp_path / "token") == TOKEN
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        read_token(tmp_path / "empty")


@pytest.mark.parametrize("origin", ["*", "example.org", "https://a.org/path", "ftp://a"])
def test_allowed_origins_are_exact(origin: str) -> None:
    with pytest.raises(ConfigError, match="origin"):
        Settings(allow_origins=(origin,)).check()
