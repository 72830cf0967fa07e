"""The user who reads a session's script out, whatever the pictures show (as MICE-Bench does)."""

from typing import Any

from editenv.types import Stop, TurnResult, UserMessage


class ReplayUser:
    """Says the script's next instruction after each turn, and goodbye after the last one.

    A session with a script has `turn_count` instructions, and `message(turn)` gives one of them.
    """

    version = "replay 1"
    reads_scores = False

    def begin(self, spec: Any) -> UserMessage:
        """The script's first instruction."""
        return spec.message(0)

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        """The script's next instruction, or "done" where there is none."""
        following = outcome.turn + 1
        return outcome.spec.message(following) if following < outcome.spec.turn_count else Stop("done")
