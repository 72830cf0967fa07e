"""The agent that often gets it wrong, as often as one likes: something for users to react to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from editenv.agents.baselines.oracle import OraclePolicy
from editenv.protocols import Observations, Policy
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import COLORS, Scene

_Memory = tuple[Any, int, int]


class ClumsyPolicy:
    """Another agent that fails a share of its turns: it does nothing, or does what was asked and breaks more.

    A memory is (the other's, seed, turn); whether and how a turn fails follows from seed and turn.

    Args:
        envs: whose sessions are played, of studio scenes.
        failing: share of turns that fail; in half of these nothing is done, in the others an object that
            nobody spoke of changes too.
        other: the agent that acts; None for the oracle.
    """

    def __init__(
        self, envs: MICEEditVectorEnv, failing: float = 0.3, other: Policy[Any] | None = None
    ) -> None:
        self.other: Policy[Any] = OraclePolicy(envs) if other is None else other
        self.failing = failing
        self.grid = envs.engine.world.grid  # type: ignore[attr-defined]

    def start(self, observations: Observations, seeds: Any) -> list[_Memory]:
        """Turn 0 of each."""
        memories = self.other.start(observations, seeds)
        return [(memory, seed, 0) for memory, seed in zip(memories, seeds, strict=True)]

    def act(
        self, observations: Observations, memories: list[_Memory]
    ) -> tuple[dict[str, Any], list[_Memory]]:
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
        return render(_recoloured(new, int(rng.choice(spared))), len(right))


def _recoloured(scene: Scene, cell: int) -> Scene:
    """The scene with one object in the colour that follows its own."""
    thing = scene.cells[cell]
    assert thing is not None
    number = COLORS.index(thing.color) if thing.color in COLORS else 0
    return scene.put(cell, replace(thing, color=COLORS[(number + 1) % len(COLORS)]))
