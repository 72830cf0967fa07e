"""The editing tasks, one file each: what an instruction asks for and which results are right.

To add a task, write a frozen dataclass with the members of `Edit` in a file of its own and name it in EDITS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
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
    return {"task": edit.task, **asdict(edit)}  # type: ignore[call-overload]


def edit_from_json(data: Mapping[str, Any]) -> Edit:
    """The inverse of edit_to_json.

    Raises:
        ValueError: the task is unknown or its fields are not those it has.
    """
    fields = dict(data)
    task = fields.pop("task", None)
    if task not in EDITS:
        raise ValueError(f"task is {task!r}, expected one of {sorted(EDITS)}")
    try:
        if isinstance(fields.get("target"), Mapping):
            fields["target"] = Target(**fields["target"])
        return EDITS[task](**fields)
    except TypeError as error:
        raise ValueError(f"{task} has the fields {sorted(fields)}: {error}") from error
