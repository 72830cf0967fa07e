"""An iteration's sessions shared out over processes: who plays which, and what all must know of all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.functional import pad

from editenv.agents.edit_r2.places import At, Place, Places
from editenv.agents.edit_r2.rollout import Rollout
from editenv.types import Scores

T = TypeVar("T")
_SCORES = ("reward", "instruction_following", "valid", "intent_mask")


@dataclass(frozen=True)
class Played:
    """What is known of a session that another process played.

    Attributes:
        scores: of its turns, without details.
        index: of its script, as `Session.index`.
    """

    scores: tuple[Scores, ...]
    index: int


def process() -> PartialState:
    """Which process this is and of how many; the first call joins them, over gloo where there is no GPU."""
    return PartialState(cpu=not torch.cuda.is_available())


def own_rows(sessions: int) -> slice:
    """Which of an iteration's sessions this process plays: the same number in each, a group may be divided.

    Raises:
        ValueError: they cannot be shared out evenly.
    """
    state = process()
    count, rest = divmod(sessions, state.num_processes)
    if rest:
        raise ValueError(
            f"specs * rollouts is {sessions}, expected a multiple of the {state.num_processes} processes"
        )
    return slice(state.process_index * count, (state.process_index + 1) * count)


def of_all(part: T) -> list[T]:
    """What each process has of something, in their order; every process has to ask."""
    if process().num_processes == 1:
        return [part]
    found: list[T] = gather_object([part])
    return found


@dataclass(frozen=True)
class Failed:
    """What a process has in place of what it was to play.

    Attributes:
        said: kind and words of the error.
    """

    said: str


class ProcessFailed(RuntimeError):
    """Another process could not play its sessions."""


def of_all_or_none(part: T) -> list[T]:
    """`of_all` where every process has its part; else all of them learn why not, and none waits for it.

    Raises:
        ProcessFailed: a process had `Failed`.
    """
    found = of_all(part)
    for number, one in enumerate(found):
        if isinstance(one, Failed):
            raise ProcessFailed(f"process {number}: {one.said}")
    return found


def gathered(rollout: Rollout) -> Rollout:
    """The rollout of all processes as far as credit reads it: sessions' scores and which tokens were written.

    A process may have played fewer turns than others; what it did not play is not valid, with a reward of 0
    as after a session's end.
    """
    if process().num_processes == 1:
        return rollout
    own = {name: value.cpu() for name, value in rollout.tensors.items() if name in _SCORES}
    pieces: list[dict[str, Any]] = gather_object(
        [
            {
                "tensors": own,
                "sessions": _played(rollout),
                "fallbacks": rollout.fallbacks,
                "places": rollout.places,
            }
        ]
    )
    turns = max(piece["tensors"]["reward"].shape[1] for piece in pieces)
    tensors = _joined([piece["tensors"] for piece in pieces], turns)
    sessions = tuple(session for piece in pieces for session in piece["sessions"])
    fallbacks = sum(piece["fallbacks"] for piece in pieces) / len(pieces)
    return Rollout(sessions, tensors, fallbacks, _places(pieces))


def own_part(paid: dict[str, Tensor], rows: slice, turns: int) -> tuple[dict[str, Tensor], float]:
    """This process's rows [S, K] of what all were paid, and by how much its mean over turns counts.

    The loss is a mean over all sessions' turns, and gradients are averaged over processes. One that played
    `turns` of the K turns that others did has to weigh less, by turns / K.
    """
    longest = next(iter(paid.values())).shape[1]
    return {name: value[rows, :turns] for name, value in paid.items()}, turns / longest


def _played(rollout: Rollout) -> list[Played]:
    return [
        Played(tuple(replace(scores, detail={}) for scores in session.scores), session.index)
        for session in rollout.sessions
    ]


def _places(pieces: list[dict[str, Any]]) -> Places | None:
    """The places of all processes, whose rows follow one another."""
    found: dict[At, Place] = {}
    rows = 0
    for piece in pieces:
        if piece["places"] is None:
            return None
        found |= {(row + rows, column): place.moved(rows) for (row, column), place in piece["places"].items()}
        rows += len(piece["tensors"]["reward"])
    return found


def _joined(pieces: list[dict[str, Tensor]], turns: int) -> dict[str, Tensor]:
    """Tensors [S, K, ...] of all processes in one, padded to the most turns and the longest intent."""
    found = {}
    for name in _SCORES:
        rows = [_with_turns(name, piece[name], turns) for piece in pieces]
        longest = max(row.shape[-1] for row in rows)
        found[name] = torch.cat([pad(row, (0, longest - row.shape[-1])) for row in rows])
    return found


def _with_turns(name: str, value: Tensor, turns: int) -> Tensor:
    missing = turns - value.shape[1]
    filler = float("nan") if name == "instruction_following" else 0
    blank = value.new_full((len(value), missing, *value.shape[2:]), filler)
    return torch.cat([value, blank], dim=1)
