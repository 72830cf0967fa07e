"""The editing tasks: one file each holds what is right, how it is said, sampled and operated.

To add a task, write a class that derives from `Edit` in a file of its own and name it in KINDS; its sentences
stand in phrases.yaml. A task of another package holds its sentences itself and is named as
"package.module:Class" in a suite's table `tasks` (examples/own_task.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from editenv.worlds.studio.edit import BACKGROUND, Edit, Operation, Sampler
from editenv.worlds.studio.noun_phrases import RELATIONS, Beside, Target
from editenv.worlds.studio.tasks.attribute_alter import AttributeAlter, ColorAlter, MaterialAlter
from editenv.worlds.studio.tasks.background_change import BackgroundChange
from editenv.worlds.studio.tasks.count_change import MOST_COUNT, CountChange
from editenv.worlds.studio.tasks.multi_object import MultiEdit
from editenv.worlds.studio.tasks.position_change import PositionChange
from editenv.worlds.studio.tasks.subject_add import SubjectAdd
from editenv.worlds.studio.tasks.subject_remove import SubjectRemove
from editenv.worlds.studio.tasks.subject_replace import SubjectReplace
from editenv.worlds.studio.tasks.text_change import TextChange
from editenv.worlds.studio.tasks.undo import Undo, inverse_edit

# fmt: off
__all__ = [
    "BACKGROUND", "EDITS", "MOST_COUNT", "RELATIONS", "SAMPLERS", "AttributeAlter", "BackgroundChange",
    "Beside", "ColorAlter", "CountChange", "Edit", "MaterialAlter", "MultiEdit", "Operation",
    "PositionChange", "SubjectAdd", "SubjectRemove", "SubjectReplace", "Target", "TextChange", "Undo",
    "edit_from_json", "edit_to_json", "inverse_edit", "register_task",
]
# fmt: on

KINDS: tuple[type[Edit], ...] = (
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

EDITS: dict[str, type[Edit]] = {kind.task: kind for kind in KINDS}
"""Edit class by task."""

SAMPLERS: dict[str, Sampler] = {
    name: sampler for kind in (*KINDS, MultiEdit) for name, sampler in kind.samplers().items()
}
"""Sampler by the key that suites name it with: a task, or a way of asking for one."""


def register_task(kind: type[Edit]) -> None:
    """Makes a task of another package known; again is fine.

    Raises:
        ValueError: another class has the task's name.
    """
    if EDITS.setdefault(kind.task, kind) is not kind:
        raise ValueError(f"task {kind.task!r} is {EDITS[kind.task]} already, expected a new name")
    SAMPLERS.update(kind.samplers())


def edit_to_json(edit: Edit) -> dict[str, Any]:
    """An edit as JSON values, its task under "task"."""
    return {"task": edit.task} | _shallow(edit)


def edit_from_json(data: Mapping[str, Any]) -> Edit:
    """The inverse of edit_to_json.

    Raises:
        ValueError: the task is unknown, its fields are not those it has, or an undo undoes an undo.
    """
    given = dict(data)
    task = given.pop("task", None)
    if task not in EDITS:
        raise ValueError(f"task is {task!r}, expected one of {sorted(EDITS)}")
    try:
        if isinstance(given.get("target"), Mapping):
            given["target"] = Target(**given["target"])
        if isinstance(given.get("beside"), Mapping):
            given["beside"] = _beside_from_json(**given["beside"])
        if "parts" in given:
            return MultiEdit(tuple(_nested(part, ("undo", "parts")) for part in given["parts"]))
        if isinstance(given.get("instead"), Mapping):
            given["instead"] = _nested(given["instead"], ("undo",))
        return EDITS[task](**given)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{task} has the fields {sorted(given)}: {error}") from error


def _nested(data: Any, refused: tuple[str, ...]) -> Edit:
    """An edit inside of another one, less kinds that would nest without end (400 undos exceed the stack)."""
    kind = "undo" if data.get("task") == "undo" else "parts" if "parts" in data else "single"
    if kind in refused:
        raise ValueError(f"an edit that holds edits holds one of kind {kind!r}, expected none of {refused}")
    return edit_from_json(data)


def _beside_from_json(relation: str, anchor: Mapping[str, Any]) -> Beside:
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
        elif isinstance(part, Edit):
            part = edit_to_json(part)
        elif name == "parts":
            part = [edit_to_json(each) for each in part]
        data[name] = part
    return data


@lru_cache(maxsize=64)
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """Names of a dataclass's fields, each with the value that is left out (MISSING where none is)."""
    return tuple((f.name, f.default if f.metadata.get("sparse") else MISSING) for f in fields(kind))
