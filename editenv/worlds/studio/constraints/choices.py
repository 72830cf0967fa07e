"""What an instruction leaves to the agent, said in every way there is: looks, places, which objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from editenv.worlds.studio.constraints.base import Rule
from editenv.worlds.studio.edits import (
    ColorAlter,
    CountChange,
    Each,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectReplace,
)
from editenv.worlds.studio.edits.each import parts_of
from editenv.worlds.studio.scene import COLORS, MATERIALS, Scene, SceneObject

_WORDS = {"color": COLORS, "material": MATERIALS}


def demanded_looks(edit: Edit, rules: tuple[Rule, ...]) -> dict[str, str]:
    """The looks that rules demand of a single edit's object, the later rule's where two speak of one."""
    if not rules:
        return {}
    return {name: value for rule in rules for name, value in rule.looks(edit).items() if value}


def open_looks(edit: Edit, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Attributes that the instruction leaves to the agent and no rule demands; a sign has no material."""
    fixed = demanded_looks(edit, rules)
    if isinstance(edit, ColorAlter | MaterialAlter):
        return (edit.attribute,) if edit.value is None and edit.attribute not in fixed else ()
    if not isinstance(edit, SubjectAdd | SubjectReplace):
        return ()
    names = ("color",) if edit.text is not None else ("color", "material")
    return tuple(name for name in names if edit.asked()[name] is None and name not in fixed)


def closed(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Iterator[Edit]:
    """The edit with the looks and the place that it leaves open said, in every way there is.

    Edits of several objects close each part by itself. Which objects a count_change takes cannot be said;
    `counted` chooses them.
    """
    if isinstance(edit, Each):
        for parts in product(*(tuple(closed(part, rules, before)) for part in edit.parts)):
            yield Each(parts)  # type: ignore[misc]
        return
    for placed in _placed(edit, before):
        yield placed
        yield from _looking(placed, rules, before)


def _placed(edit: Edit, before: Scene) -> Iterator[Edit]:
    """The edit in each of its right cells, as itself where it names one or none is free."""
    cells: tuple[int, ...] = ()
    if isinstance(edit, SubjectAdd | PositionChange) and edit.beside is not None:
        cells = edit.beside.cells(before)
        yield from (replace(edit, cell=cell, beside=None) for cell in cells)
    if not cells:
        yield edit


def _looking(edit: Edit, rules: tuple[Rule, ...], before: Scene) -> Iterator[Edit]:
    names = open_looks(edit, rules)
    if isinstance(edit, ColorAlter | MaterialAlter) and names:
        thing = before.cells[edit.target.cell]
        now = None if thing is None else getattr(thing, edit.attribute)
        yield from (replace(edit, value=value) for value in edit.values if value != now)
    elif isinstance(edit, SubjectAdd | SubjectReplace) and names:
        for values in product(*(_WORDS[name] for name in names)):
            yield replace(edit, **dict(zip(names, values, strict=True)))  # type: ignore[arg-type]


def counted(edit: CountChange, rules: tuple[Rule, ...], before: Scene) -> Scene | None:
    """A result of a count_change that breaks no rule, None where there is none.

    Objects come or go one after the other, each so that no rule is broken. That is enough: what breaks a rule
    with few changes breaks it with more of them, and no choice spoils a later one.
    """
    there, result = edit.cells(before), before
    missing = edit.count - len(there)
    cells = list(before.empty() if missing > 0 else there)
    things = _fitting(edit) if missing > 0 else (None,)
    for _ in range(abs(missing)):
        steps = ((cell, result.put(cell, thing)) for cell in cells for thing in things)
        step = next((s for s in steps if not broken(edit, rules, before, s[1])), None)
        if step is None:
            return None
        cells.remove(step[0])
        result = step[1]
    return result


def broken(edit: Edit, rules: tuple[Rule, ...], before: Scene, after: Scene) -> bool:
    """Does a change of the picture break a rule that forbids?"""
    return any(rule.forbids and rule.breaks(edit, before, after) for rule in rules)


def _fitting(edit: CountChange) -> tuple[SceneObject, ...]:
    """Every object that fits a description."""
    colors = COLORS if edit.color is None else (edit.color,)
    materials = MATERIALS if edit.material is None else (edit.material,)
    return tuple(SceneObject(edit.shape, color, material) for color in colors for material in materials)


def where_it_stands(edit: Edit, before: Scene) -> Edit | None:
    """The edit of the object where it really stands, of all its objects; None where one cannot be found."""
    if isinstance(edit, Each):
        parts = [where_it_stands(part, before) for part in parts_of(edit)]
        found = tuple(part for part in parts if part is not None)
        return Each(found) if len(found) == len(parts) else None  # type: ignore[return-value]
    target = getattr(edit, "target", None)
    if target is None:
        return edit
    cell = target.find(before)
    if cell is None:
        return None
    return edit if cell == target.cell else replace(edit, target=replace(target, cell=cell))  # type: ignore[type-var]
