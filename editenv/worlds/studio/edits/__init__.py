"""The editing tasks, one file each: what an instruction asks for and which results are right.

To add a task, write a frozen dataclass with the members of `Edit` in a file of its own and name it in EDITS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from editenv.worlds.studio.edits.add import SubjectAdd
from editenv.worlds.studio.edits.alter import ColorAlter, MaterialAlter
from editenv.worlds.studio.edits.background import BackgroundChange
from editenv.worlds.studio.edits.base import Edit, Target
from editenv.worlds.studio.edits.beside import Beside
from editenv.worlds.studio.edits.count import CountChange
from editenv.worlds.studio.edits.each import Each
from editenv.worlds.studio.edits.move import PositionChange
from editenv.worlds.studio.edits.remove import SubjectRemove
from editenv.worlds.studio.edits.replace import SubjectReplace
from editenv.worlds.studio.edits.text import TextChange
from editenv.worlds.studio.edits.undo import Undo

__all__ = [
    "EDITS",
    "BackgroundChange",
    "Beside",
    "ColorAlter",
    "CountChange",
    "Each",
    "Edit",
    "MaterialAlter",
    "PositionChange",
    "SubjectAdd",
    "SubjectRemove",
    "SubjectReplace",
    "Target",
    "TextChange",
    "Undo",
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
        TextChange,
        PositionChange,
        CountChange,
        BackgroundChange,
        Undo,
    )
}


def edit_to_json(edit: Edit) -> dict[str, Any]:
    """An edit as JSON values, its task under "task"."""
    return {"task": edit.task} | _shallow(edit)


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
        if isinstance(given.get("beside"), Mapping):
            given["beside"] = _beside(**given["beside"])
        if isinstance(given.get("instead"), Mapping):
            given["instead"] = edit_from_json(given["instead"])
        if "parts" in given:
            return Each(tuple(edit_from_json(part) for part in given["parts"]))  # type: ignore[return-value]
        return EDITS[task](**given)
    except TypeError as error:
        raise ValueError(f"{task} has the fields {sorted(given)}: {error}") from error


def _beside(relation: str, anchor: Mapping[str, Any]) -> Beside:
    return Beside(relation, Target(**anchor))


def _shallow(value: Any) -> dict[str, Any]:
    """A dataclass's fields by name, those left out that need not be there; quicker than `asdict`."""
    data = {}
    for name, default in _fields(value.__class__):
        part = getattr(value, name)
        if default is not MISSING and part == default:
            continue
        if isinstance(part, Target | Beside):
            part = _shallow(part)
        elif name == "instead":
            part = edit_to_json(part)
        elif name == "parts":
            part = [edit_to_json(each) for each in part]
        data[name] = part
    return data


@lru_cache(maxsize=32)
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """Names of a dataclass's fields, each with the value that is left out (MISSING where none is)."""
    return tuple((f.name, f.default if f.metadata.get("sparse") else MISSING) for f in fields(kind))
