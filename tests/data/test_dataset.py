"""`Dataset` itself."""

from fervit.data import load


def test_a_dataset_says_what_it_is_in_one_line() -> None:
    dataset = load("synthetic:40")
    assert len(text := repr(dataset)) < 200 and "\n" not in text
    assert f"{len(dataset)} images of 48x48x1, 7 labels" in text and f"train {len(dataset.split('train'))}" in text
    assert repr(dataset.take([])).endswith("empty)")
