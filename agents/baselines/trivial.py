"""Policies that do not listen: the picture as it is, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from editenv.protocols import Observations
from editenv.vector import MICEEditVectorEnv


class NoopPolicy:
    """Returns the picture that came: perfect consistency, no instruction followed. It keeps no memory."""

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        pass

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[None]:
        """No memory."""
        return [None] * len(seeds)

    def act(self, observations: Observations, memories: list[None]) -> tuple[dict[str, Any], list[None]]:
        """The pictures that came, and empty intents."""
        return {"image": observations["image"].copy(), "intent": ("",) * len(memories)}, memories


class RandomPolicy:
    """Draws every value of every pixel anew, uniform in 0 to 255; a memory is (seed, turn).

    No parser should read anything in it: what it still scores needs no understanding.
    """

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        pass

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[tuple[int, int]]:
        """The seeds, at turn 0."""
        return [(seed, 0) for seed in seeds]

    def act(
        self, observations: Observations, memories: list[tuple[int, int]]
    ) -> tuple[dict[str, Any], list[tuple[int, int]]]:
        """Noise that is a function of seed and turn."""
        shape = observations["image"].shape[1:]
        images = [np.random.default_rng(memory).integers(0, 256, shape, np.uint8) for memory in memories]
        actions = {"image": np.stack(images), "intent": ("",) * len(memories)}
        return actions, [(seed, turn + 1) for seed, turn in memories]
