"""Policies that are told what was meant: one that is always right, and one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from editenv.protocols import Observations, Policy
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.intents import intent_form
from editenv.worlds.studio.operations import OperationParts, operation_between
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.scene import COLORS, Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Undo

CLONE_SEED = 2**31
"""Where the oracle is cloned it plays sessions of this seed plus the run's, which the agent never plays."""


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


def studio_grid(envs: MICEEditVectorEnv, policy: str) -> int:
    """Cells a side of the sessions' scenes.

    Raises:
        ValueError: the sessions are of another world.
    """
    world = envs.engine.world
    grid: int | None = getattr(world, "grid", None)
    if grid is None:
        raise ValueError(
            f"policy {policy!r} reads studio scenes, which world {world.name!r} has not: expected sessions "
            "of a suite, or of a file that `editenv export` wrote"
        )
    return grid


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
    pictures: Sequence[Image], turns: Sequence[StudioTurn], grid: int, earlier: Sequence[Sequence[Image]]
) -> list[Image]:
    """Pictures uint8 [H, W, 3] after each turn's edit and every rule in force.

    Where earlier turns went wrong so that the object meant stands elsewhere, it is edited there. A picture
    stays as it is where the edit cannot be done, such as that of an object that is gone, or where it holds
    what cannot be read.

    Args:
        pictures: uint8 [H, W, 3] each.
        turns: one a picture.
        grid: cells a side.
        earlier: all pictures before each of them, which only an undo needs.
    """
    size = len(pictures[0])
    right = []
    for picture, turn, scene, shown in zip(pictures, turns, parse(pictures, grid), earlier, strict=True):
        past = parse(shown[-1:], grid) if isinstance(turn.edit, Undo) else ()
        edit = turn.edit.located(scene)  # an earlier mistake may have left the object in another cell
        right.append(picture.copy())
        if edit is not None:
            with suppress(ValueError):
                right[-1] = render(right_result(edit, turn.rules, scene, past), size)
    return right


def oracle_operation(session: Session, scenes: Sequence[Scene], parts: OperationParts) -> list[int]:
    """The operation that makes this turn's right picture, "leave" where there is none.

    Args:
        session: that is going on.
        scenes: what its pictures show.
        parts: of the operations.

    Raises:
        ValueError: the session has no studio meaning.
    """
    turn, leave = studio_turn(session), parts.encode(task="leave")
    edit = turn.edit.located(scenes[-1])  # an earlier mistake may have left the object in another cell
    try:
        right = None if edit is None else right_result(edit, turn.rules, scenes[-1], scenes[:-1])
    except ValueError:
        # What is asked for cannot be done any more.
        right = None
    if right is None:
        return leave
    if isinstance(turn.edit, Undo) and len(scenes) > 1 and right == scenes[-2] != scenes[-1]:
        return parts.encode(task="undo")
    return operation_between(parts, scenes[-1], right) or leave


class NoisyOracle:
    """Another policy that fails a share of its turns by doing nothing, or by breaking something else as well.

    A memory is (the other's, seed, turn); whether and how a turn fails follows from seed and turn.

    Args:
        envs: whose sessions are played, of studio scenes.
        failing: share of turns that fail; in half of these nothing is done, in the others an object that
            no instruction spoke of changes too.
        other: the policy that acts; None for the oracle.

    Raises:
        ValueError: the sessions are no studio scenes.
    """

    def __init__(self, envs: MICEEditVectorEnv, failing: float = 0.3, other: Policy[Any] | None = None) -> None:
        self.other: Policy[Any] = OraclePolicy(envs) if other is None else other
        self.failing = failing
        self.grid = studio_grid(envs, "clumsy")

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[tuple[Any, int, int]]:
        """Turn 0 of each."""
        memories = self.other.start(observations, seeds)
        return [(memory, seed, 0) for memory, seed in zip(memories, seeds, strict=True)]

    def act(
        self, observations: Observations, memories: list[tuple[Any, int, int]]
    ) -> tuple[dict[str, Any], list[tuple[Any, int, int]]]:
        """The other's actions, less what goes wrong."""
        actions, kept = self.other.act(observations, [memory[0] for memory in memories])
        images = []
        for row, (_, seed, turn) in enumerate(memories):
            rng = np.random.default_rng((seed, turn))
            before, right = observations["image"][row], actions["image"][row]
            failed = rng.random() < self.failing
            images.append(self._failed(before, right, rng) if failed else right)
        actions = actions | {"image": np.stack(images)}
        return actions, [(new, m[1], m[2] + 1) for new, m in zip(kept, memories, strict=True)]

    def _failed(self, before: Image, right: Image, rng: np.random.Generator) -> Image:
        """The picture untouched, or the right one with an object in another colour that was not to change."""
        if rng.random() < 0.5:
            return before.copy()
        old, new = parse([before, right], self.grid)
        spared = [cell for cell in new.occupied() if new.cells[cell] == old.cells[cell]]
        if not spared:
            return before.copy()
        return render(_recolored(new, int(rng.choice(spared))), len(right))


def _recolored(scene: Scene, cell: int) -> Scene:
    """The scene with one object in the colour that follows its own."""
    thing = scene.cells[cell]
    assert thing is not None
    number = COLORS.index(thing.color) if thing.color in COLORS else 0
    return scene.put(cell, replace(thing, color=COLORS[(number + 1) % len(COLORS)]))
