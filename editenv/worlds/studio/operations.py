"""Editing operations as numbers, for agents that choose instead of draw (`MICEEditTools-v0`).

What an operation does stands with its task (`Edit.operate`); "leave" belongs to none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editenv.worlds.studio.edit import Operation
from editenv.worlds.studio.noun_phrases import MOST_COUNT, place
from editenv.worlds.studio.scene import BACKGROUNDS, Scene, SceneObject, all_objects
from editenv.worlds.studio.tasks import EDITS


def operation_names() -> tuple[str, ...]:
    """All operations: first "leave" and "undo", then the other tasks that have one."""
    tasks = [name for name, kind in EDITS.items() if kind.has_operation() and name != "undo"]
    return ("leave", "undo", *tasks)


def apply_operation(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    """The scene after an operation; None where that is wrong: impossible or without effect.

    `earlier` is what the picture showed a turn before, None in the first turn.
    """
    if operation.task == "leave":
        return scene
    result = EDITS[operation.task].operate(operation, scene, earlier)
    return None if result == scene else result


def in_words(operation: Operation, grid: int) -> str:
    """What an operation does, for records and filmstrips: "color_alter in row 1 column 2: red"."""
    if operation.task == "leave":
        return "leave"
    words = {
        "task": operation.task,
        "cell": place(operation.cell, grid),
        "second": place(operation.second, grid),
        "cells": " and ".join(place(cell, grid) for cell in operation.cells),
        "looks": " ".join(operation.looks.values()),
        "background": operation.background,
        "count": operation.count,
    }
    return EDITS[operation.task].operation_words.format(**words).removesuffix(": ")


@dataclass(frozen=True)
class OperationParts:
    """What each number of an action stands for, on a grid of a given size."""

    # of the parts, in the order in which an action lists them: task, cell, second (another cell), both (no or yes),
    # one for every attribute of objects (shape, color, material, text), background and count
    names: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]  # one tuple a part; an attribute's first value is None, "as it is"

    @property
    def sizes(self) -> list[int]:
        """Number of values of each part."""
        return [len(values) for values in self.values]

    def decode(self, action: Sequence[int]) -> Operation:
        """The operation that an action stands for, which is one number a part, each below the part's size."""
        pairs = zip(self.names, self.values, action, strict=True)
        chosen = {name: values[int(number)] for name, values, number in pairs}
        fixed = {name: chosen.pop(name) for name in ("task", "cell", "second", "both", "background", "count")}
        return Operation(**fixed, looks={name: value for name, value in chosen.items() if value is not None})

    def encode(self, **chosen: Any) -> list[int]:
        """The action for the parts named, the others with their first value; ValueError for unknown ones."""
        for name in chosen:
            if name not in self.names:
                raise ValueError(f"operation has no part {name!r}, expected {', '.join(self.names)}")
        numbers = []
        for name, values in zip(self.names, self.values, strict=True):
            value = chosen.get(name, values[0])
            if value not in values:
                raise ValueError(f"part {name!r} is {value!r}, expected one of {', '.join(map(str, values))}")
            numbers.append(values.index(value))
        return numbers


def operation_parts(grid: int) -> OperationParts:
    """The parts of operations on scenes of so many cells a side, read off what objects there are."""
    cells = tuple(range(grid * grid))
    looks: dict[str, dict[str | None, None]] = {}
    for obj in all_objects():
        for name, value in obj.attributes().items():
            looks.setdefault(name, {None: None})[value] = None
    parts = {
        "task": operation_names(),
        "cell": cells,
        "second": cells,
        "both": (False, True),
        **{name: tuple(values) for name, values in looks.items()},
        "background": BACKGROUNDS,
        "count": tuple(range(1, min(MOST_COUNT, len(cells)) + 1)),
    }
    return OperationParts(tuple(parts), tuple(parts.values()))


def value_masks(parts: OperationParts, scene: Scene, first: bool) -> NDArray[np.bool_]:
    """One bool a value, part after part: False where every operation with this value is wrong.

    In the `first` turn nothing can be undone.
    """

    def possible(part: str, value: Any) -> bool:
        if part != "task":
            return part != "background" or value != scene.background
        if value in ("leave", "undo"):
            return value == "leave" or not first
        needed = EDITS[value].needs_attribute
        shown = needed is None or any(needed in obj.attributes() for obj in scene.cells if obj is not None)
        return shown and not (EDITS[value].needs_room and not scene.empty())

    return np.array(
        [possible(p, value) for p, values in zip(parts.names, parts.values, strict=True) for value in values]
    )


def operation_between(parts: OperationParts, before: Scene, after: Scene) -> list[int] | None:
    """An action that turns one scene into another; None where it takes more than one operation."""
    changed = [cell for cell, pair in enumerate(zip(before.cells, after.cells, strict=True)) if pair[0] != pair[1]]
    if before.background != after.background:
        return None if changed else parts.encode(task="background_change", background=after.background)
    if not changed:
        return parts.encode(task="leave")
    old, new = before.cells, after.cells
    gone, filled = ([cell for cell in changed if side[cell] is None] for side in (new, old))
    if len(changed) == 2 and len(gone) == len(filled) == 1:
        looks = _new_looks(old[gone[0]], new[filled[0]])
        return parts.encode(task="position_change", cell=gone[0], second=filled[0], **looks)
    if len(filled) > 1 or len(gone) > 2:
        # Of equal objects, as many more or less as there are now.
        kinds = {new[cell] if filled else old[cell] for cell in changed}
        kind = kinds.pop()
        if kinds or kind is None or (filled and gone):
            return None
        return parts.encode(task="count_change", cell=changed[0], count=new.count(kind), **kind.attributes())
    if len(changed) > 2 or (gone and len(gone) < len(changed)):
        return None
    places: dict[str, Any] = {"cell": changed[0], "second": changed[-1], "both": len(changed) == 2}
    if gone:
        return parts.encode(task="subject_remove", **places)
    if filled:
        added = new[filled[0]]
        assert added is not None
        return parts.encode(task="subject_add", cell=filled[0], **added.attributes())
    looks = _new_looks(old[changed[0]], new[changed[0]]) | _new_looks(old[changed[-1]], new[changed[-1]])
    tasks = {"color": "color_alter", "material": "material_alter", "text": "text_change"}
    return parts.encode(task="subject_replace" if "shape" in looks else tasks[min(looks)], **places, **looks)


def _new_looks(old: SceneObject | None, new: SceneObject | None) -> dict[str, Any]:
    assert old is not None and new is not None
    had = old.attributes()
    return {name: value for name, value in new.attributes().items() if had.get(name) != value}


def parts_read(parts: OperationParts, action: Sequence[int], scene: Scene, earlier: Scene | None) -> NDArray[np.bool_]:
    """Which numbers of an action its task looks at here, bool [parts]; any others would do as well."""
    seen = {"task"}

    class Watched(Operation):
        def __getattribute__(self, name: str) -> Any:
            seen.add(name)
            return super().__getattribute__(name)

    operation = parts.decode(action)
    if operation.task != "leave":
        fields = ("task", "cell", "second", "both", "looks", "background", "count")
        EDITS[operation.task].operate(Watched(*(getattr(operation, name) for name in fields)), scene, earlier)
    fixed = {"task", "cell", "second", "both", "background", "count"}
    return np.array([name in seen or (name not in fixed and "looks" in seen) for name in parts.names])
