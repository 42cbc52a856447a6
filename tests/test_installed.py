"""The version stands once, in the package."""

import re

import pytest

import fervit
from tests.helpers import ROOT


def test_the_citation_names_the_version_of_the_package() -> None:
    citation = ROOT / "CITATION.cff"
    if not citation.is_file():
        pytest.skip("the citation is in the repository only")
    (version,) = re.findall(r"^version: (.+)$", citation.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert version == fervit.__version__
    assert "\nversion =" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0]
