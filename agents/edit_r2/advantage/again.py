"""The advantage of further tries: how much better one went than others from the very same state."""

from __future__ import annotations

import torch
from torch import Tensor

from editenv.agents.edit_r2.advantage.standard import SPREADS
from editenv.registry import lookup


def same_state(
    rewards: Tensor,
    valid: Tensor,
    state: Tensor,
    when: Tensor,
    again: Tensor,
    *,
    clip: float = 5.0,
    eps: float = 1e-4,
    std: str = "batch",
) -> Tensor:
    """Pays further tries of a turn against all turns begun from the same state until then.

    A = (R - mean of the rewards of turns with the same state, sampled in the same or an earlier column) /
    (std + eps), within +-clip

    How many turns start from a state, and with what rewards earlier ones ended, is settled before a try is
    sampled; so the mean hangs on the try by its own share 1 / N alone, and before the std and the bound

        E[(R - mean) grad log p | state] = (1 - 1 / N) grad E[R | state]

    for each try. Which states are tried hangs on earlier outcomes: clean ones weigh more than they would.

    Args:
        rewards: of M turns, [M]; what is not valid may be NaN.
        valid: bool [M].
        state: name of the state that each turn starts from, [M].
        when: column that each turn was sampled in, [M].
        again: which turns are further tries, bool [M].
        clip: bound of the advantage.
        eps: added to the std.
        std: "batch", of all valid turns, or "group", of those that a try is measured against.

    Returns:
        [M] float64; 0 for turns that are no valid tries.
    """
    lookup("advantage_std", std, SPREADS)
    values = rewards.double().masked_fill(~valid, 0.0)
    tries = (again & valid).nonzero()[:, 0]
    others = valid & (state == state[tries, None]) & (when <= when[tries, None])
    count = others.sum(-1).clamp(min=1)
    mean = (values * others).sum(-1) / count
    if std == "batch":
        spread = values[valid].std(correction=0) if bool(valid.any()) else values.new_zeros(())
    else:
        spread = ((values - mean[:, None]).square() * others).sum(-1).div(count).sqrt()
    advantage = torch.zeros_like(values)
    advantage[tries] = ((values[tries] - mean) / (spread + eps)).clamp(-clip, clip)
    return advantage
