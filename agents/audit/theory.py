"""What the known policy must give, by formulas of its own: nothing in here calls a trainer's code."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from editenv.agents.audit.known import SPREAD
from editenv.agents.audit.protocol import Facts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Step(NamedTuple):
    """A transition x' = x_factor x + v_factor velocity + std noise."""

    x_factor: float
    v_factor: float
    std: float


def sigma_of(facts: Facts, t: float) -> float:
    """Flow-SDE's diffusion coefficient a sqrt(t / (1 - t)), its pole at t = 1 avoided as the facts say."""
    if facts.sigma_t_max is not None:
        t = min(t, facts.sigma_t_max)
        return facts.noise_level * math.sqrt(t / (1 - t))
    return facts.noise_level * math.sqrt(t / (1 - (facts.times[1] if t == 1 else t)))


def stochastic_step(facts: Facts, t: float, t_next: float) -> Step:
    """A step of Flow-SDE (arXiv 2505.05470) or of Flow-CPS (arXiv 2509.05952)."""
    if facts.sampler == "cps":
        angle = facts.noise_level * math.pi / 2
        image, noise = 1 - t_next, t_next * math.cos(angle)
        return Step(image + noise, noise * (1 - t) - image * t, t_next * math.sin(angle))
    variance, dt = sigma_of(facts, t) ** 2, t_next - t
    return Step(
        1 + variance * dt / (2 * t), dt + variance * (1 - t) * dt / (2 * t), math.sqrt(-dt * variance)
    )


def slope(t: float) -> float:
    """K of `KnownPolicy`: how its velocity grows with x."""
    return (t - (1 - t) * SPREAD**2) / marginal_variance(t)


def marginal_variance(t: float) -> float:
    """Variance of a latent at time t about (1 - t) image, in the flow that the policy belongs to."""
    return t**2 + ((1 - t) * SPREAD) ** 2


def sampled_variances(facts: Facts, start: int) -> list[float]:
    """Variances at each time of the window that starts at a step, as the sampler's own steps make them.

    The distance of x from (1 - t) image is multiplied by x_factor + v_factor k(t) in each step.
    """
    variance, found = 1.0, []
    for step in range(start + facts.window):
        t, t_next = facts.times[step], facts.times[step + 1]
        if step >= start:
            found.append(variance)
        move = Step(1.0, t_next - t, 0.0) if step < start else stochastic_step(facts, t, t_next)
        variance = variance * (move.x_factor + move.v_factor * slope(t)) ** 2 + move.std**2
    return [*found, variance]
