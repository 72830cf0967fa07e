"""Means a turn with bootstrap confidence intervals over sessions, and paired differences of two evaluations.

None and NaN are left out, never counted as 0.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from scipy.stats import bootstrap

MaybeScore = float | None
"""A score, or None (also NaN) where nothing was scored."""

TurnScores = dict[str, list[list[MaybeScore]]]
"""scores[name][session][turn]; None where a turn was not scored, sessions may end early."""

Summary = dict[str, Any]
"""{name: [mean a turn], "intervals": {name: [[low, high] a turn]}, "scored": {name: [n]}, "sessions": n}."""

SUMMARY_KEYS = ("intervals", "scored", "sessions")
"""Keys of a summary that are no score's name."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the values present; None without any.
        low, high: ends of the interval; None with fewer than two values, which say nothing of their spread.
        count: number of values present.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int


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
        return Interval(float(present[0]) if len(present) else None, None, None, len(present))
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


def paired_difference(base: Sequence[MaybeScore], trained: Sequence[MaybeScore]) -> Interval:
    """Mean of trained minus base over pairs, with the `bootstrap_interval` of the differences.

    Pairing the same sessions, in the same order, takes their difficulty out of the comparison. A pair with a
    value missing on either side is left out.

    Raises:
        ValueError: different lengths, or an infinite difference.
    """
    if len(base) != len(trained):
        raise ValueError(f"pairs: got {len(base)} base and {len(trained)} trained values, expected equally many")
    pairs = zip(base, trained, strict=True)
    return bootstrap_interval([b - a for a, b in pairs if a is not None and b is not None])


def summarise(scores: TurnScores) -> Summary:
    """Summarises an evaluation turn by turn.

    Args:
        scores: every name with equally many sessions.

    Returns:
        JSON values. A mean or an end of an interval is None where no session (for an interval: fewer than
        two) was scored.

    Raises:
        ValueError: names with different numbers of sessions.
    """
    return _collect(
        {name: [bootstrap_interval(turn) for turn in _turns(rows)] for name, rows in scores.items()},
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
    return _collect(
        {
            name: [
                paired_difference(before, after)
                for before, after in zip(_turns(rows), _turns(trained[name]), strict=False)
            ]
            for name, rows in base.items()
            if name in trained
        },
        sessions,
    )


def known_mean(values: Iterable[MaybeScore]) -> float | None:
    """The mean of the scores there are; None where there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _turns(sessions: Sequence[Sequence[MaybeScore]]) -> list[tuple[MaybeScore, ...]]:
    """Values of each turn over the sessions, None where one had ended."""
    return list(zip_longest(*sessions, fillvalue=None))


def _session_count(scores: TurnScores) -> int:
    counts = {name: len(sessions) for name, sessions in scores.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"scores: got sessions {counts}, expected equally many for every name")
    return next(iter(counts.values()), 0)


def _collect(intervals: Mapping[str, Sequence[Interval]], sessions: int) -> Summary:
    return {
        **{name: [one.mean for one in turns] for name, turns in intervals.items()},
        "intervals": {name: [[one.low, one.high] for one in turns] for name, turns in intervals.items()},
        "scored": {name: [one.count for one in turns] for name, turns in intervals.items()},
        "sessions": sessions,
    }
