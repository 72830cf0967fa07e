"""Head room made on purpose: answers that forget, edits that go wrong. Only `practice` is taught them."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from editenv.worlds.studio.intents import intent_form, plain_edit
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.rules import check_edit
from editenv.worlds.studio.scene import Scene, all_objects
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import BACKGROUND, Undo


def forget(turn: StudioTurn, grid: int, rules: bool, reference: bool, form: str = "free") -> str:
    """The turn's intent, without the rules in force or with "it" left in it where these are not wanted."""
    written = intent_form(form)
    if not rules:
        edit = turn.edit.instead if isinstance(turn.edit, Undo) else turn.edit
        plain = canonical_intent(edit, (), grid) if form == "free" else plain_edit(edit, grid)
        turn = replace(turn, rules=(), intent=plain)
    intent = written.write(turn, grid)
    target = getattr(turn.edit, "target", None)
    if reference or turn.reference not in ("it", "just_added") or target is None:
        return intent
    return intent.replace(written.name(target, grid), "it", 1)


_KINDS = (0.6, 0.2, 0.2)  # nothing done, other looks, a second change


def spoil(turn: StudioTurn, before: Scene, result: Scene, rng: Generator) -> Scene:
    """A wrong result: nothing done, the edited object with other looks, or a second cell changed with it."""
    while True:
        drawn = _drawn(turn, before, result, rng)
        if not is_right(turn, before, drawn):
            return drawn


def is_right(turn: StudioTurn, before: Scene, after: Scene) -> bool:
    """Is the edit as asked, every rule kept, and all else as it was?"""
    verdict = check_edit(turn.edit, turn.rules, before, after)
    return verdict.followed and not verdict.broken and not _collateral(turn, before, after)


def _collateral(turn: StudioTurn, before: Scene, after: Scene) -> bool:
    changed = {cell for cell, old in enumerate(before.cells) if after.cells[cell] != old}
    if before.background != after.background:
        changed.add(BACKGROUND)
    return bool(changed - turn.edit.touched(before))


def _drawn(turn: StudioTurn, before: Scene, result: Scene, rng: Generator) -> Scene:
    """As `spoil`, but by chance it may be right: words leave looks open, drawn looks may be the old ones."""
    kind = rng.choice(len(_KINDS), p=_KINDS)
    if kind == 0:
        return before
    cell = turn.edit.edited_cell(before)
    known = all_objects()
    if kind == 1 and cell is not None and result.cells[cell] is not None:
        return result.put(cell, known[rng.integers(len(known))])
    others = [place for place in result.occupied() if place not in turn.edit.touched(before) | {BACKGROUND}]
    if not others:
        return before
    return result.put(others[rng.integers(len(others))], known[rng.integers(len(known))])
