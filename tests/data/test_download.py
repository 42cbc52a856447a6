"""Checks of a download: the counts that it must have, and whether its site can be reached."""

import urllib.error
import urllib.request
from email.message import Message

import numpy as np
import pytest

from fervit.data import download
from fervit.data.download import check_fer2013
from fervit.errors import DataError
from tests.helpers import blank_fer2013


def test_other_data_is_not_taken_for_fer2013() -> None:
    fer2013 = blank_fer2013()
    check_fer2013(fer2013)
    with pytest.raises(DataError, match="disgust in public_test, expected 56"):
        check_fer2013(fer2013.take(np.flatnonzero((fer2013.targets != 1) | (fer2013.split_ids != 1))))


def test_a_site_that_refuses_counts_as_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: urllib.request.Request, timeout: float) -> None:
        raise urllib.error.HTTPError(request.full_url, 403, "no", Message(), None)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    download._check_reachable("http://127.0.0.1:9")
