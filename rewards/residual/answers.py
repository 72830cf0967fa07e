"""Right results: for each task, which contents of which cells carry an instruction out.

To add a task, write a function (edit, before, ruled) -> Answer and name it in TASKS. `ruled` holds, for each
attribute that a rule demands of the edited object, the values that count: all of them for following (a wrong
one breaks the rule, not the instruction), the demanded one for what is right under the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from editenv.rewards.residual.kinds import EMPTY, UNREAD, WORDS, Shown, choice, kinds, look
from editenv.rewards.residual.places import free_beside, where
from editenv.worlds.studio.scene import BACKGROUNDS
from editenv.worlds.studio.tasks import (
    BackgroundChange,
    ColorAlter,
    CountChange,
    Edit,
    MaterialAlter,
    MultiEdit,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    TextChange,
    Undo,
)

Ruled = Mapping[str, frozenset[str]]
Contents = Mapping[int, frozenset[int]]
GROUND = -1
"""Stands for the background among cells."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The right results of an edit.

    Attributes:
        ways: each a choice of cells with the codes that are right in them; one way must be met in full.
            None at all where the object meant is not there.
        may_change: cells, and GROUND, that this edit may change, whichever way is taken.
        spots: cells of which one holds the edited object afterwards.
        moved_from: where the edited object stood, if it leaves.
        ground: the background that is asked for.
        number: how many objects of some codes the whole picture shall show.
    """

    ways: tuple[Contents, ...] = ()
    may_change: frozenset[int] = frozenset()
    spots: tuple[int, ...] = ()
    moved_from: int | None = None
    ground: int | None = None
    number: tuple[frozenset[int], int] | None = None

    def met(self, after: Shown) -> bool:
        """Does a picture show one of the right results, whatever else it shows?"""
        if self.ground is not None and after.ground != self.ground:
            return False
        if self.number is not None and sum(c in self.number[0] for c in after.cells) != self.number[1]:
            return False
        return any(all(after.cells[cell] in codes for cell, codes in way.items()) for way in self.ways)

    def edited(self, after: Shown) -> int | None:
        """Where the edited object stands afterwards; None where none or several spots are filled."""
        if len(self.spots) < 2:
            return self.spots[0] if self.spots else None
        filled = [cell for cell in self.spots if after.cells[cell] != EMPTY]
        return filled[0] if len(filled) == 1 else None


def answer_to(edit: Edit, before: Shown, ruled: Ruled) -> Answer:
    """The right results of an edit of a picture."""
    return TASKS[type(edit)](edit, before, ruled)


def restoring(earlier: Shown, before: Shown) -> Answer:
    """The right results of going back: what differs from the earlier picture is as it was, and readable."""
    pairs = enumerate(zip(before.cells, earlier.cells, strict=True))
    back = {cell: frozenset((then,)) - {UNREAD} for cell, (now, then) in pairs if now != then}
    if before.ground == earlier.ground:
        return Answer((back,), frozenset(back))
    ways = (back,) if earlier.ground != UNREAD else ()
    return Answer(ways, frozenset(back) | {GROUND}, ground=earlier.ground)


def _adding(edit: SubjectAdd, before: Shown, ruled: Ruled) -> Answer:
    right = _new(edit, ruled)
    if edit.beside is None:
        return Answer(({edit.cell: right},), frozenset((edit.cell,)), (edit.cell,))
    free = free_beside(edit.beside, before)
    return Answer(_in_one_of(free, right), frozenset(free), free)


def _removing(edit: SubjectRemove, before: Shown, ruled: Ruled) -> Answer:
    cell = where(edit.target, before)
    return Answer() if cell is None else Answer(({cell: frozenset((EMPTY,))},), frozenset((cell,)))


def _replacing(edit: SubjectReplace, before: Shown, ruled: Ruled) -> Answer:
    return _in_place(where(edit.target, before), _new(edit, ruled))


def _altering(edit: ColorAlter | MaterialAlter, before: Shown, ruled: Ruled) -> Answer:
    name = "color" if isinstance(edit, ColorAlter) else "material"
    cell = where(edit.target, before)
    if cell is None:
        return Answer()
    old = before.cells[cell]
    wanted = WORDS[name] - {look(old, name)} if edit.value is None else frozenset((edit.value,))
    return _in_place(cell, _as_before(old, {**ruled, name: wanted & ruled.get(name, wanted)}))


def _writing(edit: TextChange, before: Shown, ruled: Ruled) -> Answer:
    cell = where(edit.target, before)
    if cell is None:
        return Answer()
    old = before.cells[cell]
    said = look(old, "text")
    right = _as_before(old, ruled, edit.text) if said not in (None, edit.text) else frozenset[int]()
    return _in_place(cell, right)


def _moving(edit: PositionChange, before: Shown, ruled: Ruled) -> Answer:
    free = (edit.cell,) if edit.beside is None else free_beside(edit.beside, before)
    source = where(edit.target, before)
    if source is None or source in free:
        return Answer((), frozenset(free), free)
    right = _as_before(before.cells[source], ruled)
    ways = tuple({**way, source: frozenset((EMPTY,))} for way in _in_one_of(free, right))
    return Answer(ways, frozenset((*free, source)), free, source)


def _counting(edit: CountChange, before: Shown, ruled: Ruled) -> Answer:
    counted = kinds(edit.shape, choice("color", edit.color), choice("material", edit.material))
    there = [cell for cell, code in enumerate(before.cells) if code in counted]
    if len(there) == edit.count:
        return Answer()
    if len(there) > edit.count:
        way = {cell: frozenset((before.cells[cell], EMPTY)) for cell in there}
    else:
        way = {cell: counted | {EMPTY} for cell, code in enumerate(before.cells) if code == EMPTY}
    return Answer((way,), frozenset(way), number=(counted, edit.count))


def _repainting(edit: BackgroundChange, before: Shown, ruled: Ruled) -> Answer:
    ground = BACKGROUNDS.index(edit.background)
    return Answer(({},) if before.ground != ground else (), frozenset((GROUND,)), ground=ground)


def _several(edit: MultiEdit, before: Shown, ruled: Ruled) -> Answer:
    """All parts at once."""
    return reduce(_both, (answer_to(part, before, ruled) for part in edit.parts))


def _both(one: Answer, other: Answer) -> Answer:
    ways = tuple(
        {**a, **b, **{cell: a[cell] & b[cell] for cell in a.keys() & b.keys()}}
        for a in one.ways
        for b in other.ways
    )
    return Answer(ways, one.may_change | other.may_change)


def _undoing(edit: Undo, before: Shown, ruled: Ruled) -> Answer:
    """What undoes the last edit, if that one was done right and no picture before is known."""
    return answer_to(edit.instead, before, {})


def _new(edit: SubjectAdd | SubjectReplace, ruled: Ruled) -> frozenset[int]:
    """What fits the words for a new object, but for what rules demand."""
    colors = ruled.get("color") or choice("color", edit.color)
    materials = ruled.get("material") or choice("material", edit.material)
    return kinds(edit.shape, colors, materials, edit.text)


def _as_before(code: int, ruled: Ruled, text: str | None = None) -> frozenset[int]:
    """The object as it was, but for what rules demand and perhaps a new text; nothing for the unread."""
    if code <= EMPTY:
        return frozenset()
    values = [ruled[name] if name in ruled else frozenset((look(code, name) or "",)) for name in WORDS]
    return kinds(look(code, "shape"), *values, text or look(code, "text"))


def _in_place(cell: int | None, right: frozenset[int]) -> Answer:
    """One cell shows something else afterwards."""
    return Answer() if cell is None else Answer(({cell: right},), frozenset((cell,)), (cell,))


def _in_one_of(free: tuple[int, ...], right: frozenset[int]) -> tuple[Contents, ...]:
    """A way for each free cell: the object in it, and the others as empty as they were."""
    empty = frozenset((EMPTY,))
    return tuple({cell: right if cell == spot else empty for cell in free} for spot in free)


TASKS: dict[type, Callable[[Any, Shown, Ruled], Answer]] = {
    SubjectAdd: _adding,
    SubjectRemove: _removing,
    SubjectReplace: _replacing,
    ColorAlter: _altering,
    MaterialAlter: _altering,
    TextChange: _writing,
    PositionChange: _moving,
    CountChange: _counting,
    BackgroundChange: _repainting,
    MultiEdit: _several,
    Undo: _undoing,
}
