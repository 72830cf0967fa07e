r"""A simulated user of one's own, chosen by name beside the shipped ones.

    cd examples && editenv evaluate policy=noop user=own_user:Insistent user.settings.tries=3 suite=mice-cm \\
        sessions=16 out=runs/own_user

A user has `begin` and `reply` and keeps nothing between calls: what they need to know is in the session
(`spec`) and in the finished turn, so that sessions can be continued from a state or branched.
"""

from typing import Any

import numpy as np

from editenv.types import Stop, TurnResult, UserMessage


class Insistent:
    """Reads the script out, and repeats an instruction while the picture stays as it was.

    Args:
        tries: times that one instruction is given before the user gives up, 1 or more.
    """

    reads_scores = False  # turns may be scored while the session goes on

    def __init__(self, tries: int = 2) -> None:
        if tries < 1:
            raise ValueError(f"tries is {tries!r}, expected 1 or more")
        self.tries = tries
        self.version = f"insistent 1 tries {tries}"

    def begin(self, spec: Any) -> UserMessage:
        """The script's first instruction; `detail` goes into infos and records."""
        said = spec.message(0)
        return UserMessage(said.text, said.meaning, {"line": 0, "try": 1})

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        """The same again, the next line, "done" after the last one or "gave_up"."""
        line, tried = outcome.message.detail["line"], outcome.message.detail["try"]
        if np.array_equal(outcome.before, outcome.after):
            if tried == self.tries:
                return Stop("gave_up")
            said = outcome.spec.message(line)
            return UserMessage(f"once more: {said.text}", said.meaning, {"line": line, "try": tried + 1})
        if line + 1 == outcome.spec.turn_count:
            return Stop("done")
        said = outcome.spec.message(line + 1)
        return UserMessage(said.text, said.meaning, {"line": line + 1, "try": 1})
