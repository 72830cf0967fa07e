"""Editing operations as numbers: which parts an operation has, and which values each part can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editenv.tools.carry_out import TASKS, Operation
from editenv.worlds.studio.edits.count import MOST_COUNT
from editenv.worlds.studio.noun_phrases import place
from editenv.worlds.studio.scene import BACKGROUNDS, all_objects


@dataclass(frozen=True)
class OperationParts:
    """What each number of an action stands for, on a grid of a given size.

    Attributes:
        names: of the parts, in the order in which an action lists them: task, cell, second (another cell),
            both (no or yes), one for every attribute of objects (shape, color, material, text), background
            and count.
        values: one tuple a part; an attribute's first value is None, "as it is".
    """

    names: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def sizes(self) -> list[int]:
        """Number of values of each part."""
        return [len(values) for values in self.values]

    def decode(self, action: Sequence[int]) -> Operation:
        """The operation that an action stands for.

        Args:
            action: one number a part, each below the part's size.
        """
        pairs = zip(self.names, self.values, action, strict=True)
        chosen = {name: values[int(number)] for name, values, number in pairs}
        task, cell, second = chosen.pop("task"), chosen.pop("cell"), chosen.pop("second")
        both, background, count = chosen.pop("both"), chosen.pop("background"), chosen.pop("count")
        looks = {name: value for name, value in chosen.items() if value is not None}
        return Operation(task, cell, second, both, looks, background, count)

    def encode(self, **chosen: Any) -> list[int]:
        """The action that stands for the parts named; the others take their first value.

        Raises:
            ValueError: a part or a value is not known.
        """
        unknown = sorted(set(chosen) - set(self.names))
        if unknown:
            raise ValueError(f"operation has no part {unknown[0]!r}, expected {', '.join(self.names)}")
        return [
            _number(name, values, chosen[name]) if name in chosen else 0
            for name, values in zip(self.names, self.values, strict=True)
        ]


def operation_parts(grid: int) -> OperationParts:
    """The parts of operations on scenes of a grid, read off what objects there are.

    Args:
        grid: cells a side.
    """
    cells = tuple(range(grid * grid))
    looks: dict[str, dict[str | None, None]] = {}
    for thing in all_objects():
        for name, value in thing.attributes().items():
            looks.setdefault(name, {None: None})[value] = None
    parts = {
        "task": TASKS,
        "cell": cells,
        "second": cells,
        "both": (False, True),
        **{name: tuple(values) for name, values in looks.items()},
        "background": BACKGROUNDS,
        "count": tuple(range(1, min(MOST_COUNT, len(cells)) + 1)),
    }
    return OperationParts(tuple(parts), tuple(parts.values()))


def in_words(operation: Operation, grid: int) -> str:
    """What an operation does, for records and filmstrips: "color_alter in row 1 column 2: red"."""
    if operation.task in ("leave", "undo"):
        return operation.task
    if operation.task == "background_change":
        return f"background_change: {operation.background}"
    looks = "" if operation.task == "subject_remove" else " ".join(operation.looks.values())
    if operation.task == "count_change":
        return f"count_change: {operation.count} {looks}"
    words = f"{operation.task} in {place(operation.cell, grid)}"
    if operation.task == "position_change":
        words += f" to {place(operation.second, grid)}"
    elif operation.both and operation.task != "subject_add":
        words += f" and {place(operation.second, grid)}"
    return f"{words}: {looks}" if looks else words


def _number(name: str, values: tuple[Any, ...], value: Any) -> int:
    """The place of a value among those of its part."""
    if value not in values:
        raise ValueError(f"part {name!r} is {value!r}, expected one of {', '.join(map(str, values))}")
    return values.index(value)
