"""The agent that returns the picture as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from editenv.protocols import Observations
from editenv.vector import MICEEditVectorEnv


class NoopPolicy:
    """Changes nothing and means nothing: perfect consistency, no instruction followed."""

    def __init__(self, envs: MICEEditVectorEnv) -> None:
        pass

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[None]:
        """Nothing to remember."""
        return [None] * len(seeds)

    def act(self, observations: Observations, memories: list[None]) -> tuple[dict[str, Any], list[None]]:
        """The pictures that came."""
        return {"image": observations["image"].copy(), "intent": ("",) * len(memories)}, memories
