"""Sessions small enough to be known by heart: flat pictures, three instructions, a judge of brightness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from editenv.types import SPLITS, Image, Scores, Stop, TurnResult, UserMessage

WORDS = ("make", "it", "red", "blue", "dark", "light", "now", "please", "then", "again")
SIDE = 4
_TURNS = 3


@dataclass(frozen=True)
class FlatSpec:
    """A session that starts with one grey value and asks for words.

    Attributes:
        start: grey value of the source picture, 0 to 255.
        wanted: one word a turn.
    """

    start: int
    wanted: tuple[str, ...]

    @property
    def id(self) -> str:
        """Start and words."""
        return f"{self.start}-{'-'.join(self.wanted)}"

    @property
    def turn_count(self) -> int:
        """Number of instructions."""
        return len(self.wanted)

    def message(self, turn: int) -> UserMessage:
        """The instruction of a turn."""
        return UserMessage(f"make it {self.wanted[turn]}", self.wanted[turn])

    def to_json(self) -> dict[str, Any]:
        """The session as JSON values."""
        return asdict(self) | {"wanted": list(self.wanted)}


class FlatWorld:
    """Sessions of three turns on pictures of one grey value, SIDE by SIDE pixels."""

    name = "flat"
    version = "1"
    image_shape = (SIDE, SIDE, 3)
    max_turns = _TURNS

    def session(self, split: str, seed: int, index: int) -> FlatSpec:
        """Session `index` of a seed in a split."""
        rng = np.random.default_rng(np.random.SeedSequence([SPLITS.index(split), seed, index]))
        return FlatSpec(int(rng.integers(256)), tuple(str(word) for word in rng.choice(WORDS[2:6], _TURNS)))

    def picture(self, spec: FlatSpec) -> Image:
        """The source picture."""
        return np.full(self.image_shape, spec.start, dtype=np.uint8)

    def spec_from_json(self, data: Mapping[str, Any]) -> FlatSpec:
        """The session of its JSON values."""
        return FlatSpec(data["start"], tuple(data["wanted"]))


class Reader:
    """A user who reads the script out."""

    version = "reader 1"
    reads_scores = False

    def begin(self, spec: FlatSpec) -> UserMessage:
        """The first instruction."""
        return spec.message(0)

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        """The next instruction, or goodbye after the last."""
        following = outcome.turn + 1
        return outcome.spec.message(following) if following < outcome.spec.turn_count else Stop("done")


class BrightnessJudge:
    """Pays for bright pictures; about a quarter of all turns fail their instruction, by a sum of pixels."""

    version = "brightness 1"

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """One score a turn."""
        return [
            Scores(float(int(turn.after.sum()) % 4 > 0), None, 0.0, reward=float(turn.after.mean() / 255))
            for turn in turns
        ]
