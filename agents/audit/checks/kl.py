"""Distances to the reference, of pictures and of text."""

from __future__ import annotations

import numpy as np

from editenv.agents.audit.bench import Bench, heats_of, text_of
from editenv.agents.audit.closed import flow_density, text_log_prob
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.protocol import NotOffered
from editenv.agents.audit.theory import sigma_of

_RELATIVE = 1e-3


def check_kl(bench: Bench) -> list[Finding]:
    """0 at the reference; away from it (mean - mean_ref)^2 / (2 std^2), and e^d - d - 1 on sampled tokens.

    d = log_prob_ref - log_prob: with the two swapped the number differs.
    """
    moved = bench.policy.moved()
    found = [*_compared(bench, bench.policy, "at the reference"), *_compared(bench, moved, "away from it")]
    if not found:
        raise NotOffered("distances to a reference")
    return found


def _compared(bench: Bench, policy: KnownPolicy, where: str) -> list[Finding]:
    turns, advantage, keep = bench.trained
    loss = bench.trainer.loss(policy, bench.policy, turns, advantage, keep)
    trains = (keep.cpu().numpy().astype(bool) & ~np.isnan(turns.reward.cpu().numpy())).ravel()
    found = []
    if loss.flow_kl is not None:
        expected = _flow_kl(bench, policy)[trains].mean()
        found.append(("flow", loss.flow_kl, float(expected)))
    if loss.text_kl is not None:
        tokens, mask, before = text_of(turns)
        heat = heats_of(bench.facts, turns)
        now, reference = (text_log_prob(p, heat, tokens, before) for p in (policy, bench.policy))
        apart = (reference - now)[mask & trains[:, None]]
        found.append(("text", loss.text_kl, float((np.expm1(apart) - apart).mean())))
    return [
        Finding("kl", f"{space}, {where}", value, expected, _RELATIVE * abs(expected) + 1e-9)
        for space, value, expected in found
    ]


def _flow_kl(bench: Bench, policy: KnownPolicy) -> np.ndarray:
    facts, turns = bench.facts, bench.trained[0]
    now, then = (flow_density(p, facts, turns) for p in (policy, bench.policy))
    if facts.flow_kl == "velocity":
        return ((now.velocity - then.velocity) ** 2).mean(-1)
    scale = now.std
    if facts.flow_kl == "published" and facts.sampler == "flow_sde":
        times = turns.times.cpu().numpy().reshape(len(scale), -1)[:, :-1]  # type: ignore[union-attr]
        scale = np.vectorize(lambda t: sigma_of(facts, float(t)))(times)
    elif facts.flow_kl not in ("gaussian", "published"):
        return np.full_like(scale, np.nan)
    return ((now.mean - then.mean) ** 2).mean(-1) / (2 * scale**2)
