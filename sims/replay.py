"""The user who reads a session's script out, whatever the pictures show (as MICE-Bench does)."""

from __future__ import annotations

from typing import Protocol

from editenv.types import Stop, TurnResult, UserMessage


class Script(Protocol):
    """A session whose instructions are all written beforehand."""

    @property
    def turn_count(self) -> int:
        """Number of instructions."""
        ...

    def message(self, turn: int) -> UserMessage:
        """The instruction of a turn, from 0 to turn_count - 1."""
        ...


class ReplayUser:
    """Says the script's next instruction after each turn, and goodbye after the last one."""

    version = "replay 1"
    reads_scores = False

    def begin(self, spec: Script) -> UserMessage:
        """The script's first instruction."""
        return spec.message(0)

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        """The script's next instruction, or "done" where there is none."""
        following = outcome.turn + 1
        return outcome.spec.message(following) if following < outcome.spec.turn_count else Stop("done")
