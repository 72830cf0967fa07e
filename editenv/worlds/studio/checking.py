"""What is right under the rules in force: right results of an edit, and whether a picture is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.rule import Rule
from editenv.worlds.studio.scene import UNREADABLE, Scene


@dataclass(frozen=True, slots=True)
class EditCheck:
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


def check_edit(
    edit: Edit, rules: tuple[Rule, ...], before: Scene, after: Scene, past: Sequence[Scene] = ()
) -> EditCheck:
    """Checks one turn.

    Args:
        edit: what was asked for.
        rules: those that bind this turn.
        before: what the picture before shows.
        after: what the picture after shows.
        past: scenes of the pictures before `before`, in order; they decide what an undo restores.
    """
    edit = edit.resolved(past)
    alone = is_impossible(edit, rules, before) or edit.is_void(before)
    # A prohibition cannot be seen to be kept where something is unreadable.
    unread = _forbidding(rules) and UNREADABLE in after.cells
    asked = [
        rule.breaks(part, before, after) or (rule.forbids and unread)
        for part in edit.single_edits()
        for rule in _asking(rules, part, before)
        if rule.forbids or not alone
    ]
    fault = any(asked) or _broken(edit, rules, before, after)
    kept = not any(asked) if asked else None
    if alone:
        none = frozenset[int]()
        return EditCheck(_is_unchanged(before, after), kept, fault, none, none, leave_alone=True)
    followed, touched = edit.accepts(before, after, allowed_changes(edit, rules)), edit.touched(before)
    licensed = touched if edit.licenses else frozenset[int]()
    return EditCheck(followed, kept, fault, touched, licensed, leave_alone=False)


def right_result(edit: Edit, rules: tuple[Rule, ...], before: Scene, past: Sequence[Scene] = ()) -> Scene:
    """One right result of an edit under the rules that bind the turn; `before` where it is impossible.

    Later rules have the last word. What the instruction leaves open is chosen so that no rule is broken.

    Args:
        edit, rules, before, past: as `check_edit` takes them.
    """
    edit = edit.resolved(past)
    if not _forbidding(rules):
        return _demanded_result(edit, rules, before)
    return next(_unbroken_results(edit, rules, before), before)


def is_impossible(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> bool:
    """True where the edit itself can be done, but whatever result is right by its words breaks a rule."""
    if not _forbidding(rules):
        return False
    located = edit.located(before)
    if located is None:
        return False
    try:
        result = _demanded_result(located, rules, before)
    except ValueError:  # Nothing there to be edited, or no room: the fault of earlier turns, not of a rule.
        return False
    if not _broken(located, rules, before, result):
        return False
    followed = located.accepts(before, result, allowed_changes(located, rules))
    return followed and next(_unbroken_results(located, rules, before), None) is None


def demanded_looks(edit: Edit, rules: tuple[Rule, ...]) -> dict[str, str]:
    """The looks that rules demand of a single edit's object, the later rule's where two speak of one."""
    if not rules:
        return {}
    return {name: value for rule in rules for name, value in rule.looks(edit).items() if value}


def allowed_changes(edit: Edit, rules: tuple[Rule, ...]) -> frozenset[str]:
    """Attributes of edited objects that rules in force may change, though the instruction names them not."""
    if not rules:
        return frozenset()
    return frozenset(name for part in edit.single_edits() for name in demanded_looks(part, rules))


def open_looks(edit: Edit, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Attributes that the instruction leaves to the agent and no rule demands."""
    names = edit.open_looks()
    fixed = demanded_looks(edit, rules) if names else {}
    return tuple(name for name in names if name not in fixed)


def choose_open(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Edit:
    """The edit with what it leaves open of looks said as in `right_result`; itself where nothing is open."""
    names = open_looks(edit, rules)
    result = right_result(edit, rules, before) if names else before
    cell = edit.edited_cell(before, result) if names else None
    obj = None if cell is None else result.cells[cell]
    return edit if obj is None else edit.choosing({name: getattr(obj, name) for name in names})


def _forbidding(rules: tuple[Rule, ...]) -> bool:
    return bool(rules) and any(rule.forbids for rule in rules)


def _broken(edit: Edit, rules: tuple[Rule, ...], before: Scene, after: Scene) -> bool:
    """Does a change of the picture break a rule that forbids?"""
    return any(rule.forbids and rule.breaks(edit, before, after) for rule in rules)


def _is_unchanged(before: Scene, after: Scene) -> bool:
    """True where both scenes are the same and nothing in them is unreadable."""
    readable = UNREADABLE not in after.cells and after.background != UNREADABLE.shape
    return readable and after == before


def _asking(rules: tuple[Rule, ...], edit: Edit, before: Scene) -> list[Rule]:
    """Rules that ask something of the edit, less those that a later one of these contradicts."""
    asking = [rule for rule in rules if rule.covers(edit, before)]
    if len(asking) < 2:
        return asking
    return [
        rule
        for number, rule in enumerate(asking)
        if not any(set(rule.looks(edit)) & set(later.looks(edit)) for later in asking[number + 1 :])
    ]


def _demanded_result(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Scene:
    """The edit's result with every demanded look."""
    result = before
    for part in edit.single_edits():
        start, result = result, part.apply(result)
        cell = part.edited_cell(start, result)
        looks = demanded_looks(part, rules)
        obj = None if cell is None else result.cells[cell]
        if looks and cell is not None and obj is not None:
            result = result.put(cell, obj.with_looks(looks))
    return result


def _unbroken_results(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Iterator[Scene]:
    """Right results that break no rule, of those that differ in what the instruction leaves open."""
    for one in _said_in_full(edit, rules, before):
        result = _demanded_result(one, rules, before)
        if not _broken(edit, rules, before, result):
            yield result
    yield from edit.other_results(before, lambda result: _broken(edit, rules, before, result))


def _said_in_full(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Iterator[Edit]:
    """The edit as it is, and with the looks and the place that it leaves open said in every way there is."""
    parts = edit.single_edits()
    if parts != (edit,):
        for chosen in product(*(tuple(_said_in_full(part, rules, before)) for part in parts)):
            yield type(edit)(chosen)  # type: ignore[call-arg]
        return
    for placed in edit.placements(before):
        yield placed
        names = open_looks(placed, rules)
        for values in product(*(placed.choices(name, before) for name in names)) if names else ():
            yield placed.choosing(dict(zip(names, values, strict=True)))
