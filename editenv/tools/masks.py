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

    Every part keeps one True at least.

    Args:
        parts: of the operations.
        scene: what the picture shows.
        first: whether this is the first turn, in which nothing can be undone.
    """
    masks = []
    for name, values in zip(parts.names, parts.values, strict=True):
        allowed = [_worthwhile(name, value, scene, first) for value in values]
        masks.append(allowed if any(allowed) else [True] * len(allowed))
    return np.concatenate([np.array(mask, np.bool_) for mask in masks])


def _worthwhile(name: str, value: Any, scene: Scene, first: bool) -> bool:
    if name == "task":
        return _possible(value, scene, first)
    if name == "second":
        return scene.cells[value] is None
    return bool(name != "background" or value != scene.background)


def _possible(task: str, scene: Scene, first: bool) -> bool:
    """Whether a task can do anything here."""
    tool = TOOLS[task]
    if (tool.on_object and not scene.occupied()) or (tool.into_room and not scene.empty()):
        return False
    return not (first and task == "undo")
