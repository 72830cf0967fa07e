"""Which turn each row of a rollout plays next: on in its session, or a sibling's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.edit_r2.filter import FILTERS
from editenv.agents.edit_r2.places import At, Place
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.protocols import Observations
from editenv.vector import MICEEditVectorEnv


class Course:
    """Whole sessions side by side: after a turn comes the next one.

    Args:
        envs: whose rows play, reset to the first turn.
        spending: how turns are spent.
        numbers: session of each row; rows of one group lie side by side.
        rows: which rows of the whole rollout these are.
    """

    def __init__(
        self,
        envs: MICEEditVectorEnv,
        spending: SpendSettings,
        numbers: Sequence[int],
        rows: Sequence[int],
    ) -> None:
        self.envs, self.spending, self.rows = envs, spending, list(rows)
        first: dict[int, At] = {}
        for number, row in zip(numbers, rows, strict=True):
            first.setdefault(number, (row, 0))
        self.next = [Place(number, 0, 0, first[number]) for number in numbers]
        self.places: dict[At, Place] = {}
        self._begin()

    @property
    def alive(self) -> list[bool]:
        """Which rows have a turn to play."""
        return [session.ending is None for session in self.envs.sessions]

    def played(self, alive: Sequence[bool], column: int, columns: int) -> Observations | None:
        """Notes a turn that the environments have just made, and turns rows to what they play next.

        Args:
            alive: which rows played it.
            column: of the tensors, from 0.
            columns: all there are.

        Returns:
            What is seen where some rows do not simply go on, else None.
        """
        here = [(row, column) for row in self.rows]
        for at, place, lives in zip(here, self.next, alive, strict=True):
            if lives:
                self.places[at] = place
        failed = self._failed(alive)
        over = [session.ending is not None for session in self.envs.sessions]
        for row, (at, place) in enumerate(zip(here, self.next, strict=True)):
            if alive[row]:
                past = (*place.past, at)
                self.next[row] = replace(
                    place, turn=place.turn + 1, state=(at[0], column + 1), past=past, again=False
                )
        return self._turned(here, failed, over, columns - column - 1)

    def past_rows(self, columns: int) -> Tensor:
        """Whose turn in each earlier column the rows' next turns follow, [R, columns]; -1 for nobody's.

        Rows are counted among these. One that plays no more goes on as it was, for whatever is read of it.
        """
        local = {row: here for here, row in enumerate(self.rows)}
        found = torch.full((len(local), columns), -1)
        for here, (place, lives) in enumerate(zip(self.next, self.alive, strict=True)):
            if not lives:
                found[here] = here
            for row, column in place.past if lives else ():
                found[here, column] = local[row]
        return found

    def _begin(self) -> None:
        """Notes what a course needs to know of the first turns."""

    def _failed(self, alive: Sequence[bool]) -> list[bool]:
        """Whether each row's last turn failed, as the filter means it: what came after would not train."""
        following = [
            session.scores[-1].instruction_following if lives else None
            for session, lives in zip(self.envs.sessions, alive, strict=True)
        ]
        known = [float("nan") if value is None else value for value in following]
        scores = torch.tensor(known, dtype=torch.float64)[:, None].expand(-1, 2)
        valid = ~scores.isnan()
        keep = FILTERS[self.spending.filter](scores, valid, threshold=self.spending.filter_threshold).keep
        return (~keep[:, 1]).tolist()

    def _turned(
        self, here: Sequence[At], failed: Sequence[bool], over: Sequence[bool], left: int
    ) -> Observations | None:
        return None


class _Start(NamedTuple):
    """A state that turns are begun from, as bytes, and how its place is described."""

    state: bytes
    place: Place


class Branches(Course):
    """A session that failed is left where it is; its row tries turns that its group has reached cleanly.

    These are the next turns of sessions that have not failed; where there is none left, the turns at which
    the last of them failed. A try leads nowhere: its row tries again in the next column.
    """

    def _begin(self) -> None:
        self.lost = [False] * len(self.rows)
        self.starts: dict[int, list[_Start]] = {}
        for row, place in enumerate(self.next):
            if place.group not in self.starts:
                self.starts[place.group] = [_Start(self.envs.get_state(row), place)]

    def _turned(
        self, here: Sequence[At], failed: Sequence[bool], over: Sequence[bool], left: int
    ) -> Observations | None:
        self.lost = [before or now for before, now in zip(self.lost, failed, strict=True)]
        if not left:
            return None
        for group in self.starts:
            clean = [
                row
                for row, place in enumerate(self.next)
                if place.group == group and not (self.lost[row] or over[row])
            ]
            if clean:
                self.starts[group] = [_Start(self.envs.get_state(row), self.next[row]) for row in clean]
        tries: dict[int, int] = {}
        states = {}
        for row, lost in enumerate(self.lost):
            if lost:
                group = self.next[row].group
                starts, count = self.starts[group], tries.get(group, 0)
                states[row], place = starts[count % len(starts)]
                self.next[row] = replace(place, attempt=here[row][1] + 1, again=True)
                tries[group] = count + 1
        return self.envs.set_states(states)[0] if states else None


def course_of(
    envs: MICEEditVectorEnv, spending: SpendSettings, numbers: Sequence[int], rows: Sequence[int]
) -> Course:
    """The course that the settings ask for; arguments as `Course`."""
    kind = Branches if spending.branches else Course
    return kind(envs, spending, numbers, rows)
