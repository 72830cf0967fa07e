"""Statistics of sessions and of runs.

Sessions: means a turn with bootstrap intervals, paired differences of two evaluations. Runs: seeds first, sessions
second (Agarwal et al. 2021, arXiv 2108.13264); matrices are [runs, tasks] as rliable takes them, one row a seed, one
column a task (here a suite), and resampling is stratified: runs are drawn anew for each task. Values of rliable itself
are kept in tests/data/rliable.json and held against these functions.

None and NaN are left out, never counted as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, trim_mean

Floats = NDArray[np.float64]
MaybeScore = float | None
"""A score, or None (also NaN) where nothing was scored."""
Rows = ArrayLike | Sequence[Sequence[MaybeScore]]
"""One row a seed, one column a session."""
TurnScores = dict[str, list[list[MaybeScore]]]
"""scores[name][session][turn]; None where a turn was not scored, sessions may end early."""
Summary = dict[str, Any]
"""{name: [mean a turn], "intervals": {name: [[low, high] a turn]}, "scored": {name: [n]}, "sessions": n}."""
SUMMARY_KEYS = ("intervals", "scored", "sessions")
"""Keys of a summary that are no score's name."""
RESAMPLES, _PAIRED_RESAMPLES = 5000, 2000
FEW_SEEDS, FEW_SESSIONS = 5, 256
"""Below these, a report says that its intervals are to be read with care."""


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval.

    Attributes:
        value: such as a mean, of the values present; None without any.
        low, high: ends of the interval; None with fewer than two values, which say nothing of their spread.
        count: number of values present.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0


# Sessions


def bootstrap_interval(
    values: Sequence[MaybeScore], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean and percentile bootstrap interval of independent values, one a session.

    Args:
        values: None and NaN are left out.
        level: confidence, inside (0, 1).
        resamples: number of bootstrap samples.
        seed: of the resampling; the same values and seed give the same interval.

    Raises:
        ValueError: a level outside (0, 1), or an infinite value.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, expected inside (0, 1)")
    present = np.array([v for v in values if v is not None and not math.isnan(v)], dtype=np.float64)
    if np.isinf(present).any():
        raise ValueError("values: got an infinite one, expected finite ones, None or NaN")
    if len(present) < 2:
        return Interval(float(present[0]) if len(present) else None, count=len(present))
    if np.all(present == present[0]):
        # resampling equals gives the same value always, and SciPy warns about it
        constant = float(present[0])
        return Interval(constant, constant, constant, len(present))
    result = bootstrap(
        (present,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, 4_000_000 // len(present)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(present.mean()), float(low), float(high), len(present))


def paired_difference(x: Rows, y: Rows, seed: int = 0) -> Interval:
    """Mean of x - y over the same sessions, in the same order, which takes their difficulty out of the comparison.

    With one seed each it is the `bootstrap_interval` of the sessions' differences; a pair with a value missing on
    either side is left out. With more, it is the difference of the means over seeds of the means over sessions; a
    resample draws seeds of each arm, then the sessions, the same ones for both: sessions are paired, seeds are not.

    Args:
        x, y: one row a seed, as many as the arm has, and one column a session; None or NaN where nothing was scored.

    Raises:
        ValueError: different numbers of sessions, or an infinite difference.
    """
    first, second = np.asarray(x, float), np.asarray(y, float)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"pairs: got {first.shape[1]} and {second.shape[1]} sessions, expected the same ones")
    if len(first) == len(second) == 1:
        return bootstrap_interval((first[0] - second[0]).tolist(), seed=seed)
    sessions, rng, drawn = first.shape[1], np.random.default_rng(seed), np.empty(_PAIRED_RESAMPLES)
    value = float(row_means(first).mean() - row_means(second).mean())
    if sessions < 2:
        return Interval(value, count=sessions)
    for number in range(_PAIRED_RESAMPLES):
        columns = rng.integers(sessions, size=sessions)
        one, other = (row_means(arm[rng.integers(len(arm), size=len(arm))][:, columns]) for arm in (first, second))
        drawn[number] = one.mean() - other.mean()
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high), sessions)


def summarise(scores: TurnScores) -> Summary:
    """Summarises an evaluation turn by turn, as JSON values; ValueError where names differ in their sessions."""
    return _collect(
        {name: [bootstrap_interval(turn) for turn in zip_longest(*rows)] for name, rows in scores.items()},
        _session_count(scores),
    )


