"""Statistics of a person in a video: time by expression, episodes, and intervals from blocks of time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from fervit.analysis.episodes import MIN_EPISODE_S, Episode, find_episodes, transitions, weighted_mean
from fervit.analysis.recording import GAP_S, Presence, Recording
from fervit.errors import ConfigError, is_count, is_number, quoted
from fervit.evaluation.intervals import bootstrap_intervals

BLOCK_S = 10.0
"""Neighbouring frames are alike, so whole blocks of time are resampled; a block should outlast most episodes."""
FEWEST_BLOCKS = 6  # of a person; an interval from fewer covers too little to be claimed
RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class StudyOptions:
    """What decides about the figures of a study.

    Attributes:
        min_episode_s: see `find_episodes`.
        block_s: length of the blocks of time that are resampled, s of the time that a face is in view.
        gap_s: the longest a frame stands, s; see `fervit.analysis.recording.GAP_S`.
        seed: of the resampling.
    """

    min_episode_s: float = MIN_EPISODE_S
    block_s: float = BLOCK_S
    gap_s: float = GAP_S
    seed: int = 0

    def __post_init__(self) -> None:
        if not is_number(self.min_episode_s, 0):
            raise ConfigError(f"expected min_episode_s to be seconds from 0, got {quoted(self.min_episode_s)}")
        for name in ("block_s", "gap_s"):
            if not is_number(getattr(self, name), 1e-3):
                raise ConfigError(f"expected {name} to be seconds above 0, got {quoted(getattr(self, name))}")
        if not is_count(self.seed, 0):
            raise ConfigError(f"expected seed to be a whole number from 0, got {quoted(self.seed)}")


@dataclass(frozen=True, eq=False)
class PersonStatistics:
    """One person in one video.

    Attributes:
        video: the video.
        person: who.
        expressions: the study's: the model's labels, and `uncertain` where rows have it.
        options: of the study.
    """

    video: Recording
    person: Presence
    expressions: tuple[str, ...]
    options: StudyOptions

    @cached_property
    def weights(self) -> np.ndarray:
        """`(n,)` s for which each of the person's frames counts."""
        weights: np.ndarray = self.video.durations[self.person.places]
        return weights

    @property
    def visible_s(self) -> float:
        """How long the face was in view, s."""
        return float(self.weights.sum())

    @property
    def visible_fraction(self) -> float | None:
        """The fraction of the video in which the face was in view; None for a single frame, which has no length."""
        return self.visible_s / self.video.video_s if self.video.video_s > 0 else None

    @cached_property
    def seconds(self) -> np.ndarray:
        """`(E,)` s of each expression."""
        return np.bincount(self.person.labels, self.weights, len(self.expressions))

    @cached_property
    def fractions(self) -> np.ndarray:
        """`(E,)` fractions of the time in view."""
        shown = self.person.labels[:, None] == np.arange(len(self.expressions))  # (n, E)
        return np.array([weighted_mean(column, self.weights) for column in shown.T.astype(float)])

    @cached_property
    def mean_probs(self) -> list[float | None]:
        """The mean probability of each expression, weighted by time; None for `uncertain`, which has none."""
        means: list[float | None] = [weighted_mean(column, self.weights) for column in self.person.probs.T]
        return means + [None] * (len(self.expressions) - len(means))

    @cached_property
    def episodes(self) -> list[Episode]:
        """Episodes in order."""
        return find_episodes(self.video, self.person, min_s=self.options.min_episode_s)

    @cached_property
    def transitions(self) -> np.ndarray:
        """`(E, E)` how often an episode of the row's expression was followed by one of the column's."""
        return transitions(self.episodes, len(self.expressions))

    @cached_property
    def intervals(self) -> np.ndarray | None:
        """`(2, E + K)` ends of the 95 % intervals of `fractions` and `mean_probs`; None where there is too little."""
        shown = self.person.labels[:, None] == np.arange(len(self.expressions))
        values = np.concatenate([shown.astype(float), self.person.probs], axis=1)  # (n, E + K)
        return block_intervals(values, self.weights, block_s=self.options.block_s, seed=self.options.seed)

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each expression: the long form."""
        count = len(self.expressions)
        head: dict[str, object] = {
            "source": self.video.source,
            "person": self.person.name,
            "track": self.person.track or None,
        }
        tail = {
            "visible_s": rounded(self.visible_s),
            "visible_fraction": rounded(self.visible_fraction),
            "video_s": rounded(self.video.video_s),
        }
        rows = []
        for k, name in enumerate(self.expressions):
            mine = [episode for episode in self.episodes if episode.label == k]
            figures = {
                "mean_prob": self.mean_probs[k],
                "mean_prob_lower": self._end(0, count + k),
                "mean_prob_upper": self._end(1, count + k),
                "fraction": float(self.fractions[k]),
                "lower": self._end(0, k),
                "upper": self._end(1, k),
                "seconds": float(self.seconds[k]),
            }
            about = {
                "episodes": len(mine),
                "episode_mean_s": rounded(sum(episode.seconds for episode in mine) / len(mine)) if mine else None,
                "first_s": rounded(mine[0].start_s) if mine else None,
            }
            rows.append(
                {**head, "expression": name, **{key: rounded(v) for key, v in figures.items()}, **about, **tail}
            )
        return rows

    def _end(self, side: int, column: int) -> float | None:
        if self.intervals is None or column >= self.intervals.shape[1]:
            return None
        return float(self.intervals[side, column])


def rounded(value: float | None) -> float | None:
    """Return a figure as files hold it: to six decimals, which hide what floating point adds."""
    return None if value is None else round(value, 6)


def block_intervals(
    values: np.ndarray, weights: np.ndarray, *, block_s: float = BLOCK_S, seed: int = 0, resamples: int = RESAMPLES
) -> np.ndarray | None:
    """Return 95 % intervals of weighted means over time, `(2, M)`; None of fewer than `FEWEST_BLOCKS` blocks.

    The time in view is cut into blocks, which are drawn with replacement (block bootstrap: Künsch 1989). Since blocks
    are few, the percentiles are those of Hesterberg (2015, What Teachers Should Know about the Bootstrap, section
    3.4): further out, as the t distribution and the factor sqrt(n / (n - 1)) ask for.

    Args:
        values: `(n, M)` of each frame.
        weights: `(n,)` s for which each frame counts.
        block_s: length of a block.
        seed: the same seed gives the same intervals.
        resamples: how often all blocks are drawn.
    """
    blocks = np.floor((np.cumsum(weights) - weights) / block_s + 1e-9).astype(np.int64)
    count = int(blocks[-1]) + 1
    # A block that has hardly begun tells little.
    if count > 1 and weights[blocks == count - 1].sum() < block_s / 2:
        blocks[blocks == count - 1] -= 1
        count -= 1
    if count < FEWEST_BLOCKS:
        return None
    parts = np.zeros((count, 1 + values.shape[1]))  # of each block: s, and the sums of values weighted by s
    np.add.at(parts, blocks, np.concatenate([weights[:, None], weights[:, None] * values], axis=1))
    parts = parts[parts[:, 0] > 0]  # a long frame may stand through whole blocks
    if len(parts) < FEWEST_BLOCKS:
        return None
    tail = NormalDist().cdf(-math.sqrt(len(parts) / (len(parts) - 1)) * t_quantile((1 + LEVEL) / 2, len(parts) - 1))
    return bootstrap_intervals(
        parts, lambda sums: sums[:, 1:] / sums[:, :1], resamples=resamples, level=1 - 2 * tail, seed=seed
    )


def t_quantile(p: float, freedom: int) -> float:
    """Return a quantile of the t distribution, right to 0.01 at 97.5 % from 5 degrees of freedom on.

    It is the expansion of Abramowitz and Stegun (1964), 26.7.5.

    >>> round(t_quantile(0.975, 7), 2), round(t_quantile(0.975, 30), 3)
    (2.36, 2.042)
    """
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum((term / float(freedom ** (k + 1)) for k, term in enumerate(terms)), 0.0)


def video_row(video: Recording, people: Sequence[PersonStatistics], expressions: Sequence[str]) -> dict[str, object]:
    """Return the row of a video: how long faces were in view, and the fractions of all faces' time by expression."""
    seconds = sum((one.seconds for one in people), np.zeros(len(expressions)))
    total = float(seconds.sum())
    fractions = {
        f"fraction_{name}": rounded(float(seconds[k]) / total) if total else None for k, name in enumerate(expressions)
    }
    return {
        "source": video.source,
        "video_s": rounded(video.video_s),
        "frames": len(video.times),
        "people": len(people),
        "face_s": rounded(video.face_s),
        "visible_fraction": rounded(video.face_s / video.video_s) if video.video_s > 0 else None,
        "gap_s": rounded(video.gap_s),
        "cuts": int(video.cuts.sum()),
        **fractions,
    }
