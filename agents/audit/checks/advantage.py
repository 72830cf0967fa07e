"""Advantages against a plain loop over turns, and groups that stay apart."""

from __future__ import annotations

import numpy as np
import torch

from editenv.agents.audit.bench import Bench, numbers
from editenv.agents.audit.credit import ADVANTAGES, expected_advantage
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.theory import Floats


def check_advantage(bench: Bench) -> list[Finding]:
    """Numbers by the definition; under any definition other groups' rewards must not turn a group's signs.

    Some rewards are missing, one group has equal rewards whose float32 std is not zero.
    """
    reward, following = _scores()
    value = _advantages(bench, reward, following)
    found = [_apart(bench, value, reward, following)]
    name = bench.facts.advantage
    if name in ADVANTAGES:
        expected = expected_advantage(bench.facts, reward, following)
        found.append(
            Finding("advantage", f"error of {name!r}", float(np.abs(value - expected).max()), 0.0, 1e-6)
        )
    else:
        found.append(Finding("advantage", f"no theory of {name!r}", float("nan"), skipped=True))
    constant = float(np.abs(value[1]).max())
    missing = float(np.abs(value[np.isnan(reward)]).max())
    return [
        *found,
        Finding("advantage", "largest of a group of equal rewards", constant, 0.0, 1e-6),
        Finding("advantage", "largest of a turn without a score", missing),
    ]


def _apart(bench: Bench, value: Floats, reward: Floats, following: Floats) -> Finding:
    """Other groups may set the scale (a std over the batch), never the sign."""
    lifted = reward.copy()
    lifted[0] += 10.0
    other = _advantages(bench, lifted, following)
    turned = float((np.sign(value[2]) != np.sign(other[2])).mean())
    return Finding("advantage", "signs that turn with another group's pay", turned, note="groups mix")


def _advantages(bench: Bench, reward: Floats, following: Floats) -> Floats:
    given = torch.from_numpy(reward), torch.from_numpy(following)
    return numbers(bench.trainer.advantages(*given))


def _scores() -> tuple[Floats, Floats]:
    draws = np.random.default_rng(0)
    reward = draws.uniform(0, 1, (3, 4, 3))
    reward[1] = 0.85
    reward[2, 1, 2] = reward[0, 3, 1] = np.nan
    following = (draws.uniform(0, 1, reward.shape) > 0.3).astype(float)
    return reward, np.where(np.isnan(reward), np.nan, following)
