"""What a sampler makes has the moments that its own steps predict; beside them, the flow's."""

from __future__ import annotations

import math

import numpy as np

from editenv.agents.audit.bench import Bench, flow_of, heats_of, text_of
from editenv.agents.audit.closed import text_rows
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.known import PULL, VOCABULARY
from editenv.agents.audit.protocol import Auditable, NotOffered
from editenv.agents.audit.theory import Floats, marginal_variance, sampled_variances

_ERRORS = 4.5
"""Standard errors that pass: 1 of 150,000 right numbers is farther away."""


def check_marginals(bench: Bench) -> list[Finding]:
    """Mean and std of latents before, in and after the window, by start; words that follow each word.

    A discretised Flow-SDE step adds noise and a CPS step may take some (up to 2.9% of the std for a Gaussian
    of unit spread on a grid of 14 steps), so a sampler is held to the exact moments of its discrete steps;
    the note gives how far these lie from the flow's own.
    """
    found = []
    if bench.facts.window:
        for variant in bench.trainer.variants():
            found += _flow(bench, variant)
    if bench.facts.temperature is not None:
        found.append(_text(bench))
    if not found:
        raise NotOffered("neither pictures nor text")
    return found


def _flow(bench: Bench, trainer: Auditable) -> list[Finding]:
    facts = trainer.facts
    turns = bench.rollouts if trainer is bench.trainer else bench.rollouts_of(trainer)
    parts = [flow_of(some) for some in turns]
    latents, times, source = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    starts = np.array([_place(facts.times, value) for value in times[:, 0]])
    found = []
    for start in range(facts.window_low, facts.window_high + 1):
        rows = starts == start
        if not rows.any():
            continue
        stds = [math.sqrt(variance) for variance in sampled_variances(facts, start)]
        for place in {0, facts.window}:
            t = facts.times[start + place]
            distance = latents[rows, place] - (1 - t) * PULL * source[rows]
            excess = 100 * (stds[place] / math.sqrt(marginal_variance(t)) - 1)
            what = f"{facts.sampler}: {{}} at step {start + place}, window {start}"
            found += _moments(what, distance, stds[place], f"by theory {excess:+.1f}% of the flow's")
    return found


def _moments(what: str, distance: Floats, std: float, note: str) -> list[Finding]:
    """Rollouts of a group may share their first noise: the sessions are counted once in each group."""
    independent = len(np.unique(distance.round(4), axis=0)) * distance.shape[1]
    mean_error, std_error = std / math.sqrt(independent), std / math.sqrt(2 * independent)
    return [
        Finding("marginals", what.format("mean"), float(distance.mean()), 0.0, _ERRORS * mean_error),
        Finding("marginals", what.format("std"), float(distance.std()), std, _ERRORS * std_error, note),
    ]


def _text(bench: Bench) -> Finding:
    """Chi-square of the words that follow each word, in standard deviations of its distribution."""
    found: dict[float, Floats] = {}
    for turns in bench.rollouts:
        (tokens, mask, before), heats = text_of(turns), heats_of(bench.facts, turns)
        for heat in np.unique(heats):
            here = mask & (heats == heat)[:, None]
            pairs = found.setdefault(float(heat), np.zeros((VOCABULARY, VOCABULARY)))
            np.add.at(pairs, (before[here], tokens[here]), 1)
    counts, words = np.stack(list(found.values())), np.arange(VOCABULARY)
    tables = np.stack([np.exp(text_rows(bench.policy, heat, words)) for heat in found])
    expected = counts.sum(-1, keepdims=True) * tables
    used = expected > 5
    freedom = used.sum() - (used.any(-1)).sum()
    chi = ((counts - expected)[used] ** 2 / expected[used]).sum()
    value = (chi - freedom) / math.sqrt(2 * freedom)
    return Finding("marginals", "text: chi-square of word pairs, in std", float(value), 0.0, 5.0)


def _place(times: tuple[float, ...], value: float) -> int:
    return int(np.argmin(np.abs(np.array(times) - value)))
