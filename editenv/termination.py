"""When a session is over, and whether that counts as terminated or truncated."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.types import Stop, UserMessage


@dataclass(frozen=True, slots=True)
class Termination:
    """How a session ended.

    Attributes:
        reason: "done" or "gave_up" (the user's word), "max_turns", or "unscored" where a judge failed.
        truncated: True where the session was cut off; False where the user ended it.
    """

    reason: str
    truncated: bool

    @property
    def terminated(self) -> bool:
        """The opposite of truncated."""
        return not self.truncated


UNSCORED = Termination("unscored", truncated=True)
OUT_OF_TURNS = Termination("max_turns", truncated=True)


def ending(reply: UserMessage | Stop | None, turns: int, max_turns: int) -> Termination | None:
    """The end that a user's reply after `turns` turns means, or None while the session goes on.

    A reply of None says that a judge failed, after whom nobody is asked.
    """
    if reply is None:
        return UNSCORED
    if isinstance(reply, Stop):
        return (
            OUT_OF_TURNS
            if reply.reason == OUT_OF_TURNS.reason
            else Termination(reply.reason, truncated=False)
        )
    return OUT_OF_TURNS if turns >= max_turns else None
