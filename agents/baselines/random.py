"""The agent that answers with noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from editenv.protocols import Observations
from editenv.vector import MICEEditVectorEnv

_Memory = tuple[int, int]


class RandomPolicy:
    """Every value of every pixel is drawn anew, uniform in 0 to 255; a memory is (seed, turn).

    No parser should read anything in it: what it still scores, nobody needs to understand anything for.
    """

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        pass

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[_Memory]:
        """The seeds, at turn 0."""
        return [(seed, 0) for seed in seeds]

    def act(
        self, observations: Observations, memories: list[_Memory]
    ) -> tuple[dict[str, Any], list[_Memory]]:
        """Noise that is a function of seed and turn."""
        shape = observations["image"].shape[1:]
        images = [np.random.default_rng(memory).integers(0, 256, shape, np.uint8) for memory in memories]
        actions = {"image": np.stack(images), "intent": ("",) * len(memories)}
        return actions, [(seed, turn + 1) for seed, turn in memories]
