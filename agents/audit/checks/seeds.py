"""Randomness is a function of seed and iteration: the same ones repeat, others do not."""

from __future__ import annotations

import numpy as np
import torch

from editenv.agents.audit.bench import Bench, flow_of, numbers
from editenv.agents.audit.closed import flow_density
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.protocol import NotOffered, Turns
from editenv.agents.audit.theory import Floats

_SAME = 0.01
"""Standard deviations between two draws of noise that are one draw and rounding."""


def check_seeds(bench: Bench) -> list[Finding]:
    """Samples of one seed and iteration twice, of another seed, of another iteration, and within a group.

    In between the global generators are drawn from and re-seeded, which must not matter.
    """
    torch.manual_seed(0)
    first = bench.trainer.rollout(bench.policy, bench.seed, 0)
    torch.manual_seed(12345)
    torch.rand(7)
    np.random.seed(54321)
    again = bench.trainer.rollout(bench.policy, bench.seed, 0)
    seed = bench.trainer.rollout(bench.policy, bench.seed + 1, 0)
    drawn, *others = (_draws(bench, turns) for turns in (first, seed, bench.rollouts[1]))
    sessions = drawn.reshape(first.reward.shape[0] * first.reward.shape[1], -1).round(2)
    alone = len(np.unique(sessions, axis=0)) / len(sessions)
    repeated = float(np.abs(_samples(first) - _samples(again)).max())
    return [
        Finding("seeds", "difference when the same seed is played again", repeated),
        Finding("seeds", "share of samples that another seed repeats", _alike(drawn, others[0])),
        Finding("seeds", "share of samples that another iteration repeats", _alike(drawn, others[1])),
        Finding("seeds", "share of sessions unlike all others", alone, 1.0),
    ]


def _samples(turns: Turns) -> Floats:
    found = turns.tokens if turns.latents is None else turns.latents
    if found is None:
        raise NotOffered("samples")
    return numbers(found)


def _draws(bench: Bench, turns: Turns) -> Floats:
    """The noise behind each turn's latents, whatever it was added to; without pictures a session's tokens.

    Two turns may well say the same short thing, two sessions hardly.
    """
    if turns.latents is None:
        return _samples(turns).reshape(turns.reward.shape[0] * turns.reward.shape[1], -1)
    density = flow_density(bench.policy, bench.facts, turns)
    return (flow_of(turns)[0][:, 1:] - density.mean) / density.std[..., None]


def _alike(one: Floats, other: Floats) -> float:
    if one.shape != other.shape:
        return 0.0
    same = (np.abs(one - other) < _SAME).reshape(len(one), -1)
    return float(same.all(-1).mean())
