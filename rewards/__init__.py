"""Scorers: who judges a turn. Each is named here and imported only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SCORERS = {
    "exact": "editenv.rewards.exact:ExactScorer",
    "imperfect": "editenv.rewards.noisy:NoisyScorer",
    "judge": "editenv.rewards.judge:JudgeScorer",
    "mice": "editenv.rewards.mice:MiceScorer",
    "ocr": "editenv.rewards.ocr:OcrScorer",
    "residual": "editenv.rewards.residual:ResidualScorer",
    "similarity": "editenv.rewards.similarity:SimilarityScorer",
}
"""Scorer by name, as "module:class"; the class is called with (world, weights, **settings)."""


def studio_grid(world: Any) -> int:
    """Cells a side of a world of studio scenes; ValueError for another world."""
    if not hasattr(world, "grid"):
        name = getattr(world, "name", type(world).__name__)
        raise ValueError(f"world {name!r} has no studio scenes, which this scorer needs: use 'judge'")
    grid: int = world.grid
    return grid


def require_meanings(turns: Sequence[Any]) -> None:
    """ValueError where what the user meant is unknown, as of words that a person typed."""
    for turn in turns:
        if not hasattr(turn.message.meaning, "edit"):
            raise ValueError(
                f"{turn.message.text[:80]!r} means a {type(turn.message.meaning).__name__}, expected a StudioTurn"
                ": free words of a user cannot be scored exactly, use scorer=judge or scorer=none"
            )


def require_whole(name: str, value: Any, least: int) -> None:
    """ValueError where a setting is no whole number of `least` or more."""
    if type(value) is not int or value < least:
        raise ValueError(f"{name} is {value!r}, expected a whole number of {least} or more")


def require_share(name: str, value: Any) -> None:
    """ValueError where a setting is no number from 0 to 1."""
    if isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}, expected a number from 0 to 1")
