"""The stochastic window starts everywhere it should, equally often, and its steps follow each other."""

from __future__ import annotations

import math

import numpy as np

from editenv.agents.audit.bench import ROLLOUTS, Bench, flow_of
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.protocol import Facts, NotOffered


def check_window(bench: Bench) -> list[Finding]:
    """Shares of starts over several iterations, and times that are consecutive ones of the grid."""
    facts = bench.facts
    if not facts.window:
        raise NotOffered("pictures")
    times = np.concatenate([flow_of(turns)[1] for turns in bench.rollouts])
    grid = np.array(facts.times)
    places = np.abs(grid - times[..., None]).argmin(-1)
    off_grid = float(np.abs(grid[places] - times).max())
    gaps = float((np.diff(places) != 1).mean())
    found = [
        Finding("window", "distance of a time from the grid", off_grid, 0.0, 1e-6),
        Finding("window", "share of steps that skip a time", gaps),
    ]
    for start in range(facts.window_low, facts.window_high + 1):
        share = _share(facts, start)
        error = 4.5 * math.sqrt(share * (1 - share) / len(places)) + 1e-9
        value = float((places[:, 0] == start).mean())
        found.append(Finding("window", f"share of windows that start at step {start}", value, share, error))
    return found


def _share(facts: Facts, start: int) -> float:
    """Of the windows of the bench's iterations, those that should start at a step."""
    if facts.window_placement == "random":
        return 1 / (facts.window_high - facts.window_low + 1)
    every = facts.window_every if facts.window_placement == "sliding" else ROLLOUTS
    places = [min(facts.window_low + at // every, facts.window_high) for at in range(ROLLOUTS)]
    return places.count(start) / ROLLOUTS
