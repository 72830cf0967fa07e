"""Head room made on purpose: answers that forget, edits that go wrong. Only the `practice` checkpoint is taught them."""

from __future__ import annotations

from numpy.random import Generator

from editenv.worlds.studio.edits.base import BACKGROUND
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.scene import Scene, things
from editenv.worlds.studio.session import StudioTurn


def forget(turn: StudioTurn, grid: int, rules: bool, reference: bool) -> str:
    """The turn's intent, without the rules in force or with "it" left unresolved where these are not wanted."""
    intent = turn.intent if rules else canonical_intent(turn.edit, (), grid)
    target = getattr(turn.edit, "target", None)
    if reference or turn.reference not in ("it", "just_added") or target is None:
        return intent
    return intent.replace(target.words(grid), "it", 1)


def spoil(turn: StudioTurn, before: Scene, result: Scene, rng: Generator) -> Scene:
    """A wrong result: nothing done, the edited object with other looks, or a second cell changed with it."""
    kind = rng.integers(3)
    if kind == 0:
        return before
    cell = turn.edit.edited_cell(before)
    known = things()
    if kind == 1 and cell is not None and result.cells[cell] is not None:
        return result.put(cell, known[rng.integers(len(known))])
    others = [place for place in result.occupied() if place not in turn.edit.touched(before) | {BACKGROUND}]
    if not others:
        return before
    return result.put(others[rng.integers(len(others))], known[rng.integers(len(known))])
