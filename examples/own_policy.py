"""A policy of one's own, evaluated by the command line beside the shipped ones.

    cd examples && editenv evaluate policy=own_policy:PaintItRed policy_settings.side=8 sessions=16 out=runs/red
    editenv evaluate policy=noop sessions=16 out=runs/noop

A policy is batched over sessions and keeps what it remembers of each outside itself, in memories that can be
copied, so that a session can be branched together with its agent (see `editenv.Policy`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class PaintItRed:
    """Colours one more corner of the picture red in each turn, whatever is asked.

    Args:
        side: of the corner, in pixels.
    """

    def __init__(self, envs: object = None, side: int = 16) -> None:
        self.side = side

    def start(self, observations: Mapping[str, Any], seeds: Sequence[int]) -> list[int]:
        """One memory a session: how many corners are red. `seeds` serve policies that draw at random."""
        return [0 for _ in seeds]

    def act(self, observations: Mapping[str, Any], memories: list[int]) -> tuple[dict[str, Any], list[int]]:
        """Images uint8 [B, H, W, 3] and intents of B sessions, and their new memories."""
        images = observations["image"].copy()
        for image, corner in zip(images, memories, strict=True):
            rows = slice(0, self.side) if corner % 4 < 2 else slice(-self.side, None)
            columns = slice(0, self.side) if corner % 2 == 0 else slice(-self.side, None)
            image[rows, columns] = np.array([220, 40, 40], np.uint8)
        intents = tuple(f"paint it red, although you said: {text}" for text in observations["instruction"])
        return {"image": images, "intent": intents}, [corner + 1 for corner in memories]
