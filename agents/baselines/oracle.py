"""The agent that is told what was meant and draws it exactly: every suite must let it reach 1.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from editenv.protocols import Observations
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.intents import intent_form
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rules import right_result
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Undo


class OraclePolicy:
    """Reads the meaning from the open sessions; a memory is the row of the session in `envs`.

    Only for measuring: it looks where agents cannot. A policy is started with the rows of `envs` in order.

    Args:
        envs: whose sessions are played, of studio scenes.
        form: of its intents, a name in `intents.FORMS`.
    """

    def __init__(self, envs: MICEEditVectorEnv, form: str = "free") -> None:
        self.envs = envs
        self.form = intent_form(form)

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[int]:
        """The rows."""
        return list(range(len(seeds)))

    def act(self, observations: Observations, memories: list[int]) -> tuple[dict[str, Any], list[int]]:
        """A right result of each turn and its intent.

        Raises:
            ValueError: a session has no studio meaning.
        """
        sessions = [self.envs.sessions[row] for row in memories]
        turns = [studio_turn(session) for session in sessions]
        earlier = [session.pictures[:-1] for session in sessions]
        grid = sessions[0].spec.scene.grid
        images = right_pictures(observations["image"], turns, grid, earlier)
        intents = tuple(self.form.write(turn, grid) for turn in turns)
        return {"image": np.stack(images), "intent": intents}, memories


def studio_turn(session: Session) -> StudioTurn:
    """What was meant by the session's present instruction.

    Raises:
        ValueError: the session is of another world.
    """
    meaning = session.message.meaning
    if not isinstance(meaning, StudioTurn):
        raise ValueError(
            f"session {session.spec.id} has no studio meaning, which an oracle needs: expected sessions of a "
            "suite, or of a file that `editenv export` wrote"
        )
    return meaning


def right_pictures(
    pictures: Sequence[Image],
    turns: Sequence[StudioTurn],
    grid: int,
    earlier: Sequence[Sequence[Image]],
) -> list[Image]:
    """Pictures uint8 [H, W, 3] after each turn's edit and every rule in force.

    Args:
        pictures: uint8 [H, W, 3] each, on which the edits are possible.
        turns: one a picture.
        grid: cells a side.
        earlier: all pictures before each of them, which only an undo needs.
    """
    size = len(pictures[0])
    right = []
    for turn, scene, shown in zip(turns, parse(pictures, grid), earlier, strict=True):
        past = parse(shown[-1:], grid) if isinstance(turn.edit, Undo) else ()
        right.append(render(right_result(turn.edit, turn.rules, scene, past), size))
    return right
