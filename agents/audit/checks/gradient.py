"""The policy gradient against the one in closed form, at the sampling policy and away from it."""

from __future__ import annotations

import numpy as np

from editenv.agents.audit.bench import Bench, numbers
from editenv.agents.audit.closed import loss_gradient
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.known import KnownPolicy

_SPACES = {"flow": ("gain_moe_gen", "shift_moe_gen"), "text": ("bigram",)}
_TOLERANCE = 2e-3


def check_gradient(bench: Bench) -> list[Finding]:
    """Size and direction of each space's gradient of the loss.

    Away from the sampling policy some ratios leave the clip range, and the gradient of the turns that would
    go farther must vanish.
    """
    near = bench.policy.moved(gain=0.002, shift=0.004, text=0.3)
    return [*_at(bench, bench.policy, ""), *_at(bench, near, ", second update")]


def _at(bench: Bench, policy: KnownPolicy, when: str) -> list[Finding]:
    turns, advantage, keep = bench.trained
    names = dict(policy.named_parameters())
    total = bench.trainer.loss(policy, bench.policy, turns, advantage, keep).total
    policy.zero_grad()
    total.backward()
    known = loss_gradient(
        policy, bench.policy, bench.facts, turns, numbers(advantage), keep.cpu().numpy().astype(bool)
    )
    found = []
    for space, members in _SPACES.items():
        present = [name for name in members if name in known]
        if not present:
            continue
        grads = [names[name].grad for name in present]
        value = np.concatenate([[0.0] if grad is None else numbers(grad).ravel() for grad in grads])
        expected = np.concatenate([np.ravel(known[name]) for name in present])
        value = np.zeros_like(expected) if len(value) != len(expected) else value
        size = float(np.linalg.norm(expected))
        error = float(np.linalg.norm(value - expected)) / max(size, 1e-30)
        ratio = float(np.linalg.norm(value)) / max(size, 1e-30)
        found += [
            Finding("gradient", f"size of {space}'s, over theory{when}", ratio, 1.0, _TOLERANCE),
            Finding("gradient", f"error of {space}'s, over its size{when}", error, 0.0, _TOLERANCE),
        ]
    policy.zero_grad()
    return found
