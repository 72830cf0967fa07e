"""Time grids and the draw of the stochastic window; time runs from 1 (noise) to 0 (image)."""

from typing import Protocol

import torch
from torch import Tensor


class Placement(Protocol):
    """Start steps of the stochastic window, int64 in the shape of `uniforms`; see `window_starts`."""

    def __call__(self, uniforms: Tensor, low: int, high: int, iteration: int, every: int) -> Tensor:
        """Start steps within [low, high].

        Args:
            uniforms: numbers in [0, 1), any shape, of which a placement may make use.
            low: first possible start.
            high: last possible start, itself included.
            iteration: of the training, from 0.
            every: iterations that a sliding window rests at a step.
        """


def shifted_times(points: int, shift: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Grid from 1 to 0 that spends more steps near the noise for a shift above 1 (arXiv 2403.03206, eq. 23).

    t = linspace(1, 0, points),  t <- shift * t / (1 + (shift - 1) * t)

    Args:
        points: number of times, one more than the number of steps; at least 2.
        shift: positive; 1 leaves the grid uniform.
        dtype: of the result; the grid itself is computed in float64.

    Returns:
        Strictly decreasing times [points], the first exactly 1 and the last exactly 0.

    Raises:
        ValueError: fewer than two points, or a shift that is not positive.
    """
    if points < 2:
        raise ValueError(f"points: got {points}, expected at least 2 (one step)")
    if not shift > 0:
        raise ValueError(f"shift: got {shift}, expected a positive number")
    uniform = torch.linspace(1.0, 0.0, points, dtype=torch.float64)
    return (shift * uniform / (1 + (shift - 1) * uniform)).to(dtype)


def window_starts(uniforms: Tensor, low: int, high: int) -> Tensor:
    """Turn uniform numbers into start steps of the stochastic window, every start equally often.

    start = low + floor(u * (high - low + 1)). The caller owns the generator of u, so that the draw never
    hangs on a global seed or on a process rank.

    Args:
        uniforms: numbers in [0, 1), any shape.
        low: first possible start, a step index of 0 or more.
        high: last possible start, itself included.

    Returns:
        Start steps, int64, in the shape of `uniforms`.

    Raises:
        ValueError: an empty or negative range, or a number outside [0, 1).
    """
    if not 0 <= low <= high:
        raise ValueError(f"window range: got low={low}, high={high}, expected 0 <= low <= high")
    if not bool(((uniforms >= 0) & (uniforms < 1)).all()):
        raise ValueError("uniforms: got a number outside [0, 1), expected draws of a uniform generator")
    starts = low + (uniforms.double() * (high - low + 1)).floor().long()
    return starts.clamp(max=high)


def fixed_window(uniforms: Tensor, low: int, high: int, iteration: int, every: int) -> Tensor:
    """Always the first step, where most noise is. Arguments as `Placement`."""
    return torch.full_like(uniforms, low, dtype=torch.long)


def random_window(uniforms: Tensor, low: int, high: int, iteration: int, every: int) -> Tensor:
    """Published: every start equally often. Arguments as `Placement`."""
    return window_starts(uniforms, low, high)


def sliding_window(uniforms: Tensor, low: int, high: int, iteration: int, every: int) -> Tensor:
    """MixGRPO's (arXiv 2507.21802): from noise to image, a step on every `every` iterations, then it stays.

    start = min(low + floor(iteration / every), high). Arguments as `Placement`.
    """
    return torch.full_like(uniforms, min(low + iteration // every, high), dtype=torch.long)


PLACEMENTS: dict[str, Placement] = {
    "fixed": fixed_window,
    "random": random_window,
    "sliding": sliding_window,
}
