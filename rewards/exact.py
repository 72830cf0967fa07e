"""Exact scores of studio sessions, from the pixels alone: the parser reads, the tasks and rules judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from editenv.rewards.weighting import RewardWeights, with_reward
from editenv.types import Scores, TurnResult
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.rules import check_edit
from editenv.worlds.studio.scene import UNREADABLE, Scene, scene_from_codes
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import BACKGROUND, Undo


class _Grid(Protocol):
    grid: int


class ExactScorer:
    """Instruction following, consistency, awareness and rule keeping as facts about parsed pictures.

    - IF is 1 when the edited object is as asked (`Edit.accepts`), else 0. Where the rules in force make the
      instruction impossible, or nothing is left to undo, it is 1 when the scene is unchanged;
      `detail["leave_alone"]` marks these turns, so that statistics can leave them out.
    - CC is the share, of the elements (cells and background) that no instruction so far may change, that are
      as in the source picture; `turn_consistency` is the same for this turn, against the picture before it.
    - GA is 1 when every turn so far followed its instruction and broke no rule in force.
    - `rule_kept` is 1 or 0 where a rule in force asks something of this turn, else None: whoever damages a
      protected object that nobody spoke of is caught by CC and GA.

    What the parser cannot read is equal to nothing, so an unreadable picture scores 0.

    Args:
        world: gives the number of cells a side.
        weights: of the reward.
    """

    version = "exact-2"

    def __init__(self, world: _Grid, weights: RewardWeights | None = None) -> None:
        self.grid = world.grid
        self.weights = weights or RewardWeights()

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns whose `speech.meaning` is a StudioTurn; one parse for the whole batch."""
        after = parse([turn.after for turn in turns], self.grid)
        before = [_scene_before(turn) for turn in turns]
        unknown = [number for number, scene in enumerate(before) if scene is None]
        read = dict(zip(unknown, parse([turns[number].before for number in unknown], self.grid), strict=True))
        return [
            self._score(turn, before[number] or read[number], after[number])
            for number, turn in enumerate(turns)
        ]

    def _score(self, turn: TurnResult, before: Scene, after: Scene) -> Scores:
        meaning: StudioTurn = turn.message.meaning
        shown = self._shown_before(turn) if isinstance(meaning.edit, Undo) else ()
        verdict = check_edit(meaning.edit, meaning.rules, before, after, shown)
        allowed = verdict.licensed
        if turn.history:
            allowed = allowed.union(turn.history[-1].detail.get("touched", ()))
        right = verdict.followed and not verdict.broken
        aware = right and all(past.global_awareness == 1 for past in turn.history)
        detail: dict[str, Any] = {"scene": after.codes(), "touched": sorted(allowed)}
        if verdict.leave_alone:
            detail["leave_alone"] = True
        scores = Scores(
            instruction_following=float(verdict.followed),
            content_consistency=_share_equal(turn.spec.scene, after, allowed),
            global_awareness=float(aware),
            turn_consistency=_share_equal(before, after, verdict.touched),
            rule_kept=None if verdict.kept is None else float(verdict.kept),
            detail=detail,
        )
        return with_reward(scores, self.weights)

    def _shown_before(self, turn: TurnResult) -> list[Scene]:
        """What the picture before the last edit showed, where there was a last edit."""
        if turn.turn < 2:
            return [turn.spec.scene] * turn.turn
        codes = turn.history[-2].detail.get("scene") if len(turn.history) > 1 else None
        return [scene_from_codes(codes)] if codes else parse([turn.earlier[-2]], self.grid)


def _scene_before(turn: TurnResult) -> Scene | None:
    """What the last turn's scores, or the session's start, tell of the picture before; None if nothing."""
    if not turn.history:
        scene: Scene = turn.spec.scene
        return scene
    codes = turn.history[-1].detail.get("scene")
    return None if codes is None else scene_from_codes(codes)


def _share_equal(old: Scene, new: Scene, allowed: frozenset[int]) -> float | None:
    """Share of the elements outside of `allowed` that two scenes agree in; None where none is left."""
    total = equal = 0
    for cell, (a, b) in enumerate(zip(old.cells, new.cells, strict=True)):
        if cell not in allowed:
            total += 1
            # Most are one and the same object, for which nothing has to be compared.
            equal += (a is b or a == b) and a is not UNREADABLE
    if BACKGROUND not in allowed:
        total += 1
        equal += old.background == new.background != UNREADABLE.shape
    return equal / total if total else None
