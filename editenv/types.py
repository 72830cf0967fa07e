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
    """One turn's scores, each in [0, 1]; None means not scored or not applicable, never zero.

    Attributes:
        instruction_following: IF, does the picture carry out this turn's instruction.
        content_consistency: CC, is what no instruction so far spoke of as in the source picture.
        global_awareness: GA, did every turn up to this one keep instruction, rules and referents.
        turn_consistency: as CC, but against the picture before this turn.
        rule_kept: were the rules kept that ask something of this turn; None where none does.
        reward: the weighted sum that an agent is paid, 0.0 where the judge failed.
        detail: JSON values a scorer wants kept, such as the parsed scene.
        error: why a judge gave no answer, else None.
    """

    instruction_following: float | None = None
    content_consistency: float | None = None
    global_awareness: float | None = None
    turn_consistency: float | None = None
    rule_kept: float | None = None
    reward: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def scored(self) -> bool:
        """False when a judge was asked and gave no answer."""
        return self.error is None

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent answers in one turn.

    Attributes:
        image: the edited picture, uint8 [H, W, 3].
        intent: the session's operative intent in words; may be empty, is recorded and never scored.
    """

    image: Image
    intent: str = ""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a user says in one turn.

    Attributes:
        text: the words an agent reads.
        meaning: what was meant, as the world's own type; scorers read it, agents never see it.
        detail: JSON values that a user wants kept in infos and records, such as who found the words.
    """

    text: str
    meaning: Any = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stop:
    """A user ends the session.

    Attributes:
        reason: "done", "gave_up" or "max_turns".
    """

    reason: str = "done"


@dataclass(frozen=True, slots=True)
class TurnResult:
    """One finished turn, as users and scorers see it; the agent's intent is left out on purpose.

    Attributes:
        spec: the session, as the world's own type.
        turn: number of the turn, from 0.
        speech: what the user said before the edit.
        source: the session's first picture, uint8 [H, W, 3].
        before, after: the pictures before and after this turn's edit, uint8 [H, W, 3].
        history: scores of the earlier turns, in order, as far as they are known.
        earlier: pictures after each earlier turn, in order.
        transcript: what the user said so far, this turn's instruction included.
    """

    spec: Any
    turn: int
    message: UserMessage
    source: Image
    before: Image
    after: Image
    history: tuple[Scores, ...] = ()
    earlier: tuple[Image, ...] = ()
    transcript: tuple[str, ...] = ()
