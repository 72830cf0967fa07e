"""What is right under the rules in force, and what a picture made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from editenv.worlds.studio.constraints.base import Rule
from editenv.worlds.studio.constraints.choices import (
    broken,
    closed,
    counted,
    demanded_looks,
    open_looks,
    where_it_stands,
)
from editenv.worlds.studio.edits import (
    ColorAlter,
    CountChange,
    Edit,
    MaterialAlter,
    SubjectAdd,
    SubjectReplace,
)
from editenv.worlds.studio.edits.each import parts_of
from editenv.worlds.studio.edits.undo import Restore, shown_before
from editenv.worlds.studio.scene import UNREADABLE, Scene


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a turn's picture made of its instruction.

    Attributes:
        followed: was the instruction carried out, or the picture left alone where that is right?
        kept: were the rules kept that ask something of this turn? None where none does.
        broken: was any rule in force broken, of those too that ask nothing of this instruction?
        touched: elements (cells, BACKGROUND) that may differ from the picture before.
        licensed: elements that may differ from the source picture from now on.
        leave_alone: was it right to change nothing?
    """

    followed: bool
    kept: bool | None
    broken: bool
    touched: frozenset[int]
    licensed: frozenset[int]
    leave_alone: bool


def judge(
    edit: Edit, rules: tuple[Rule, ...], before: Scene, after: Scene, past: Sequence[Scene] = ()
) -> Verdict:
    """Judges one turn.

    Args:
        edit: what was asked for.
        rules: those that bind this turn.
        before: what the picture before shows.
        after: what the picture after shows.
        past: scenes of the pictures before `before`, in order; they decide what an undo restores.
    """
    edit = shown_before(edit, past)
    alone = is_impossible(edit, rules, before) or (isinstance(edit, Restore) and edit.shown == before)
    # What cannot be read cannot be seen to keep a prohibition.
    unread = _forbidding(rules) and UNREADABLE in after.cells
    asked = [
        rule.breaks(part, before, after) or (rule.forbids and unread)
        for part in parts_of(edit)
        for rule in _asking(rules, part, before)
        if rule.forbids or not alone
    ]
    fault = any(asked) or broken(edit, rules, before, after)
    kept = not any(asked) if asked else None
    if alone:
        none = frozenset[int]()
        return Verdict(is_unchanged(before, after), kept, fault, none, none, leave_alone=True)
    followed, touched = edit.accepts(before, after, freed(edit, rules)), edit.touched(before)
    # What an undo brings back was licensed, or it was damage, which nothing licenses.
    licensed = frozenset[int]() if isinstance(edit, Restore) else touched
    return Verdict(followed, kept, fault, touched, licensed, leave_alone=False)


def right_result(edit: Edit, rules: tuple[Rule, ...], before: Scene, past: Sequence[Scene] = ()) -> Scene:
    """One right result of an edit under the rules that bind the turn; `before` where it is impossible.

    Later rules have the last word. What the instruction leaves open is chosen so that no rule is broken.

    Args:
        edit: as `judge` takes it.
        rules: likewise.
        before: likewise.
        past: likewise.
    """
    edit = shown_before(edit, past)
    if not _forbidding(rules):
        return _demanded(edit, rules, before)
    return next(_allowed(edit, rules, before), before)


def is_impossible(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> bool:
    """True where the edit itself can be done, but whatever result is right by its words breaks a rule."""
    if not _forbidding(rules):
        return False
    placed = where_it_stands(edit, before)
    if placed is None:
        return False
    try:
        result = _demanded(placed, rules, before)
    except ValueError:  # Nothing there to be edited, or no room: the fault of earlier turns, not of a rule.
        return False
    if not broken(placed, rules, before, result):
        return False
    followed = placed.accepts(before, result, freed(placed, rules))
    return followed and next(_allowed(placed, rules, before), None) is None


def freed(edit: Edit, rules: tuple[Rule, ...]) -> frozenset[str]:
    """Attributes of edited objects that rules in force may change, though the instruction names them not."""
    if not rules:
        return frozenset()
    return frozenset(name for part in parts_of(edit) for name in demanded_looks(part, rules))


def decided(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Edit:
    """The edit with what it leaves open of looks said as in `right_result`; itself where nothing is open."""
    names = open_looks(edit, rules)
    result = right_result(edit, rules, before) if names else before
    cell = edit.edited_cell(before, result) if names else None
    thing = None if cell is None else result.cells[cell]
    if thing is None:
        return edit
    if isinstance(edit, ColorAlter | MaterialAlter):
        return replace(edit, value=getattr(thing, edit.attribute))
    said = {name: getattr(thing, name) for name in names}
    return replace(edit, **said) if isinstance(edit, SubjectAdd | SubjectReplace) else edit


def is_unchanged(before: Scene, after: Scene) -> bool:
    """True where both scenes are the same and nothing in them is unreadable."""
    readable = UNREADABLE not in after.cells and after.background != UNREADABLE.shape
    return readable and after == before


def _forbidding(rules: tuple[Rule, ...]) -> bool:
    return bool(rules) and any(rule.forbids for rule in rules)


def _asking(rules: tuple[Rule, ...], edit: Edit, before: Scene) -> list[Rule]:
    """Rules that ask something of the edit, less those that a later one of these contradicts."""
    asking = [rule for rule in rules if rule.covers(edit, before)]
    if len(asking) < 2:
        return asking
    return [
        rule
        for place, rule in enumerate(asking)
        if not any(set(rule.looks(edit)) & set(later.looks(edit)) for later in asking[place + 1 :])
    ]


def _demanded(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Scene:
    """The edit's result with every demanded look."""
    result = before
    for part in parts_of(edit):
        start, result = result, part.apply(result)
        cell = part.edited_cell(start, result)
        looks = demanded_looks(part, rules)
        thing = None if cell is None else result.cells[cell]
        if looks and cell is not None and thing is not None:
            result = result.put(cell, thing.with_looks(looks))
    return result


def _allowed(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Iterator[Scene]:
    """Right results that break no rule, of those that differ in what the instruction leaves open."""
    results = (_demanded(one, rules, before) for one in closed(edit, rules, before))
    yield from (result for result in results if not broken(edit, rules, before, result))
    if isinstance(edit, CountChange):
        result = counted(edit, rules, before)
        yield from () if result is None else (result,)
