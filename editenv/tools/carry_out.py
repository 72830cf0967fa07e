"""What each editing operation does to a scene, and when it is wrong. One function a task, named in TOOLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from editenv.worlds.studio.scene import UNREADABLE, Scene, Thing, things


@dataclass(frozen=True, slots=True)
class Operation:
    """One editing operation; a task reads the parts it needs and ignores the others.

    Attributes:
        task: a name in TOOLS.
        cell: where the object stands, or shall stand.
        second: the cell an object moves to.
        looks: attributes by name; what is not named stays as it is.
        background: a word of BACKGROUNDS.
        count: how many objects there shall be.
    """

    task: str
    cell: int
    second: int
    looks: Mapping[str, str]
    background: str
    count: int


def carry_out(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    """The scene after an operation; None where the operation is wrong, that is, impossible or without effect.

    Args:
        operation: what to do.
        scene: what the picture shows now.
        earlier: what it showed a turn before, None in the first turn.
    """
    result = TOOLS[operation.task].effect(operation, scene, earlier)
    return None if result == scene and operation.task != "leave" else result


def _leave(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return scene


def _undo(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return earlier


def _add(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    thing = _thing(operation.looks)
    return None if thing is None or scene.cells[operation.cell] else scene.put(operation.cell, thing)


def _remove(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return scene.put(operation.cell, None) if scene.cells[operation.cell] else None


def _replace(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return _changed(operation, scene, operation.looks) if "shape" in operation.looks else None


def _alter(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return _changed(operation, scene, _without_shape(operation))


def _move(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    altered = _changed(operation, scene, _without_shape(operation))
    if altered is None or scene.cells[operation.second] is not None:
        return None
    return altered.put(operation.cell, None).put(operation.second, altered.cells[operation.cell])


def _background(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return replace(scene, background=operation.background)


_Effect = Callable[[Operation, Scene, Scene | None], Scene | None]


@dataclass(frozen=True, slots=True)
class Tool:
    """A kind of operation.

    Attributes:
        effect: (operation, scene, the scene a turn before) -> the result, None where it is impossible.
        on_object: whether it needs an object to work on.
        into_room: whether it needs an empty cell.
    """

    effect: _Effect
    on_object: bool = False
    into_room: bool = False


TOOLS: dict[str, Tool] = {
    "leave": Tool(_leave),
    "undo": Tool(_undo),
    "subject_add": Tool(_add, into_room=True),
    "subject_remove": Tool(_remove, on_object=True),
    "subject_replace": Tool(_replace, on_object=True),
    "color_alter": Tool(_alter, on_object=True),
    "material_alter": Tool(_alter, on_object=True),
    "position_change": Tool(_move, on_object=True, into_room=True),
    "background_change": Tool(_background),
}
"""Operation by task."""

TASKS = tuple(TOOLS)


def _changed(operation: Operation, scene: Scene, looks: Mapping[str, str]) -> Scene | None:
    """The scene with new looks for the object in the operation's cell."""
    old = scene.cells[operation.cell]
    if old is None or old is UNREADABLE:
        return None
    thing = _thing(old.attributes() | looks)
    return None if thing is None else scene.put(operation.cell, thing)


def _without_shape(operation: Operation) -> dict[str, str]:
    """Looks that an object can take on without becoming another one."""
    return {name: value for name, value in operation.looks.items() if name != "shape"}


def _thing(looks: Mapping[str, str]) -> Thing | None:
    """The object that looks like this, less attributes that its shape has not; None where there is none."""
    had = _attributes_by_shape().get(looks.get("shape", ""), frozenset())
    return _by_attributes().get(frozenset((name, value) for name, value in looks.items() if name in had))


@lru_cache(maxsize=1)
def _by_attributes() -> dict[frozenset[tuple[str, str]], Thing]:
    return {frozenset(thing.attributes().items()): thing for thing in things()}


@lru_cache(maxsize=1)
def _attributes_by_shape() -> dict[str, frozenset[str]]:
    return {thing.shape: frozenset(thing.attributes()) for thing in things()}
