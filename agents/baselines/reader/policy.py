"""The policy: reads the instruction, looks at the picture, draws what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from editenv.agents.baselines.reader.deeds import edits_of
from editenv.agents.baselines.reader.grammar import readings
from editenv.agents.baselines.reader.statements import statements_of
from editenv.protocols import Observations
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.dialogue import DialogueState, contradicts_rule
from editenv.worlds.studio.language import turn_intent
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rules import Except, Statement, right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.tasks import Edit


@dataclass(frozen=True, slots=True)
class Unclear:
    """An instruction that could not be read, or in more than one way.

    Attributes:
        text: what the user said.
        turn: in which turn of its session, from 0.
        meanings: in how many ways it can be meant, 0 or more than 1.
    """

    text: str
    turn: int
    meanings: int


@dataclass(frozen=True, slots=True)
class _Notes:
    """What the policy remembers of a session: where it stands, and the pictures' scenes so far."""

    situation: DialogueState | None = None
    past: tuple[Scene, ...] = ()


class ReaderPolicy:
    """An agent without weights that knows the users' language and reads pictures exactly.

    It sees what every agent sees. Its scores are the ceiling an agent can reach; an instruction that it finds
    ambiguous or cannot read is a mistake of the simulated user, and is kept in `unclear`.

    Args:
        envs: whose sessions are played; only the grid is taken from them.
    """

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        self.grid: int = envs.engine.world.grid  # type: ignore[attr-defined]
        self.unclear: list[Unclear] = []
        self.instructions = 0

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[_Notes]:
        """Empty notes."""
        return [_Notes()] * len(seeds)

    def act(self, observations: Observations, memories: list[_Notes]) -> tuple[dict[str, Any], list[_Notes]]:
        """What was asked for, in words and as a picture; the picture untouched where that is unclear."""
        scenes = parse(observations["image"], self.grid)
        images, intents, kept = [], [], []
        for row, (notes, scene) in enumerate(zip(memories, scenes, strict=True)):
            before, text = observations["image"][row], observations["instruction"][row]
            image, intent, notes = self._answer(notes, scene, before, text, int(observations["turn"][row]))
            images.append(image)
            intents.append(intent)
            kept.append(notes)
        return {"image": np.stack(images), "intent": tuple(intents)}, kept

    def counts(self) -> dict[str, float]:
        """Instructions that were unclear, and how many there were."""
        return {"instructions": self.instructions, "unclear_instructions": len(self.unclear)}

    def _answer(
        self, notes: _Notes, scene: Scene, picture: Image, text: str, turn: int
    ) -> tuple[Image, str, _Notes]:
        """One session's answer and the notes after it."""
        situation = notes.situation or DialogueState(scene, self.grid)
        # Nothing is left to guess for somebody who sees the picture.
        situation = replace(situation, scene=scene, loose=frozenset(), vague=())
        found = meanings(text, situation)
        self.instructions += 1
        if len(found) != 1:
            self.unclear.append(Unclear(text, turn, len(found)))
        past = (*notes.past, scene)
        if not found:
            return picture.copy(), text, _Notes(replace(situation, focus=None, last=None, vacated=None), past)
        statements, edit = found[0]
        situation = situation.stating(*statements)
        result = right_result(edit, situation.bound, scene, notes.past)
        image = picture.copy() if result == scene else render(result, len(picture))
        intent = turn_intent(edit, situation.bound, scene, self.grid)
        return image, intent, _Notes(situation.after(edit), past)


def meanings(text: str, situation: DialogueState) -> list[tuple[tuple[Statement, ...], Edit]]:
    """All that a text may mean here: what it says about rules, and what is to be done, without doubles."""
    for run in readings(text):
        found: dict[tuple[tuple[Statement, ...], Edit], None] = {}
        for *spoken, deed in run:
            for statements in statements_of(spoken, situation):
                for edit in edits_of(deed.act, deed.slots, situation.stating(*statements)):
                    if _possible(edit, situation.scene) and _excepts_rightly(statements, edit, situation):
                        found[statements, edit] = None
        # What is said about rules may not be passed over as if it asked for nothing.
        if found or any(len(acts) > 1 for acts in run):
            return list(found)
    return []


def _excepts_rightly(statements: tuple[Statement, ...], edit: Edit, situation: DialogueState) -> bool:
    """Is every exception made for a rule that the edit is against, and enough to let it pass?"""
    lifted = situation.stating(*statements)
    rules = [statement.rule for statement in statements if isinstance(statement, Except)]
    return not rules or (
        all(contradicts_rule(edit, rule, situation) for rule in rules) and not lifted.impossible(edit)
    )


def _possible(edit: Edit, scene: Scene) -> bool:
    """Can it be done at all in this scene?"""
    try:
        edit.apply(scene)
    except ValueError:
        return False
    return True
