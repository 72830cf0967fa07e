"""A world, users and scorers small enough to know every answer by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from editenv.types import SPLITS, Image, Scores, Stop, TurnResult, UserMessage


@dataclass(frozen=True)
class FakeSpec:
    """A session that asks for one flat colour after another."""

    start: int
    wanted: tuple[int, ...]

    @property
    def id(self) -> str:
        return f"{self.start}-" + "-".join(map(str, self.wanted))

    @property
    def turn_count(self) -> int:
        return len(self.wanted)

    def message(self, turn: int) -> UserMessage:
        return UserMessage(f"paint it {self.wanted[turn]}, please: größer 猫", self.wanted[turn])

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"wanted": list(self.wanted)}


@dataclass(frozen=True)
class FakeWorld:
    """Flat pictures of one grey value; sessions of `turns` turns."""

    turns: int = 3
    max_turns: int = 3
    size: int = 8
    name: str = "fake"
    version: str = "1"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    def session(self, split: str, seed: int, index: int) -> FakeSpec:
        rng = np.random.default_rng(np.random.SeedSequence([SPLITS.index(split), seed, index]))
        return FakeSpec(int(rng.integers(256)), tuple(int(x) for x in rng.integers(256, size=self.turns)))

    def picture(self, spec: FakeSpec) -> Image:
        return np.full(self.image_shape, spec.start, dtype=np.uint8)

    def spec_from_json(self, data: Mapping[str, Any]) -> FakeSpec:
        if set(data) != {"start", "wanted"}:
            raise ValueError(f"spec has keys {sorted(data)}, expected start and wanted")
        return FakeSpec(data["start"], tuple(data["wanted"]))


@dataclass(frozen=True)
class ScriptUser:
    """Reads the script out, turn by turn."""

    version: str = "script 1"

    def begin(self, spec: FakeSpec) -> UserMessage:
        return spec.message(0)

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        following = outcome.turn + 1
        return outcome.spec.message(following) if following < outcome.spec.turn_count else Stop("done")


@dataclass(frozen=True)
class StubbornUser:
    """Asks for the first colour again until the picture shows it."""

    version: str = "stubborn 1"

    def begin(self, spec: FakeSpec) -> UserMessage:
        return spec.message(0)

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        if outcome.after[0, 0, 0] == outcome.message.meaning:
            return Stop("gave_up")
        return UserMessage(f"again: {outcome.message.text[:60]}", outcome.message.meaning)


class FlatScorer:
    """IF is 1 where the picture has the wanted grey value; GA where all turns had it. Counts its calls."""

    version = "flat 1"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        self.calls.append(len(turns))
        return [self._one(turn) for turn in turns]

    def _one(self, turn: TurnResult) -> Scores:
        right = float(np.all(turn.after == turn.message.meaning))
        aware = min([right, *(s.instruction_following or 0.0 for s in turn.history)])
        return Scores(right, None, aware, reward=0.5 * right + 0.5 * aware, detail={"mean": float(turn.after.mean())})


class FailingScorer:
    """A judge that gives no answer from a turn on."""

    version = "failing 1"

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        return [
            Scores(error="judge: timed out") if turn.turn >= self.first else Scores(1.0, 1.0, 1.0, reward=1.0)
            for turn in turns
        ]


def answer(size: int, grey: int, intent: str = "") -> dict[str, Any]:
    """An action that paints everything one grey value."""
    return {"image": np.full((size, size, 3), grey, dtype=np.uint8), "intent": intent}
