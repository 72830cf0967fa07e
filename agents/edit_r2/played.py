"""What some rows of a rollout have played and how it was judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.edit_r2.places import At, Place
from editenv.session import Session
from editenv.types import Scores


class Played(NamedTuple):
    """What some rows have played; `fallen` has an entry for each intent that was written."""

    sessions: tuple[Session, ...]
    tensors: dict[str, Tensor]
    fallen: list[bool]
    places: dict[At, Place]


def judged_turns(sessions: Sequence[Session], turns: Sequence[int | None]) -> dict[str, Tensor]:
    """Rewards and what the filter reads, of a turn of each session; NaN and not valid where unscored.

    A reward that is no number, or infinite, is none. A session that is over (None) has no reward left to
    earn: 0, not NaN, so that returns are known.
    """
    scored = [
        session.scores[turn] if turn is not None and _counts(session.scores[turn]) else None
        for session, turn in zip(sessions, turns, strict=True)
    ]
    following = [None if scores is None else scores.instruction_following for scores in scored]
    rewards = [
        one.reward if one is not None else 0.0 if turn is None else math.nan
        for one, turn in zip(scored, turns, strict=True)
    ]
    known = [math.nan if value is None else value for value in following]
    return {
        "reward": torch.tensor(rewards, dtype=torch.float64),
        "instruction_following": torch.tensor(known, dtype=torch.float64),
        "valid": torch.tensor([s is not None for s in scored]),
    }


def _counts(scores: Scores) -> bool:
    return scores.scored and math.isfinite(scores.reward)
