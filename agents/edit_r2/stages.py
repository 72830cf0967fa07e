"""Two stages of sampling: a few sessions of every spec, then more of those that went differently."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editenv.agents.edit_r2.places import Places, attempts_of
from editenv.vector import MICEEditVectorEnv

_SAME = 1e-6
"""Spread of rewards that rounding leaves of equal ones."""


def mixed_first(reward: Tensor, valid: Tensor, places: Places, rows: Sequence[int], count: int) -> list[int]:
    """Which sessions a second stage plays, in order, each as often as it is named.

    Sessions whose rewards differed share its rows evenly, those with the largest spread first where rows are
    left over; where none differed all share them.

    Args:
        reward: of the first stage, [R, K].
        valid: bool [R, K].
        places: what they hold.
        rows: of the places' rows, which the R are.
        count: rows of the second stage.
    """
    local = {row: here for here, row in enumerate(rows)}
    lines = attempts_of(
        {(local[row], column): place for (row, column), place in places.items()}, reward.shape[1]
    )
    spread = _spread(lines.of(reward, 0.0), lines.of(valid, False)).tolist()
    numbers = sorted({place.group for place in places.values()})
    ranked = sorted(zip(numbers, spread, strict=True), key=lambda pair: (-pair[1], pair[0]))
    mixed = [number for number, value in ranked if value > _SAME] or [number for number, _ in ranked]
    return sorted(mixed[turn % len(mixed)] for turn in range(count))


def others_like(envs: MICEEditVectorEnv, count: int) -> MICEEditVectorEnv:
    """So many environments of the same world, user and scorer."""
    director = envs.director
    return MICEEditVectorEnv(
        count,
        director.world,
        director.user,
        director.scorer,
        split=director.split,
        max_length=director.max_length,
        on_end=director.on_end,
        autoreset_mode=envs.autoreset_mode,
        scoring="immediate" if director.queue is None else "deferred",
    )


def _spread(reward: Tensor, valid: Tensor) -> Tensor:
    """Population std of each spec's rewards at a turn, mean over the turns, [spec]."""
    count = valid.sum(1).clamp(min=1)
    values = reward.masked_fill(~valid, 0.0)
    mean = values.sum(1) / count
    squared = (values - mean[:, None]).square().masked_fill(~valid, 0.0).sum(1)
    return torch.sqrt(squared / count).mean(-1)
