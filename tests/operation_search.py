"""From two scenes to the operation that leads from one to the other."""

from __future__ import annotations

from typing import Any

from editenv.worlds.studio.operations import OperationParts
from editenv.worlds.studio.scene import Scene, SceneObject


def operation_between(parts: OperationParts, before: Scene, after: Scene) -> list[int] | None:
    """An action that turns `before` into `after`; None where it takes more than one operation."""
    changed = [cell for cell, pair in enumerate(zip(before.cells, after.cells, strict=True)) if pair[0] != pair[1]]
    if before.background != after.background:
        return None if changed else parts.encode(task="background_change", background=after.background)
    if not changed:
        return parts.encode(task="leave")
    gone = [cell for cell in changed if after.cells[cell] is None]
    new = [cell for cell in changed if before.cells[cell] is None]
    if len(changed) == 2 and len(gone) == len(new) == 1:
        looks = _changes(before.cells[gone[0]], after.cells[new[0]])
        return parts.encode(task="position_change", cell=gone[0], second=new[0], **looks)
    if len(changed) > 2 or (gone and new):
        return _counted(parts, before, after, new)
    places = {"cell": changed[0], "second": changed[-1], "both": len(changed) == 2}
    if len(gone) == len(changed):
        return parts.encode(task="subject_remove", **places)
    if new:
        return _counted(parts, before, after, new) if len(new) == 2 else _added(parts, after, new[0])
    looks = _changes(before.cells[changed[0]], after.cells[changed[0]])
    others = _changes(before.cells[changed[-1]], after.cells[changed[-1]])
    return parts.encode(task=_task(looks), **places, **(looks | others))


def _added(parts: OperationParts, after: Scene, cell: int) -> list[int]:
    thing = after.cells[cell]
    assert thing is not None
    return parts.encode(task="subject_add", cell=cell, **thing.attributes())


def _counted(parts: OperationParts, before: Scene, after: Scene, new: list[int]) -> list[int] | None:
    """Equal objects more or less than before."""
    (kind,) = {after.cells[cell] if new else before.cells[cell] for cell in new} or {None}
    return (
        None
        if kind is None
        else parts.encode(task="count_change", cell=new[0], count=after.cells.count(kind), **kind.attributes())
    )


def _changes(old: SceneObject | None, new: SceneObject | None) -> dict[str, Any]:
    assert old is not None
    assert new is not None
    had = old.attributes()
    return {name: value for name, value in new.attributes().items() if had.get(name) != value}


def _task(looks: dict[str, Any]) -> str:
    if "shape" in looks:
        return "subject_replace"
    return {"color": "color_alter", "material": "material_alter", "text": "text_change"}[min(looks)]
