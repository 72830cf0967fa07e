"""Which values of an operation's parts cannot lead anywhere now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from editenv.tools.carry_out import TOOLS
from editenv.tools.operation import OperationParts
from editenv.worlds.studio.scene import Scene


def value_masks(parts: OperationParts, scene: Scene, first: bool) -> NDArray[np.bool_]:
    """One bool a value, part after part: False where every operation with this value is wrong.

    Args:
        parts: of the operations.
        scene: what the picture shows.
        first: whether this is the first turn, in which nothing can be undone.
    """
    named = zip(parts.names, parts.values, strict=True)
    return np.array([_worthwhile(name, value, scene, first) for name, values in named for value in values])


def _worthwhile(name: str, value: Any, scene: Scene, first: bool) -> bool:
    if name == "task":
        return _possible(value, scene, first)
    return bool(name != "background" or value != scene.background)


def _possible(task: str, scene: Scene, first: bool) -> bool:
    """Whether a task can do anything here."""
    tool = TOOLS[task]
    things = [thing for thing in scene.cells if thing is not None]
    if tool.on is not None and not any(tool.on in thing.attributes() for thing in things):
        return False
    return not (tool.into_room and not scene.empty()) and not (first and task == "undo")
