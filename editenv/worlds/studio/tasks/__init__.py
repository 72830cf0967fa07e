"""The editing tasks: one file each holds what is right, how it is said, read, sampled and operated.

To add a task, write a class that derives from `Edit` in a file of its own and name it in KINDS; its sentences stand in
phrases.yaml. A task of another package holds its sentences itself and is named as "package.module:Class" in a suite's
table `tasks` (examples/own_task.py).
"""

from collections.abc import Mapping
from typing import Any

from editenv.worlds.studio.edit import Edit, MultiEdit, Sampler, from_fields
from editenv.worlds.studio.noun_phrases import Beside, Target
from editenv.worlds.studio.tasks.attribute_alter import ColorAlter, MaterialAlter
from editenv.worlds.studio.tasks.background_change import BackgroundChange
from editenv.worlds.studio.tasks.count_change import CountChange
from editenv.worlds.studio.tasks.multi_object import sample_multi_object
from editenv.worlds.studio.tasks.position_change import PositionChange
from editenv.worlds.studio.tasks.subject_add import SubjectAdd
from editenv.worlds.studio.tasks.subject_remove import SubjectRemove
from editenv.worlds.studio.tasks.subject_replace import SubjectReplace
from editenv.worlds.studio.tasks.text_change import TextChange
from editenv.worlds.studio.tasks.undo import Undo

# fmt: off
KINDS: tuple[type[Edit], ...] = (
    SubjectAdd, SubjectRemove, SubjectReplace, ColorAlter, MaterialAlter, TextChange, PositionChange, CountChange,
    BackgroundChange, Undo,
)
# fmt: on

EDITS: dict[str, type[Edit]] = {kind.task: kind for kind in KINDS}  # edit class by task
SAMPLERS: dict[str, Sampler] = {name: sampler for kind in KINDS for name, sampler in kind.samplers().items()}
SAMPLERS["multi_object"] = sample_multi_object
"""Sampler by the key that suites name it with: a task, or a way of asking for one."""


def register_task(kind: type[Edit]) -> None:
    """Makes a task of another package known; again is fine, ValueError where another class has the task's name."""
    if EDITS.setdefault(kind.task, kind) is not kind:
        raise ValueError(f"task {kind.task!r} is {EDITS[kind.task]} already, expected a new name")
    SAMPLERS.update(kind.samplers())


def edits_of_act(act: str) -> list[type[Edit]]:
    """The tasks whose `read` reads the slots of a speech act's sentences."""
    return [kind for kind in EDITS.values() if act == kind.task or act in kind.acts or act in kind.sentences]


def edit_from_json(data: Mapping[str, Any], refused: tuple[str, ...] = ()) -> Edit:
    """The inverse of to_json for edits; ValueError where the task is unknown or its fields are not those it has.

    Kinds of edit ("undo", "parts") that are `refused` may not stand inside of another one: 400 undos in each other
    exceed the stack.
    """
    given = dict(data)
    kind = "undo" if given.get("task") == "undo" else "parts" if "parts" in given else "single"
    if kind in refused:
        raise ValueError(f"an edit that holds edits holds one of kind {kind!r}, expected none of {refused}")
    task = given.pop("task", None)
    if task not in EDITS:
        raise ValueError(f"task is {task!r}, expected one of {sorted(EDITS)}")
    try:
        if isinstance(given.get("target"), Mapping):
            given["target"] = from_fields(Target, given["target"])
        if isinstance(given.get("beside"), Mapping):
            anchor = from_fields(Target, given["beside"]["anchor"])
            given["beside"] = from_fields(Beside, {**given["beside"], "anchor": anchor})
        if "parts" in given:
            return MultiEdit(tuple(edit_from_json(part, ("undo", "parts")) for part in given["parts"]))
        if isinstance(given.get("instead"), Mapping):
            given["instead"] = edit_from_json(given["instead"], ("undo",))
        return from_fields(EDITS[task], given)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{task} has the fields {sorted(given)}: {error}") from error
