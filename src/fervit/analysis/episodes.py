"""Episodes: stretches of time in which a person shows one expression, and which follows which."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fervit.analysis.recording import Presence, Recording

MIN_EPISODE_S = 0.5
"""The shortest episode: expressions that people mean to show last 0.5 to 4 s (Ekman, Emotions Revealed, 2003)."""
EPSILON_S = 1e-6  # times of frames are rounded


@dataclass(frozen=True)
class Episode:
    """A stretch of time with one expression.

    Attributes:
        label: its position among the study's expressions.
        start_s: when it begins.
        end_s: when it ends; bridged interruptions count to it.
        mean_prob: the expression's mean probability within, weighted by time; None for `uncertain`.
        first: position of its first row among the person's.
        last: position of its last row.
        follows: it follows the episode before without a cut, a gap or a longer absence.
    """

    label: int
    start_s: float
    end_s: float
    mean_prob: float | None
    first: int
    last: int
    follows: bool = False

    @property
    def seconds(self) -> float:
        """Its length, s."""
        return self.end_s - self.start_s


@dataclass(frozen=True, eq=False)
class _Line:
    """A person's rows on the time line: where each begins and ends, and what lies between them.

    `breaks[j]` counts the cuts and gaps, and `absences[j]` the longer absences, up to row j.
    """

    starts: np.ndarray
    ends: np.ndarray
    breaks: np.ndarray
    absences: np.ndarray


def find_episodes(video: Recording, person: Presence, *, min_s: float = MIN_EPISODE_S) -> list[Episode]:
    """Return a person's episodes in order.

    A run of frames with one label ends where the label changes, the face leaves, a gap begins or the shot is cut.
    Runs shorter than `min_s` are left out. Two runs of one label become one episode where what lies between them (a
    run that was left out, an absence) is shorter than `min_s` as well, and neither a cut nor a gap.

    Args:
        video: the video.
        person: of its `people`.
        min_s: the shortest episode, and the shortest interruption that ends one, s.
    """
    line = _line(video, person, min_s)
    touching = (line.starts[1:] - line.ends[:-1] <= EPSILON_S) & (np.diff(line.breaks) == 0)
    same = touching & (person.labels[1:] == person.labels[:-1])
    heads = np.concatenate([[0], np.flatnonzero(~same) + 1])
    tails = np.append(heads[1:], len(person.labels)) - 1
    runs = [
        (int(head), int(tail))
        for head, tail in zip(heads, tails, strict=True)
        if line.ends[tail] - line.starts[head] >= min_s - EPSILON_S
    ]
    joined: list[tuple[int, int]] = []
    for head, tail in runs:
        if joined and _continues(line, person, joined[-1][1], head, min_s):
            joined[-1] = joined[-1][0], tail
        else:
            joined.append((head, tail))
    follows = [False, *(_follows(line, before[1], after[0]) for before, after in pairwise(joined))]
    return [_episode(video, person, line, span, after) for span, after in zip(joined, follows, strict=False)]


def _line(video: Recording, person: Presence, min_s: float) -> _Line:
    places = person.places
    starts = video.times[places]
    ends = starts + video.durations[places]
    gaps_before = np.concatenate([[0], np.cumsum(video.gaps)[:-1]])  # of each frame: gaps that end at or before it
    breaks = gaps_before + np.cumsum(video.cuts)
    away = np.concatenate([[0.0], starts[1:] - ends[:-1]])
    return _Line(starts, ends, breaks[places], np.cumsum(away >= max(min_s, EPSILON_S) - EPSILON_S / 2))


def _continues(line: _Line, person: Presence, tail: int, head: int, min_s: float) -> bool:
    short = line.starts[head] - line.ends[tail] < min_s - EPSILON_S
    return bool(short and line.breaks[head] == line.breaks[tail] and person.labels[head] == person.labels[tail])


def _follows(line: _Line, tail: int, head: int) -> bool:
    return bool(line.breaks[head] == line.breaks[tail] and line.absences[head] == line.absences[tail])


def _episode(video: Recording, person: Presence, line: _Line, span: tuple[int, int], follows: bool) -> Episode:
    first, last = span
    label, prob = int(person.labels[first]), None
    if label < person.probs.shape[1]:
        weights = video.durations[person.places[first : last + 1]]
        prob = weighted_mean(person.probs[first : last + 1, label], weights)
    return Episode(label, float(line.starts[first]), float(line.ends[last]), prob, first, last, follows)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean of `(n,)` values by their weights; where these are all 0, as of a single frame, all alike."""
    total = weights.sum()
    return float(values @ weights / total) if total > 0 else float(values.mean())


def transitions(episodes: list[Episode], count: int) -> np.ndarray:
    """Return how often an episode of each label was followed by one of each label, `(count, count)`, row to column."""
    matrix = np.zeros((count, count), np.int64)
    for before, after in pairwise(episodes):
        if after.follows:
            matrix[before.label, after.label] += 1
    return matrix