def summarise_difference(base: TurnScores, trained: TurnScores) -> Summary:
    """Summarises trained minus base, session by session, for the names and turns that both have.

    Raises:
        ValueError: different numbers of sessions.
    """
    sessions = _session_count(base)
    if sessions != _session_count(trained):
        raise ValueError(
            f"sessions: got {sessions} of base and {_session_count(trained)} of trained, expected as many"
        )
    turns = {
        name: zip(zip_longest(*base[name]), zip_longest(*trained[name]), strict=False)
        for name in base
        if name in trained
    }
    differences = {
        name: [paired_difference([after], [before]) for before, after in pairs] for name, pairs in turns.items()
    }
    return _collect(differences, sessions)


def known_mean(values: Iterable[MaybeScore]) -> float | None:
    """The mean of the scores there are; None where there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _session_count(scores: TurnScores) -> int:
    counts = {name: len(sessions) for name, sessions in scores.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"scores: got sessions {counts}, expected equally many for every name")
    return next(iter(counts.values()), 0)


def _collect(intervals: Mapping[str, Sequence[Interval]], sessions: int) -> Summary:
    return {
        **{name: [one.value for one in turns] for name, turns in intervals.items()},
        "intervals": {name: [[one.low, one.high] for one in turns] for name, turns in intervals.items()},
        "scored": {name: [one.count for one in turns] for name, turns in intervals.items()},
        "sessions": sessions,
    }


# Runs


def row_means(values: Floats) -> Floats:
    """Mean of each row's known values; NaN where a row has none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(known, values, 0.0).sum(1) / known.sum(1)
    return means


def iqm(scores: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all entries of a matrix [runs, tasks]."""
    return float(trim_mean(np.ravel(np.asarray(scores, float)), 0.25))


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """P(X > Y) + P(X = Y) / 2 of a run of x and a run of y on the same task, mean over tasks.

    Mann-Whitney's U over n m pairs of runs; x [n, tasks], y [m, tasks].
    """
    first, second = _matrix(x)[:, None], _matrix(y)
    return float(((first > second) + 0.5 * (first == second)).mean())


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Share of runs and tasks whose score lies above each threshold; falls from 1 to 0."""
    values = _matrix(scores)
    return (values[..., None] > np.asarray(thresholds, float)).mean((0, 1))


def stratified_bootstrap(
    statistic: Callable[..., float | Floats], *scores: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Floats, Floats]:
    """Ends of the 95% percentile interval of a statistic of one or more matrices [runs, tasks].

    Each resample draws, for each matrix and each of its tasks, as many runs as there are, with replacement.

    Returns:
        The 2.5th and the 97.5th percentile, each in the shape of what the statistic returns.
    """
    rng, drawn = np.random.default_rng(seed), []
    matrices = [_matrix(one) for one in scores]
    for _ in range(resamples):
        rows = [rng.integers(len(one), size=one.shape) for one in matrices]
        drawn.append(statistic(*(one[row, np.arange(one.shape[1])] for one, row in zip(matrices, rows, strict=True))))
    low, high = np.percentile(np.asarray(drawn, float), [2.5, 97.5], axis=0)
    return low, high


def estimate(statistic: Callable[..., float], *scores: ArrayLike, seed: int = 0) -> Interval:
    """A statistic with its interval over runs; without one where a matrix has a single run."""
    value, runs = float(statistic(*scores)), min(len(_matrix(one)) for one in scores)
    if runs < 2:
        return Interval(value, count=runs)
    low, high = stratified_bootstrap(statistic, *scores, seed=seed)
    return Interval(value, float(low), float(high), runs)


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


def krippendorff_alpha(ratings: ArrayLike) -> float | None:
    """Agreement of raters beyond chance, for interval data: 1 - D_o / D_e (Krippendorff 2011, "Computing Alpha").

    D_o is the mean squared difference of two raters' values of a unit, D_e that of any two values. Of yes and no (1
    and 0) it is nominal alpha as well.

    Args:
        ratings: [raters, units], NaN where a rater gave none; units with fewer than two values do not count.

    Returns:
        1 for perfect agreement, 0 for that of chance, below 0 for less; None where all values are equal or none is
        comparable, so that nothing can be said.
    """
    values = np.asarray(ratings, float)
    values = values[:, (~np.isnan(values)).sum(0) >= 2]
    given = (~np.isnan(values)).sum(0)
    n = int(given.sum())
    # The squared differences of all ordered pairs of m values sum to 2 (m sum x^2 - (sum x)^2).
    within = 2 * (given * np.nansum(values**2, 0) - np.nansum(values, 0) ** 2)
    everywhere = 2 * (n * np.nansum(values**2) - np.nansum(values) ** 2)
    if n == 0 or everywhere <= 1e-12 * n * n:
        return None
    return float(1 - (n - 1) * (within / (given - 1)).sum() / everywhere)


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
