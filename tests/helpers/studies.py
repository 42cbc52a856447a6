"""Made rows of videos, in which every figure can be counted by hand."""

from collections.abc import Iterator, Sequence

import numpy as np

LABELS = ("sad", "happy", "neutral")
Row = dict[str, object]


def frame(source: str, number: int, time_s: float, label: str | None, *, track: int = 1, **other: object) -> Row:
    """Return the row of a face whose label has 0.8, the two others 0.1; without a label, of a frame without a face."""
    row: Row = {"source": source, "frame": number, "time_s": time_s, "track": track if label else None, "label": label}
    row |= {f"p_{name}": (0.8 if name == label else 0.1) if label else None for name in LABELS}
    return {**row, "score": 0.8 if label else None, "error": None, **other}


def video(
    text: str, *, source: str = "a.mp4", step: float = 0.1, start: float = 0.0, track: int = 1, **other: object
) -> list[Row]:
    """Return a row for each letter, `step` s apart: s, h, n for the labels, `-` for no face, blank for no frame."""
    names = {"s": "sad", "h": "happy", "n": "neutral", "-": None}
    return [
        frame(source, k, round(start + k * step, 6), names[letter], track=track, **other)
        for k, letter in enumerate(text)
        if letter != " "
    ]


def chain(rng: np.random.Generator, seconds: float, *, stay_s: Sequence[float], rate: int = 10) -> np.ndarray:
    """Return the states of a Markov chain, `(seconds * rate,)`, that stays `stay_s` on average in each of them."""
    states: list[int] = []
    state = int(rng.integers(len(stay_s)))
    while len(states) < seconds * rate:
        states += [state] * (1 + int(rng.geometric(1 / (stay_s[state] * rate))))
        state = (state + 1) % len(stay_s)
    return np.array(states[: int(seconds * rate)])


def participants(count: int, *, seconds: float = 45, seed: int = 0, effect: float = 1.0) -> Iterator[Row]:
    """Yield the rows of videos `A/p00.mp4`, `B/p00.mp4` and so on: in B, people stay happy longer."""
    rng = np.random.default_rng(seed)
    for person in range(count):
        for condition, happy_s in (("A", 1.5), ("B", 1.5 + effect)):
            states = chain(rng, seconds, stay_s=(2.0, happy_s, 3.0))
            text = "".join("shn"[state] for state in states)
            yield from video(text, source=f"{condition}/p{person:02d}.mp4")
