"""The stochastic window starts everywhere it should, equally often, and its steps follow each other."""

from __future__ import annotations

import math

import numpy as np

from editenv.agents.audit.bench import Bench, flow_of
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.protocol import NotOffered


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
    starts = range(facts.window_low, facts.window_high + 1)
    share = 1 / len(starts)
    error = 4.5 * math.sqrt(share * (1 - share) / len(places))
    for start in starts:
        value = float((places[:, 0] == start).mean())
        found.append(Finding("window", f"share of windows that start at step {start}", value, share, error))
    return found
