"""The values that pass between environment, user, scorer and policy; none of them knows a world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""An RGB picture, uint8 [H, W, 3]."""

SPLITS = ("train", "validation", "test")
"""Names of the disjoint splits; a split's place here is its number in the seed sequence."""

SCORE_NAMES = ("instruction_following", "content_consistency", "global_awareness", "turn_consistency", "rule_kept")


@dataclass(frozen=True, slots=True)
class Scores:
    """One turn's scores, each in [0, 1]; None means not scored or not applicable, never zero."""

    instruction_following: float | None = None  # IF, does the picture carry out this turn's instruction
    content_consistency: float | None = None  # CC, is what no instruction so far spoke of as in the source picture
    global_awareness: float | None = None  # GA, did every turn up to this one keep instruction, rules and referents
    turn_consistency: float | None = None  # as CC, but against the picture before this turn
    rule_kept: float | None = None  # were the rules kept that ask something of this turn; None where none does
    reward: float = 0.0  # the weighted sum that an agent is paid, 0.0 where the judge failed
    detail: Mapping[str, Any] = field(default_factory=dict)  # JSON values a scorer wants kept, as the parsed scene
    error: str | None = None  # why a judge gave no answer

    @property
    def scored(self) -> bool:
        """False when a judge was asked and gave no answer."""
        return self.error is None

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent answers in one turn."""

    image: Image  # the edited picture, uint8 [H, W, 3]
    intent: str = ""  # the session's operative intent in words; may be empty, is recorded and never scored


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a user says in one turn."""

    text: str  # the words an agent reads
    meaning: Any = None  # what was meant, as the world's own type; scorers read it, agents never see it
    # JSON values that a user wants kept in infos and records, such as who found the words
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stop:
    """A user ends the session."""

    reason: str = "done"  # "done", "gave_up" or "max_turns"


@dataclass(frozen=True, slots=True)
class TurnResult:
    """One finished turn, as users and scorers see it; the agent's intent is left out on purpose."""

    spec: Any  # the session, as the world's own type
    turn: int  # number of the turn, from 0
    message: UserMessage  # what the user said before the edit
    source: Image  # the session's first picture, uint8 [H, W, 3]
    before: Image  # the picture before this turn's edit
    after: Image  # the picture after it
    history: tuple[Scores, ...] = ()  # scores of the earlier turns, in order, as far as they are known
    earlier: tuple[Image, ...] = ()  # pictures after each earlier turn, in order
    transcript: tuple[str, ...] = ()  # what the user said so far, this turn's instruction included
