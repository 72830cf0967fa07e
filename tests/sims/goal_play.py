"""Sessions in which a goal user speaks to any agent, picture by picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from editenv.sims.goal import GoalTurn
from editenv.types import Stop, TurnResult, UserMessage
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec, StudioTurn

Answer = Callable[[int, GoalTurn, Scene], Scene]
"""(turn, what was said, scene before) -> the scene an agent shows."""


def rightly(turn: int, said: GoalTurn, before: Scene) -> Scene:
    """What the user means."""
    return right_result(said.edit, said.rules, before)


def spec_of(start: Scene, *turns: StudioTurn, index: int = 0) -> StudioSpec:
    """A session by hand."""
    return StudioSpec("by hand", "test", 0, index, start, turns)


def converse(user: Any, spec: StudioSpec, answer: Answer, most: int = 20) -> tuple[list[UserMessage], str, Scene]:
    """What the user says, how they end, and what the last picture shows."""
    scene, speech = spec.scene, user.begin(spec)
    said, pictures = [speech], [render(scene, 64)]
    for turn in range(most):
        scene = answer(turn, speech.meaning, scene)
        pictures.append(render(scene, 64))
        outcome = TurnResult(spec, turn, speech, pictures[0], pictures[-2], pictures[-1])
        reply = user.reply(outcome)
        if isinstance(reply, Stop):
            return said, reply.reason, scene
        speech = reply
        said.append(speech)
    return said, "max_turns", scene
