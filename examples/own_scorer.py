r"""A scorer of one's own, chosen by name beside the shipped ones.

    cd examples && editenv evaluate policy=oracle scorer=own_scorer:SmallChanges scorer.settings.most=0.2 \\
        suite=mice-cm sessions=16 out=runs/own_scorer

A scorer is called with the world, the reward's weights and its own settings by name. It gives one `Scores` a
turn, in order, for turns of any number of sessions at once. Scores that it does not judge stay None: the
weights of the others are scaled up. A judge that fails sets `error`, and the turn counts as unscored.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from editenv.rewards.weights import RewardWeights, with_reward
from editenv.types import Scores, TurnResult


class SmallChanges:
    """Consistency alone: 1 where at most a share `most` of the pixels changed in a turn, falling to 0 at all.

    Args:
        world: whose sessions are judged.
        weights: of the reward.
        most: share of pixels that may change for free, from 0 to below 1.
    """

    def __init__(self, world: Any, weights: RewardWeights | None = None, *, most: float = 0.1) -> None:
        if not 0 <= most < 1:
            raise ValueError(f"most is {most!r}, expected a share from 0 to below 1")
        self.weights = weights or RewardWeights()
        self.most = most
        self.version = f"small changes 1 most {most}"

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns, in order; a bad picture scores 0, it never raises."""
        found = []
        for turn in turns:
            changed = float(np.mean(np.any(turn.before != turn.after, axis=2)))
            kept = 1 - max(0.0, changed - self.most) / (1 - self.most)
            scores = Scores(content_consistency=kept, turn_consistency=kept, detail={"changed": changed})
            found.append(with_reward(scores, self.weights))
        return found
