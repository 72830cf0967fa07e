"""Two stages of sampling: a few sessions of every spec, then more of those that went differently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.edit_r2.padding import join_rows
from editenv.agents.edit_r2.places import At, Place, Places, attempts_of
from editenv.agents.edit_r2.played import Played
from editenv.vector import MICEEditVectorEnv

_SAME = 1e-6
"""Spread of rewards that rounding leaves of equal ones."""


class Begun(NamedTuple):
    """What the first stage has played, or one process's R rows of it.

    Attributes:
        reward: [R, K].
        valid: bool [R, K].
        places: what they hold, by row of these.
    """

    reward: Tensor
    valid: Tensor
    places: Places


Gather = Callable[[Begun], list[Begun]]
"""What a process has played -> what each has, in the order of their rows."""


def alone(part: Begun) -> list[Begun]:
    """Where one process plays everything."""
    return [part]


def begun_of(played: Played, rows: Sequence[int]) -> Begun:
    """The first stage, whose rows have these numbers in `places`."""
    local = {row: here for here, row in enumerate(rows)}
    places = {(local[row], column): place for (row, column), place in played.places.items()}
    return Begun(played.tensors["reward"], played.tensors["valid"], places)


def mixed_first(parts: Sequence[Begun], count: int) -> list[int]:
    """Which sessions a second stage plays, in order, each as often as it is named.

    Sessions whose rewards differed share its rows evenly, those with the largest spread first where rows are
    left over; where none differed all share them.

    Args:
        parts: of the first stage, of all processes; a session's rows may lie in several.
        count: rows of the second stage, of all processes.
    """
    played = join_rows([{"reward": part.reward, "valid": part.valid} for part in parts])
    places: dict[At, Place] = {}
    before = 0
    for part in parts:
        places |= {(row + before, column): place for (row, column), place in part.places.items()}
        before += len(part.reward)
    reward, valid = played["reward"], played["valid"]
    lines = attempts_of(places, reward.shape[1])
    spread = _spread(lines.of(reward, 0.0), lines.of(valid, False)).tolist()
    numbers = sorted({place.group for place in places.values()})
    ranked = sorted(zip(numbers, spread, strict=True), key=lambda pair: (-pair[1], pair[0]))
    mixed = [number for number, value in ranked if value > _SAME] or [number for number, _ in ranked]
    return sorted(mixed[turn % len(mixed)] for turn in range(count))


def others_like(envs: MICEEditVectorEnv, count: int) -> MICEEditVectorEnv:
    """So many environments of the same world, user and scorer."""
    engine = envs.engine
    return MICEEditVectorEnv(
        count,
        engine.world,
        engine.user,
        engine.scorer,
        split=engine.split,
        max_length=engine.max_length,
        on_end=engine.on_end,
        autoreset_mode=envs.autoreset_mode,
        scoring="immediate" if engine.queue is None else "deferred",
    )


def _spread(reward: Tensor, valid: Tensor) -> Tensor:
    """Population std of each spec's rewards at a turn, mean over the turns, [spec]."""
    count = valid.sum(1).clamp(min=1)
    values = reward.masked_fill(~valid, 0.0)
    mean = values.sum(1) / count
    squared = (values - mean[:, None]).square().masked_fill(~valid, 0.0).sum(1)
    return torch.sqrt(squared / count).mean(-1)
