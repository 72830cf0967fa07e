"""Statistics of runs: seeds first, sessions second (Agarwal et al. 2021, arXiv 2108.13264).

`scores` are matrices [runs, tasks] as rliable takes them: one row a seed, one column a task (here a suite).
Resampling is stratified: runs are drawn anew for each task. Values of rliable itself are kept in
tests/data/rliable.json and held against these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu, trim_mean

Floats = NDArray[np.float64]
RESAMPLES, _PAIRED_RESAMPLES = 5000, 2000
FEW_SEEDS, FEW_SESSIONS = 5, 256
"""Below these, a report says that its intervals are to be read with care."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval; the ends are None where one run cannot tell.

    Attributes:
        value: of all runs.
        low, high: ends of the percentile bootstrap interval.
    """

    value: float
    low: float | None = None
    high: float | None = None


def iqm(scores: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all entries of a matrix [runs, tasks]."""
    return float(trim_mean(np.ravel(np.asarray(scores, float)), 0.25))


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """P(X > Y) + P(X = Y) / 2 of a run of x and a run of y on the same task, mean over tasks.

    Mann-Whitney's U over n m pairs of runs; x [n, tasks], y [m, tasks].
    """
    first, second = _matrix(x), _matrix(y)
    pairs = len(first) * len(second)
    columns = range(first.shape[1])
    return float(np.mean([mannwhitneyu(first[:, k], second[:, k]).statistic / pairs for k in columns]))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Share of runs and tasks whose score lies above each threshold; falls from 1 to 0."""
    values = _matrix(scores)
    return (values[..., None] > np.asarray(thresholds, float)).mean((0, 1))


def bootstrap(
    statistic: Callable[..., float | Floats], *scores: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Floats, Floats]:
    """Ends of the 95% percentile interval of a statistic of one or more matrices [runs, tasks].

    Each resample draws, for each matrix and each of its tasks, as many runs as there are, with replacement.

    Returns:
        The 2.5th and the 97.5th percentile, each in the shape of what the statistic returns.
    """
    rng = np.random.default_rng(seed)
    matrices = [_matrix(one) for one in scores]
    drawn = [statistic(*(_resampled(one, rng) for one in matrices)) for _ in range(resamples)]
    low, high = np.percentile(np.asarray(drawn, float), [2.5, 97.5], axis=0)
    return low, high


def estimate(statistic: Callable[..., float], *scores: ArrayLike, seed: int = 0) -> Estimate:
    """A statistic with its interval over runs; without one where a matrix has a single run."""
    value = float(statistic(*scores))
    if min(len(_matrix(one)) for one in scores) < 2:
        return Estimate(value)
    low, high = bootstrap(statistic, *scores, seed=seed)
    return Estimate(value, float(low), float(high))


def paired_difference(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Estimate:
    """Mean of x - y over the same sessions, with an interval over seeds and sessions.

    Args:
        x, y: one row a seed (as many as the arm has), one column a session; NaN where a turn was not scored,
            which leaves that session out of that seed's mean.
        seed: of the resampling.

    Returns:
        The difference of the arms' means over seeds of their means over sessions. A resample draws seeds of
        each arm, then the sessions, the same ones for both arms: sessions are paired, seeds are not. Without
        an interval for a single session.

    Raises:
        ValueError: the arms played different numbers of sessions.
    """
    first, second = np.asarray(x, float), np.asarray(y, float)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"pairs: got {first.shape[1]} and {second.shape[1]} sessions, expected the same ones in both arms"
        )
    value = float(np.nanmean(first, 1).mean() - np.nanmean(second, 1).mean())
    sessions = first.shape[1]
    if sessions < 2:
        return Estimate(value)
    rng, drawn = np.random.default_rng(seed), np.empty(_PAIRED_RESAMPLES)
    for number in range(_PAIRED_RESAMPLES):
        columns = rng.integers(sessions, size=sessions)
        drawn[number] = _drawn_mean(first, columns, rng) - _drawn_mean(second, columns, rng)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _drawn_mean(arm: Floats, columns: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Mean over seeds drawn with replacement of the means over these sessions; NaN where none was scored."""
    drawn = arm[rng.integers(len(arm), size=len(arm))][:, columns]
    known = ~np.isnan(drawn)
    with np.errstate(invalid="ignore"):
        return float((np.where(known, drawn, 0.0).sum(1) / known.sum(1)).mean())


def pass_at_k(successes: ArrayLike, k: int) -> float:
    """Probability that one of k tries of a session succeeds, unbiased (Chen et al. 2021, arXiv 2107.03374).

    1 - C(n - c, k) / C(n, k), mean over sessions.

    Args:
        successes: 0 or 1, [tries n, sessions].
        k: at most n.

    Raises:
        ValueError: more tries are asked for than there are.
    """
    tries = _matrix(successes)
    n = len(tries)
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}, expected 1 to {n}, the tries that there are")
    counts = np.round(tries.sum(0)).astype(int)
    return float(np.mean([1 - comb(n - c, k) / comb(n, k) for c in counts]))


def gap_closed(start: float, end: float, ceiling: float) -> float | None:
    """Share of what was missing to the ceiling that is there now; None where nothing was missing."""
    return None if ceiling <= start else (end - start) / (ceiling - start)


def cautions(seeds: int, sessions: int) -> list[str]:
    """What a reader has to be told of a table of so many seeds and sessions; empty where both suffice."""
    found = []
    if seeds < 2:
        found.append("One seed: intervals are over sessions alone and say nothing about another run.")
    elif seeds < FEW_SEEDS:
        found.append(f"{seeds} seeds: intervals over so few runs are too narrow; {FEW_SEEDS} or more are usual.")
    if sessions < FEW_SESSIONS:
        found.append(f"{sessions} evaluation sessions: differences of a few points are within their noise.")
    return found


def _matrix(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, float)
    if values.ndim != 2:
        raise ValueError(f"scores have shape {values.shape}, expected [runs, tasks]")
    return values


def _resampled(scores: Floats, rng: np.random.Generator) -> Floats:
    runs, tasks = scores.shape
    return scores[rng.integers(runs, size=(runs, tasks)), np.arange(tasks)]
