"""The observation oracle: parser, transcript and rules of language, nothing that agents cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from editenv.agents.baselines.oracle import studio_grid
from editenv.protocols import Observations
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.language import turn_intent
from editenv.worlds.studio.nlu import meanings
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.scene import Scene


@dataclass(frozen=True, slots=True)
class Unclear:
    """An instruction that could not be read, or in more than one way."""

    text: str  # what the user said
    turn: int  # in which turn of its session, from 0
    meanings: int  # in how many ways it can be meant, 0 or more than 1


@dataclass(frozen=True, slots=True)
class _Memory:
    """Where a session stands, and the pictures' scenes so far."""

    state: DialogueState | None = None
    past: tuple[Scene, ...] = ()


class ReaderPolicy:
    """A policy without weights that knows the users' language and reads pictures exactly.

    It sees what every agent sees. Its scores are the ceiling an agent can reach; an instruction that it finds
    ambiguous or cannot read is a mistake of the simulated user, and is kept in `unclear`.

    Args:
        envs: whose sessions are played; only the grid is taken from them.

    Raises:
        ValueError: the sessions are no studio scenes.
    """

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        self.grid = studio_grid(envs, "reader")
        self.unclear: list[Unclear] = []
        self.instructions = 0

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[_Memory]:
        """Empty memories."""
        return [_Memory()] * len(seeds)

    def act(self, observations: Observations, memories: list[_Memory]) -> tuple[dict[str, Any], list[_Memory]]:
        """What was asked for, in words and as a picture; the picture untouched where that is unclear."""
        scenes = parse(observations["image"], self.grid)
        answers = [
            self._answer(
                memory,
                scene,
                observations["image"][row],
                observations["instruction"][row],
                int(observations["turn"][row]),
            )
            for row, (memory, scene) in enumerate(zip(memories, scenes, strict=True))
        ]
        images, intents, kept = zip(*answers, strict=True)
        return {"image": np.stack(images), "intent": intents}, list(kept)

    def counts(self) -> dict[str, float]:
        """Instructions that were unclear, and how many there were."""
        return {"instructions": self.instructions, "unclear_instructions": len(self.unclear)}

    def _answer(
        self, memory: _Memory, scene: Scene, picture: Image, text: str, turn: int
    ) -> tuple[Image, str, _Memory]:
        """One session's picture and intent, and the memory after it."""
        state = memory.state or DialogueState(scene, self.grid)
        # The picture is seen, so nothing that was left to the agent is unknown.
        state = replace(state, scene=scene, loose=frozenset(), vague=())
        found = meanings(text, state)
        self.instructions += 1
        if len(found) != 1:
            self.unclear.append(Unclear(text, turn, len(found)))
        past = (*memory.past, scene)
        if not found:
            return (picture.copy(), text, _Memory(replace(state, focus=None, last=None, vacated=None), past))
        statements, edit = found[0]
        state = state.stating(*statements)
        result = right_result(edit, state.bound, scene, memory.past)
        image = picture.copy() if result == scene else render(result, len(picture))
        intent = turn_intent(edit, state.bound, scene, self.grid)
        return image, intent, _Memory(state.after(edit), past)
