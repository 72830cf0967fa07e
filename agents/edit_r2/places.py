"""What each place of a rollout's tensors holds: which turn of which attempt at which session.

A place is a row and a column of tensors [S, K]. In plain rollouts column k of a row is turn k of its session.
Where failed sessions branch, a row holds more than one attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

At = tuple[int, int]
"""Row and column."""


@dataclass(frozen=True)
class Place:
    """One turn that was played.

    Attributes:
        group: number of its session; all attempts at it form a group.
        attempt: which of its row's attempts, from 0.
        turn: which of the session's turns, from 0.
        state: name of the state it starts from, the place of the first turn that was begun there.
        past: places of the turns that led there, oldest first.
        again: whether it is a further try of a turn of another attempt, which leads nowhere.
    """

    group: int
    attempt: int
    turn: int
    state: At
    past: tuple[At, ...] = ()
    again: bool = False

    def moved(self, rows: int) -> Place:
        """The same so many rows further down."""
        (row, column), past = self.state, tuple((row + rows, column) for row, column in self.past)
        return replace(self, state=(row + rows, column), past=past)


Places = Mapping[At, Place]


@dataclass(frozen=True)
class Lines:
    """Attempts laid out as advantages and filters read them, [spec, attempt, turn].

    Attributes:
        index: flat places [spec, attempt, turn], -1 where an attempt has no such turn.
    """

    index: Tensor

    def of(self, values: Tensor, absent: float | bool) -> Tensor:
        """Values of places [S, K] in the attempts' shape, with another value where there is no place."""
        found = values.flatten()[self.index.clamp(min=0)]
        return found.masked_fill(self.index < 0, absent)

    def back(self, values: Tensor, onto: Tensor) -> Tensor:
        """Values in the attempts' shape at their places, those of `onto` [S, K] at all others."""
        there = self.index >= 0
        found = onto.flatten().clone()
        found[self.index[there]] = values[there].to(onto.dtype)
        return found.reshape(onto.shape)


def whole_sessions(rows: int, columns: int, rollouts: int) -> Lines:
    """Of rollouts in which each row is one session, rows of a spec side by side."""
    index = torch.arange(rows * columns).reshape(-1, rollouts, columns)
    return Lines(index)


def attempts_of(places: Places, columns: int) -> Lines:
    """Of rollouts whose rows hold several attempts; further tries belong to none."""
    groups: dict[int, dict[At, list[At]]] = {}
    for at, place in sorted(places.items()):
        if not place.again:
            groups.setdefault(place.group, {}).setdefault((at[0], place.attempt), []).append(at)
    most = max(len(attempts) for attempts in groups.values())
    index = torch.full((len(groups), most, columns), -1)
    for spec, number in enumerate(sorted(groups)):
        for line, turns in enumerate(groups[number].values()):
            for row, column in turns:
                place = places[row, column]
                index[spec, line, place.turn] = row * columns + column
    return Lines(index)


def past_index(places: Places, rows: int, columns: int) -> Tensor:
    """Flat places of the turns before each turn, [S, K, K - 1], ending with the one before; -1 for none."""
    index = torch.full((rows, columns, max(columns - 1, 0)), -1)
    for (row, column), place in places.items():
        if place.past:
            flat = [before * columns + at for before, at in place.past]
            index[row, column, -len(flat) :] = torch.tensor(flat)
    return index
