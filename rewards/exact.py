"""Exact scores of studio sessions from pixels alone: pictures are parsed, scenes are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from editenv.rewards import require_meanings, studio_grid
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.types import Scores, TurnResult
from editenv.worlds.studio.edit import BACKGROUND
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.rule import check_edit
from editenv.worlds.studio.scene import UNREADABLE, Scene, scene_from_codes
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Undo


class ExactScorer:
    """IF, CC, GA, turn consistency and rule keeping, computed from parsed pictures.

    - IF is 1 when the edited object is as asked (`Edit.accepts`), else 0. Where the rules in force make the
      instruction impossible, or nothing is left to undo, it is 1 when the scene is unchanged;
      `detail["leave_alone"]` marks these turns, so that statistics can leave them out.
    - CC is the share, among the elements (cells and background) that no instruction so far was allowed to
      change, of those equal to the source picture; `turn_consistency` is the same for this turn alone,
      against the picture before it.
    - GA is 1 when every turn so far followed its instruction and broke no rule in force.
    - `rule_kept` is 1 or 0 where a rule in force asks something of this turn, else None. Damage to a
      protected object that the turn does not speak of lowers CC and GA instead.

    An element that the parser cannot read equals nothing, so an unreadable picture scores 0.

    Args:
        world: gives the number of cells a side.
        weights: of the reward.
    """

    version = "exact-2"
    pure = True

    def __init__(self, world: Any, weights: RewardWeights | None = None) -> None:
        self.grid, self.weights = studio_grid(world), weights or RewardWeights()

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns whose meaning is known, in order; all pictures of the batch are parsed at once."""
        require_meanings(turns)
        after = parse([turn.after for turn in turns], self.grid)
        # The scene before the edit, from the last turn's scores or the session's start, else from the picture.
        before = [_seen(turn, -1) if turn.history else turn.spec.scene for turn in turns]
        unknown = [row for row, scene in enumerate(before) if scene is None]
        parsed = dict(zip(unknown, parse([turns[row].before for row in unknown], self.grid), strict=True))
        return [self._score_turn(turn, before[row] or parsed[row], after[row]) for row, turn in enumerate(turns)]

    def _score_turn(self, turn: TurnResult, before: Scene, after: Scene) -> Scores:
        meaning: StudioTurn = turn.message.meaning
        undone_to: Sequence[Scene] = ()
        if isinstance(meaning.edit, Undo):
            # What an undo goes back to; in the first turn there is no edit.
            undone_to = [turn.spec.scene] * turn.turn
            if turn.turn >= 2:
                undone_to = [_seen(turn, -2) or parse([turn.earlier[-2]], self.grid)[0]]
        verdict = check_edit(meaning.edit, meaning.rules, before, after, undone_to)
        # What any turn so far was allowed to change is outside of CC for the rest of the session.
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


def _seen(turn: TurnResult, back: int) -> Scene | None:
    """The scene that this scorer kept in an earlier turn's scores, counted from the end."""
    codes = turn.history[back].detail.get("scene") if len(turn.history) >= -back else None
    return scene_from_codes(codes) if codes else None


def _share_equal(old: Scene, new: Scene, allowed: frozenset[int]) -> float | None:
    """Share of the elements outside of `allowed` in which two scenes agree; None where no element is left."""
    total = equal = 0
    for cell, (a, b) in enumerate(zip(old.cells, new.cells, strict=True)):
        if cell not in allowed:
            total += 1
            # Most cells hold one and the same object, for which no attribute has to be compared.
            equal += (a is b or a == b) and a is not UNREADABLE
    if BACKGROUND not in allowed:
        total += 1
        equal += old.background == new.background != UNREADABLE.shape
    return equal / total if total else None
