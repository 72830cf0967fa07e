"""What policies have in common whose pictures come from outside: the turn's intent, sizes, and answers that fail."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from editenv.agents.episodes import Count
from editenv.agents.external.intents import IntentWriter
from editenv.protocols import Observations
from editenv.registry import unknown
from editenv.session import Session
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.records.pictures import fit_picture

_STRETCH = 0.05
_TOLD = 5  # failures that are warned of, each with its reason


Memory = tuple[int, int]
"""The session's row in the environments, and its seed."""


class ExternalPolicy(ABC):
    """Has pictures edited by an intent; the rows of `envs` are played in order.

    A picture of another size is fitted to the action space: stretched where its sides' ratio is nearly right, else as
    the world fits its own pictures. An edit that fails leaves the picture as it is; both are counted.

    Args:
        envs: whose sessions are played.
        intents, intent_endpoint, intent_pictures: as for `IntentWriter`.
    """

    def __init__(
        self,
        envs: MICEEditVectorEnv,
        intents: str = "instructions",
        intent_endpoint: Mapping[str, Any] | None = None,
        intent_pictures: bool = True,
    ) -> None:
        self.envs = envs
        self.height, self.width, _ = envs.engine.world.image_shape
        self.writer = IntentWriter(intents, intent_endpoint, intent_pictures, envs.engine.max_length)
        self.turns = self.fitted = self.failed = 0

    @abstractmethod
    def edit(self, sessions: Sequence[Session], intents: Sequence[str], seeds: Sequence[int]) -> list[Image | str]:
        """A picture uint8 [h, w, 3] of any size for each session's turn, or why there is none.

        Args:
            sessions: as they stand before the turn.
            intents: what to do to the last of their pictures.
            seeds: 64 bits that follow from session and turn alone.
        """

    def write_intents(self, sessions: Sequence[Session], seeds: Sequence[int]) -> list[str]:
        """What each turn asks for."""
        return self.writer.write(sessions, seeds)

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[Memory]:
        """Rows and seeds."""
        return list(enumerate(seeds))

    def act(self, observations: Observations, memories: list[Memory]) -> tuple[dict[str, object], list[Memory]]:
        """The edited pictures, and the intents they were made from, as far as a text in the space may be long."""
        sessions = [self.envs.sessions[row] for row, _ in memories]
        numbers = zip(sessions, memories, strict=True)
        seeds = [int(np.random.SeedSequence((m[1], one.turn)).generate_state(1, np.uint64)[0]) for one, m in numbers]
        intents = self.write_intents(sessions, seeds)
        images = []
        for session, found in zip(sessions, self.edit(sessions, intents, seeds), strict=True):
            self.turns += 1
            if isinstance(found, str):
                self.failed += 1
                if self.failed <= _TOLD:
                    where = f"{session.title}, turn {session.turn + 1}"
                    warnings.warn(f"{where}: no edit, the picture stays as it is: {found}", stacklevel=2)
                found = session.pictures[-1]
            elif found.shape[:2] != (self.height, self.width):
                self.fitted += 1
                # Stretched where its sides' ratio is nearly right: models round sides to 16 or 32.
                tall, wide = found.shape[:2]
                near = abs(wide * self.height / (tall * self.width) - 1) <= _STRETCH
                fit = "squash" if near else getattr(self.envs.engine.world, "fit", "letterbox")
                found = fit_picture(found, (self.height, self.width), fit)
            images.append(found)
        recorded = tuple(intent[: self.envs.engine.max_length] for intent in intents)
        return {"image": np.stack(images), "intent": recorded}, memories

    def counts(self) -> dict[str, Count]:
        """Turns played, pictures that had another size, edits that failed, and intents that a chat model failed at."""
        counts: dict[str, Count] = {"turns": self.turns, "fitted_turns": self.fitted, "failed_turns": self.failed}
        return counts if self.writer.endpoint is None else counts | {"failed_intents": self.writer.failed}


def check_history(history: str) -> bool:
    """Whether a setting `history` asks for all pictures; ValueError where it is neither "last" nor "all"."""
    if history not in ("last", "all"):
        raise ValueError(unknown("history", history, ("last", "all")))
    return history == "all"
