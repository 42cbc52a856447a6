"""The site's references are complete, and its pages link to what the site has."""

import re

import pytest

import fervit
from scripts.references import api_pages, cli_page, commands, records
from tests.helpers import ROOT

pytest.importorskip("mkdocs", reason="the site needs fervit[docs]")

from scripts.docs_site import PAGES, relinked, repository_pages, site_uri, without_front_matter


def test_every_command_and_every_option_is_in_the_reference() -> None:
    page = cli_page()
    found = list(commands())
    assert {"fervit predict", "fervit data inspect", "fervit cache clear"} <= {command.name for command in found}
    for command in found[1:]:
        section = page.split(f"\n## {command.name}\n")[1].split("\n## ")[0]
        for _, written, _ in records(command):
            assert f"`{written.replace('|', chr(92) + '|')}`" in section, f"{command.name} {written}"


def test_every_public_name_is_in_the_reference_once() -> None:
    written = re.findall(r"^::: ([\w.]+)$", "\n".join(api_pages().values()), re.MULTILINE)
    assert len(written) == len(set(written))
    homes = {name: getattr(fervit, name) for name in fervit.__all__}
    lasts = {name.rpartition(".")[2] for name in written}
    missing = [name for name, value in homes.items() if name not in lasts and value.__name__ not in lasts]
    assert missing == []


def test_links_lead_to_the_pages_that_files_have_become() -> None:
    assert site_uri("README.md") == "index.md"
    assert site_uri("models/small/README.md") == "models/small.md"
    assert site_uri("docs/video.md") == "video.md"
    text = (
        "[a](docs/video.md#rows) [b](CONTRIBUTING.md) [c](https://x.y/z) [d](LICENSE)\n```\n[e](docs/video.md)\n```\n"
    )
    expected = "[a](video.md#rows) [b](project/contributing.md) [c](https://x.y/z) [d](files/LICENSE)\n"
    assert relinked(text, "index.md").startswith(expected)
    assert "[e](docs/video.md)" in relinked(text, "index.md")
    assert (
        relinked("[a](data.md) [b](../CONTRIBUTING.md#x)", "video.md") == "[a](data.md) [b](project/contributing.md#x)"
    )


def test_model_cards_lose_their_metadata_and_all_pages_exist() -> None:
    assert without_front_matter("---\nlicense: mit\n---\n# Model\n") == "# Model\n"
    assert PAGES.keys() <= repository_pages().keys()
    assert all((ROOT / path).is_file() for path in repository_pages())
