"""A minibatch's update in pieces that fit into memory; together they make the same gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from editenv.agents.edit_r2.objective.protocol import Batch

Numbers = dict[str, float]


def chunks(sessions: Batch, most: int | None) -> list[Batch]:
    """Sessions [S, ...] as pieces of at most `most` rows, as even as can be; views, which share memory.

    Args:
        sessions: tensors by name.
        most: rows, 1 or more; None for one piece.
    """
    rows = len(next(iter(sessions.values())))
    count = 1 if most is None else -(-rows // most)
    pieces = {name: value.tensor_split(count) for name, value in sessions.items()}
    return [{name: piece[number] for name, piece in pieces.items()} for number in range(count)]


def accumulated(
    pieces: Sequence[Batch],
    loss_of: Callable[[Batch, bool], tuple[Tensor, Numbers]],
    backward: Callable[[Tensor], None],
    apart: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[Tensor, Numbers]:
    """The loss of all pieces, whose gradient is that of the last one: the others go backward here.

    Every objective is a mean over a minibatch's turns, so a piece counts by its share of the sessions.

    Args:
        pieces: of a minibatch.
        loss_of: loss and numbers for the log, of a piece; told whether it is the first one.
        backward: adds a loss's gradient to what there is.
        apart: opened around all pieces but the last, where processes need not hear of each other's gradients.

    Returns:
        A scalar with the value of the whole loss, and the numbers: largest errors, means of all others.
    """
    rows = [len(next(iter(piece.values()))) for piece in pieces]
    shares = [count / sum(rows) for count in rows]
    told: list[tuple[float, Numbers]] = []
    before: Tensor | float = 0.0
    for share, piece in zip(shares[:-1], pieces[:-1], strict=True):
        with apart():
            loss, numbers = loss_of(piece, not told)
            backward(loss * share)
        told.append((share, numbers))
        before = before + loss.detach() * share
    loss, numbers = loss_of(pieces[-1], not told)
    told.append((shares[-1], numbers))
    return loss * shares[-1] + before, together(told)


def together(told: Sequence[tuple[float, Numbers]]) -> Numbers:
    """One set of numbers from those of pieces, given with their shares.

    Names that end with "_error" are maxima; others are means over the pieces that have them, by share.
    """
    if len(told) == 1:
        return told[0][1]
    found: Numbers = {}
    for name in {name: None for _, numbers in told for name in numbers}:
        having = [(share, numbers[name]) for share, numbers in told if name in numbers]
        if name.endswith("_error"):
            found[name] = max(value for _, value in having)
        else:
            found[name] = sum(share * value for share, value in having) / sum(share for share, _ in having)
    return found


def prepared(pieces: Sequence[Batch], prepare: Callable[[Batch], Batch]) -> Batch:
    """What an objective adds to a rollout, piece by piece."""
    found = [prepare(piece) for piece in pieces]
    return {name: torch.cat([piece[name] for piece in found]) for name in found[0]}
