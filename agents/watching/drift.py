"""When training's reward rises while held-out scores fall: the policy learns to please its judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import linregress

LAST = 6
"""Evaluations whose trend is looked at."""
LEAST = 4
"""Evaluations below which nothing is said: three points have a trend by chance."""
ERRORS = 3.0
"""Standard errors that each trend must be away from none."""
SMALLEST = 0.02
"""Change over the window, of scores in [0, 1], below which a trend is of no interest, however sure."""


@dataclass(frozen=True)
class Point:
    """A mean at one time.

    Attributes:
        iteration: when.
        mean: of scores in [0, 1].
        error: standard error of the mean, over sessions.
    """

    iteration: int
    mean: float
    error: float


@dataclass(frozen=True)
class Trend:
    """A straight line through points.

    Attributes:
        change: of the line from the first point's iteration to the last one's.
        error: standard error of that change.
    """

    change: float
    error: float

    @property
    def sure(self) -> bool:
        """Whether the change is more than `ERRORS` of its errors, and more than `SMALLEST`."""
        return abs(self.change) > max(ERRORS * self.error, SMALLEST)


def trend(points: Sequence[Point]) -> Trend:
    """The least-squares line through points.

    Its error is the larger one of what the points' own errors make of it, sqrt(sum (x - X)^2 e^2) / S with
    S = sum (x - X)^2, and of what the points' distances r from the line say, sqrt(sum r^2 / (n - 2) / S);
    both times the length of the window. The first alone would not know how much a policy wanders between
    two evaluations, the second alone is small by chance where points are few.

    Args:
        points: two or more, at different iterations.

    Raises:
        ValueError: there are fewer, or all are of one iteration.
    """
    times = np.array([point.iteration for point in points], dtype=np.float64)
    different = sorted({point.iteration for point in points})
    if len(different) < 2:
        raise ValueError(f"points are of the iterations {different}, expected two or more")
    line = linregress(times, [point.mean for point in points])
    apart = times - times.mean()
    sampled = np.linalg.norm(apart * [point.error for point in points]) / (apart @ apart)
    window = float(np.ptp(times))
    return Trend(float(line.slope) * window, max(float(sampled), float(line.stderr)) * window)


def drifting(training: Sequence[Point], held_out: Sequence[Point]) -> tuple[Trend, Trend] | None:
    """The two trends where training surely rises and held-out surely falls, else None.

    Both are taken over the last `LAST` evaluations; with fewer than `LEAST` in either there is no answer.

    Args:
        training: reward that training's scorer paid, in the order of time.
        held_out: score that another scorer gave on held-out sessions, in the order of time.
    """
    if min(len(training), len(held_out)) < LEAST:
        return None
    rising, falling = trend(training[-LAST:]), trend(held_out[-LAST:])
    if rising.sure and falling.sure and rising.change > 0 > falling.change:
        return rising, falling
    return None
