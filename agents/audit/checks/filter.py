"""What the filter lets through: by its definition, and in the gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from editenv.agents.audit.bench import Bench, numbers
from editenv.agents.audit.credit import FILTERS
from editenv.agents.audit.finding import Finding

_NAN = float("nan")
_FOLLOWING = np.array(
    [
        [[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 0]],
        [[0.2, 1, 0, 1], [1, 1, 1, 0], [_NAN, 1, 0, 1]],
        [[0, 0, 0, 0], [1, _NAN, 1, 1], [1e-9, 1, 0, 0]],
    ]
)


def check_filter(bench: Bench) -> list[Finding]:
    """Which of 36 turns train, failed, half failed and unscored ones among them; and that the others do not.

    The loss gets an advantage at the filtered turns alone, which must move nothing, then at the others.
    """
    value = bench.trainer.keep(torch.from_numpy(_FOLLOWING)).cpu().numpy().astype(bool)
    name = bench.facts.filter
    if name in FILTERS:
        # An unscored turn trains nowhere, whatever a filter says of it.
        wrong = float(((value != FILTERS[name](bench.facts, _FOLLOWING)) & ~np.isnan(_FOLLOWING)).sum())
        found = [Finding("filter", f"turns that {name!r} gets wrong, of 36", wrong)]
    else:
        found = [Finding("filter", f"no theory of {name!r}", _NAN, skipped=True)]
    turns, _, _ = bench.trained
    following = torch.ones_like(turns.following)
    following[:, ::2, 0] = 0
    keep = bench.trainer.keep(following)
    if bool(keep.all()):
        return found
    let_through, held_back = _gradient(bench, keep), _gradient(bench, ~keep)
    share = held_back / max(let_through + held_back, 1e-30)
    return [*found, Finding("filter", "share of the gradient from filtered turns", share, 0.0, 1e-9)]


def _gradient(bench: Bench, where: Tensor) -> float:
    """Norm of the loss's gradient with an advantage of 1 at these turns alone."""
    turns, _, _ = bench.trained
    following = torch.ones_like(turns.following)
    following[:, ::2, 0] = 0
    keep, policy = bench.trainer.keep(following), bench.policy
    policy.zero_grad()
    bench.trainer.loss(policy, policy, turns, where.double(), keep).total.backward()
    norms = [np.linalg.norm(numbers(p.grad)) for p in policy.parameters() if p.grad is not None]
    policy.zero_grad()
    return float(np.linalg.norm(norms))
