"""Means with bootstrap confidence intervals over sessions; None and NaN are left out, never counted as 0."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

MaybeScore = float | None
"""A score, or None (also NaN) where nothing was scored."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the values present; None without any.
        low: lower end; None with fewer than two values, which say nothing about their spread.
        high: upper end, likewise.
        count: number of values present.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int


def bootstrap_interval(
    values: Sequence[MaybeScore], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean and percentile bootstrap interval of independent values.

    Args:
        values: one a session; None and NaN are left out.
        level: confidence, inside (0, 1).
        resamples: number of bootstrap samples.
        seed: of the resampling; the same values and seed give the same interval.

    Returns:
        The interval; of width 0 when all values are equal.

    Raises:
        ValueError: a level outside (0, 1), or an infinite value.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, expected inside (0, 1)")
    present = np.array([value for value in values if _present(value)], dtype=np.float64)
    if np.isinf(present).any():
        raise ValueError("values: got an infinite one, expected finite ones, None or NaN")
    if len(present) == 0:
        return Interval(None, None, None, 0)
    if len(present) == 1:
        return Interval(float(present[0]), None, None, 1)
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

    Pairing the same sessions takes their difficulty out of the comparison. A pair with a value missing on
    either side is left out.

    Args:
        base: one value a session.
        trained: of the same sessions in the same order.

    Returns:
        The interval of the difference; its count is the number of whole pairs.

    Raises:
        ValueError: different lengths, or an infinite difference.
    """
    if len(base) != len(trained):
        raise ValueError(
            f"pairs: got {len(base)} base and {len(trained)} trained values, expected equally many"
        )
    differences = [
        after - before
        for before, after in zip(base, trained, strict=True)
        if before is not None and after is not None
    ]
    return bootstrap_interval(differences)


def known_mean(values: Iterable[MaybeScore]) -> float | None:
    """The mean of the scores there are; None where there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _present(value: MaybeScore) -> bool:
    return value is not None and not math.isnan(value)
