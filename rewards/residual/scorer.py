"""The scorer `residual`: scores of studio sessions by distances to re-rendered right results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from editenv.rewards.residual.kinds import Shown, shown_from_codes
from editenv.rewards.residual.reading import read
from editenv.rewards.residual.verdict import unchanged_share, verdict
from editenv.rewards.weighting import RewardWeights, with_reward
from editenv.types import Scores, TurnResult
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.tasks import Undo


class _Grid(Protocol):
    grid: int


class ResidualScorer:
    """The scores that `exact` gives, with the same meaning, found by other code and other measures.

    `detail` keeps, for the turns to come, what this scorer saw ("residual") and what instructions have
    licensed so far ("licensed"); "leave_alone" marks turns whose right answer is to change nothing. A history
    that another scorer wrote is not believed: its pictures are read anew, and nothing counts as licensed
    before.

    Args:
        world: gives the number of cells a side.
        weights: of the reward.
    """

    version = "residual-2"

    def __init__(self, world: _Grid, weights: RewardWeights | None = None) -> None:
        self.grid = world.grid
        self.weights = weights or RewardWeights()

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns whose `speech.meaning` is a StudioTurn; the whole batch is read at once."""
        before = self._before(turns)
        after = read([turn.after for turn in turns], self.grid, before)
        return [self._score(*row) for row in zip(turns, before, after, strict=True)]

    def _before(self, turns: Sequence[TurnResult]) -> list[Shown]:
        """What the pictures before the edits show, as this scorer has seen them or sees them now."""
        known = [_seen(turn, -1) for turn in turns]
        rows = [row for row, shown in enumerate(known) if shown is None]
        expected = [_source(turns[row].spec.scene) for row in rows]
        for row, shown in zip(
            rows, read([turns[row].before for row in rows], self.grid, expected), strict=True
        ):
            known[row] = shown
        return [shown for shown in known if shown is not None]

    def _score(self, turn: TurnResult, before: Shown, after: Shown) -> Scores:
        script = turn.message.meaning
        source = _source(turn.spec.scene)
        earlier = self._earlier(turn, source) if isinstance(script.edit, Undo) else None
        found = verdict(script.edit, script.rules, before, after, earlier)
        licensed = found.licensed.union(turn.history[-1].detail.get("licensed", ()) if turn.history else ())
        right = found.followed and not found.broken
        detail: dict[str, Any] = {"residual": after.codes(), "licensed": sorted(licensed)}
        if found.leave_alone:
            detail["leave_alone"] = True
        scores = Scores(
            instruction_following=float(found.followed),
            content_consistency=unchanged_share(source, after, licensed),
            global_awareness=float(right and all(past.global_awareness == 1 for past in turn.history)),
            turn_consistency=unchanged_share(before, after, found.may_change),
            rule_kept=None if found.kept is None else float(found.kept),
            detail=detail,
        )
        return with_reward(scores, self.weights)

    def _earlier(self, turn: TurnResult, source: Shown) -> Shown | None:
        """What the picture before the last edit showed; None in a session's first turn."""
        if turn.turn < 2:
            return source if turn.turn else None
        return _seen(turn, -2) or read([turn.earlier[-2]], self.grid, [source])[0]


def _seen(turn: TurnResult, back: int) -> Shown | None:
    """What this scorer saw of an earlier answer, counted from the end; the source before the first one."""
    if not turn.history and back == -1:
        return _source(turn.spec.scene)
    codes = turn.history[back].detail.get("residual") if len(turn.history) >= -back else None
    return shown_from_codes(codes) if codes else None


def _source(scene: Scene) -> Shown:
    """The start scene, which the session tells."""
    return shown_from_codes(scene.codes())
