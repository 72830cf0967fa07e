"""The editing tasks, one file each: what an instruction asks for and which results are right.

To add a task, write a frozen dataclass with the members of `Edit` in a file of its own and name it in EDITS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from editenv.worlds.studio.edits.add import SubjectAdd
from editenv.worlds.studio.edits.alter import ColorAlter, MaterialAlter
from editenv.worlds.studio.edits.background import BackgroundChange
from editenv.worlds.studio.edits.base import Edit, Target
from editenv.worlds.studio.edits.move import PositionChange
from editenv.worlds.studio.edits.remove import SubjectRemove
from editenv.worlds.studio.edits.replace import SubjectReplace

__all__ = [
    "EDITS",
    "BackgroundChange",
    "ColorAlter",
    "Edit",
    "MaterialAlter",
    "PositionChange",
    "SubjectAdd",
    "SubjectRemove",
    "SubjectReplace",
    "Target",
    "edit_from_json",
    "edit_to_json",
]

EDITS: dict[str, type[Edit]] = {
    kind.task: kind
    for kind in (
        SubjectAdd,
        SubjectRemove,
        SubjectReplace,
        ColorAlter,
        MaterialAlter,
        PositionChange,
        BackgroundChange,
    )
}


def edit_to_json(edit: Edit) -> dict[str, Any]:
    """An edit as JSON values, its task under "task"."""
    data = {"task": edit.task} | _shallow(edit)
    if isinstance(data.get("target"), Target):
        data["target"] = _shallow(data["target"])
    return data


def edit_from_json(data: Mapping[str, Any]) -> Edit:
    """The inverse of edit_to_json.

    Raises:
        ValueError: the task is unknown or its fields are not those it has.
    """
    given = dict(data)
    task = given.pop("task", None)
    if task not in EDITS:
        raise ValueError(f"task is {task!r}, expected one of {sorted(EDITS)}")
    try:
        if isinstance(given.get("target"), Mapping):
            given["target"] = Target(**given["target"])
        return EDITS[task](**given)
    except TypeError as error:
        raise ValueError(f"{task} has the fields {sorted(given)}: {error}") from error


def _shallow(value: Any) -> dict[str, Any]:
    """A dataclass's fields by name; quicker than `asdict`, which copies deeply."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
