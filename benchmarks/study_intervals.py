"""How often the intervals of `fervit.study` hold the truth, and how wide they are.

Usage: python benchmarks/study_intervals.py

A face shows one expression for a random time, then another one, and so on (exponential times); what is estimated is
the fraction of time of the first. 500 videos for each row.
"""

import numpy as np

from fervit.analysis.statistics import block_intervals

TRIALS, RATE = 500, 10  # videos; frames a second


def states(rng: np.random.Generator, seconds: int, stay_s: tuple[float, float]) -> np.ndarray:
    lengths = np.stack([rng.exponential(mean, 2 * seconds) for mean in stay_s], axis=1).ravel()
    ends = np.cumsum(lengths)
    times = np.arange(seconds * RATE) / RATE + stay_s[0]  # the start is no special moment
    return np.searchsorted(ends, times) % 2


def main() -> None:
    print("| video | episodes last | block | intervals that hold the truth | mean width |\n|---|---|---|---|---|")
    for stay_s in ((2.0, 1.0), (6.0, 3.0)):
        truth = stay_s[0] / sum(stay_s)
        for seconds in (60, 120, 300):
            for block_s in (2.0, 5.0, 10.0, 20.0):
                rng, found = np.random.default_rng(0), []
                for _ in range(TRIALS):
                    shown = (states(rng, seconds, stay_s) == 0)[:, None].astype(float)
                    ends = block_intervals(shown, np.full(len(shown), 1 / RATE), block_s=block_s, resamples=400)
                    if ends is not None:
                        found.append(ends[:, 0])
                if found:
                    low, high = np.array(found).T
                    held = np.mean((low <= truth) & (truth <= high))
                    lasts = f"{stay_s[0]:.0f} s and {stay_s[1]:.0f} s"
                    print(
                        f"| {seconds} s | {lasts} | {block_s:.0f} s | {100 * held:.0f} % | {(high - low).mean():.2f} |"
                    )


if __name__ == "__main__":
    main()
