"""Stored log-probs are the densities of what was sampled."""

from __future__ import annotations

import numpy as np

from editenv.agents.audit.bench import Bench, flow_of, heats_of, numbers, text_of
from editenv.agents.audit.closed import flow_density, text_log_prob
from editenv.agents.audit.finding import Finding

_TOLERANCE = 2e-4
"""Of a log-prob of order 1 in float32."""


def check_density(bench: Bench) -> list[Finding]:
    """Log-probs against closed form, and noise that has the std which they assume."""
    turns, found = bench.rollouts[0], []
    if bench.facts.window:
        flow_of(turns)
        density = flow_density(bench.policy, bench.facts, turns)
        latents, times, _ = flow_of(turns)
        stored = numbers(turns.flow_log_prob) if turns.flow_log_prob is not None else np.full(1, np.nan)
        error = np.abs(stored.reshape(density.log_prob.shape) - density.log_prob).max()
        found.append(Finding("density", "error of the flow's log-prob", float(error), 0.0, _TOLERANCE))
        noise = (latents[:, 1:] - density.mean) / density.std[..., None]
        for place in range(times.shape[1] - 1):
            value = float(noise[:, place].std())
            error = 4.5 / np.sqrt(2 * noise[:, place].size)
            what = f"noise of stochastic step {place}, in std"
            found.append(
                Finding("density", what, value, 1.0, error, "noise of another std than the log-prob's")
            )
    if bench.facts.temperature is not None:
        tokens, mask, before = text_of(turns)
        known = text_log_prob(bench.policy, heats_of(bench.facts, turns), tokens, before)
        stored = numbers(turns.text_log_prob) if turns.text_log_prob is not None else np.full(1, np.nan)
        error = np.abs(stored.reshape(known.shape) - known)[mask].max()
        found.append(Finding("density", "error of a token's log-prob", float(error), 0.0, _TOLERANCE))
    return found
