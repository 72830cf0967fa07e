"""Ratios of new to old probability: 1 before an update, and the right number after one."""

from __future__ import annotations

import numpy as np

from editenv.agents.audit.bench import Bench, heats_of, numbers, text_of
from editenv.agents.audit.closed import flow_density, text_log_prob
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.theory import Floats

_LOG_RATIO = 1e-4
"""Largest error of a log-ratio after a move: float32 and the sums over dimensions."""


def check_ratio(bench: Bench) -> list[Finding]:
    """|ratio - 1| within a tenth of the clip before an update; after a move, the ratio by theory.

    The second half finds ratios that are 1 for ever, as where the old log-probs are taken anew in training.
    """
    return [*_before(bench), *_after(bench)]


def _before(bench: Bench) -> list[Finding]:
    facts, found = bench.facts, []
    for turns in bench.rollouts[1:3]:
        keep = bench.trainer.keep(turns.following)
        judged = bench.trainer.loss(bench.policy, bench.policy, turns, turns.reward.nan_to_num(), keep)
        if judged.flow_log_prob is not None and turns.flow_log_prob is not None:
            error = numbers(judged.flow_log_prob - turns.flow_log_prob)
            found.append(("flow", _largest(error), min(facts.flow_clip / 10, 1e-4)))
        if judged.text_log_prob is not None and turns.text_log_prob is not None:
            error = numbers(judged.text_log_prob - turns.text_log_prob)[_mask(turns.mask)]
            found.append(("text", _largest(error), min(facts.text_clip / 10, 1e-4)))
    worst = {space: max(value for name, value, _ in found if name == space) for space, *_ in found}
    bounds = {space: bound for space, _, bound in found}
    return [
        Finding("ratio", f"largest |ratio - 1| of {space}", value, 0.0, bounds[space], "training disagrees")
        for space, value in worst.items()
    ]


def _after(bench: Bench) -> list[Finding]:
    """Compares log-ratios, since a ratio of a moved policy may be any size."""
    turns, advantage, keep = bench.trained
    moved = bench.policy.moved(gain=0.002, shift=0.005, text=0.1)
    judged = bench.trainer.loss(moved, bench.policy, turns, advantage, keep)
    found = []
    if judged.flow_log_prob is not None and turns.flow_log_prob is not None:
        now, then = (flow_density(policy, bench.facts, turns).log_prob for policy in (moved, bench.policy))
        value = numbers(judged.flow_log_prob - turns.flow_log_prob).reshape(now.shape)
        found.append(_moved("flow", value, now - then))
    if judged.text_log_prob is not None and turns.text_log_prob is not None:
        tokens, mask, before = text_of(turns)
        heat = heats_of(bench.facts, turns)
        now, then = (text_log_prob(policy, heat, tokens, before) for policy in (moved, bench.policy))
        value = numbers(judged.text_log_prob - turns.text_log_prob).reshape(now.shape)
        found.append(_moved("text", value[mask], (now - then)[mask]))
    return found


def _moved(space: str, value: Floats, expected: Floats) -> Finding:
    note = "the ratio does not follow the policy"
    return Finding(
        "ratio", f"error of {space}'s log-ratio, moved", _largest(value - expected), 0.0, _LOG_RATIO, note
    )


def _largest(values: Floats) -> float:
    return float(np.abs(np.expm1(values)).max()) if values.size else 0.0


def _mask(mask: object) -> Floats:
    return np.asarray(mask, dtype=bool)
