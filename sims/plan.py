"""What is left to do: the edits that lead from what a picture shows to what somebody wants."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from editenv.worlds.studio.rules import Rule, right_result
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.tasks import (
    BACKGROUND,
    BackgroundChange,
    ColorAlter,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    Target,
    TextChange,
)

_LOOKS = tuple(field.name for field in fields(SceneObject) if field.compare)
_ABSENT = len(_LOOKS) + 1
"""Distance between an object and no object: more than that between any two objects."""


def distance(scene: Scene, target: Scene) -> int:
    """How far a scene is from another one: attributes that differ, with a missing object counted as more."""
    pairs = zip(scene.cells, target.cells, strict=True)
    return int(scene.background != target.background) + sum(_apart(old, new) for old, new in pairs)


def remaining(shown: Scene, target: Scene) -> list[Edit]:
    """Edits that each bring the scene nearer to the target, in a fixed order; empty where they are equal.

    Objects are meant by their cells (`Target(cell)`); words for them are found later. Every edit can be
    carried out at once, so that they may come in any order.
    """
    edits: list[Edit] = []
    if shown.background != target.background:
        edits.append(BackgroundChange(target.background))
    gone = _moves(shown, target)
    edits += [PositionChange(Target(start), end) for start, end in gone.items()]
    for cell, (old, new) in enumerate(zip(shown.cells, target.cells, strict=True)):
        if old != new and cell not in gone and cell not in gone.values():
            edits += _cell_edits(cell, old, new)
    return edits


def conforming(edits: list[Edit], rules: tuple[Rule, ...], shown: Scene, target: Scene) -> list[Edit]:
    """Those of the edits that bring the scene nearer to the target under the rules in force."""
    now = distance(shown, target)
    return [edit for edit in edits if distance(right_result(edit, rules, shown), target) < now]


def elements(edit: Edit) -> frozenset[int]:
    """Cells, or BACKGROUND, that an edit is about, whatever the picture shows there."""
    if isinstance(edit, BackgroundChange):
        return frozenset((BACKGROUND,))
    target, cell = getattr(edit, "target", None), getattr(edit, "cell", None)
    return frozenset(place for place in (cell, target and target.cell) if place is not None)


def _moves(shown: Scene, target: Scene) -> dict[int, int]:
    """Where objects that stand too much could go: to an empty cell that wants one of nearly their looks."""
    free = {
        cell: thing
        for cell, thing in enumerate(target.cells)
        if thing is not None and shown.cells[cell] is None
    }
    moves: dict[int, int] = {}
    for cell, thing in enumerate(shown.cells):
        if thing is None or thing is UNREADABLE or target.cells[cell] is not None:
            continue
        ends = [
            (_apart(thing, wanted), end)
            for end, wanted in free.items()
            if wanted.shape == thing.shape and _apart(thing, wanted) < 2
        ]
        if ends:
            moves[cell] = min(ends)[1]
            del free[moves[cell]]
    return moves


def _cell_edits(cell: int, old: SceneObject | None, new: SceneObject | None) -> list[Edit]:
    """What could be done in one cell; one edit a look that differs."""
    target = Target(cell)
    if new is None:
        # All that can be said of what nobody can read is where it is.
        return [SubjectRemove(target)]
    if old is None or old is UNREADABLE:
        return [SubjectAdd(cell, **_description(new))]
    if old.shape != new.shape:
        return [SubjectReplace(target, **_description(new))]
    edits: list[Edit] = []
    if old.color != new.color:
        edits.append(ColorAlter(target, new.color))
    if old.material != new.material:
        edits.append(MaterialAlter(target, new.material))
    if new.text is not None and old.text != new.text:
        edits.append(TextChange(target, new.text))
    return edits


def _description(thing: SceneObject) -> dict[str, Any]:
    """An object as it is asked for; of a sign nobody says that it is plain."""
    said: dict[str, Any] = dict(thing.attributes())
    return said if thing.text is None else said | {"material": None}


def _apart(old: SceneObject | None, new: SceneObject | None) -> int:
    """Number of attributes in which two objects differ."""
    if old is None or new is None:
        return 0 if old is new else _ABSENT
    return sum(getattr(old, name) != getattr(new, name) for name in _LOOKS)
