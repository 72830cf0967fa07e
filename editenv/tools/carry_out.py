"""What each editing operation does to a scene, and when it is wrong. One function a task, named in TOOLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject, all_objects


@dataclass(frozen=True, slots=True)
class Operation:
    """One editing operation; a task reads the parts it needs and ignores the others.

    Attributes:
        task: a name in TOOLS.
        cell: where the object stands, or shall stand; where counting begins.
        second: the cell that an object moves to, or that of a second object.
        both: whether removing, replacing and altering includes the object in `second`.
        looks: attributes by name; what is not named stays as it is; a new object needs all.
        background: a word of BACKGROUNDS.
        count: how many objects of these looks there shall be.
    """

    task: str
    cell: int
    second: int
    both: bool
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
    if any(scene.cells[cell] is None for cell in _cells(operation)):
        return None
    for cell in _cells(operation):
        scene = scene.put(cell, None)
    return scene


def _replace(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return _changed(_cells(operation), scene, operation.looks) if "shape" in operation.looks else None


def _alter(attribute: str, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    if attribute not in operation.looks:
        return None
    return _changed(_cells(operation), scene, _without_shape(operation))


def _move(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    altered = _changed((operation.cell,), scene, _without_shape(operation))
    if altered is None or scene.cells[operation.second] is not None:
        return None
    return altered.put(operation.cell, None).put(operation.second, altered.cells[operation.cell])


def _count(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    """As many objects as asked for: added or removed in the order of the cells, beginning at `cell`."""
    looks = operation.looks
    fitting = [c for c in scene.occupied() if _fits(scene.cells[c], looks)]
    missing = operation.count - len(fitting)
    like = scene.cells[fitting[0]] if fitting else None
    new = _thing({**(like.attributes() if like else {}), **looks}) if missing > 0 else None
    places = _from(operation.cell, scene.empty() if missing > 0 else fitting)
    if "shape" not in looks or len(places) < abs(missing) or (missing > 0 and new is None):
        return None
    for cell in places[: abs(missing)]:
        scene = scene.put(cell, new)
    return scene


def _background(operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
    return replace(scene, background=operation.background)


_Effect = Callable[[Operation, Scene, Scene | None], Scene | None]


@dataclass(frozen=True, slots=True)
class Tool:
    """A kind of operation.

    Attributes:
        effect: (operation, scene, the scene a turn before) -> the result, None where it is impossible.
        on: attribute that an object must have for it, "shape" for any object; None where it needs none.
        into_room: whether it needs an empty cell.
    """

    effect: _Effect
    on: str | None = None
    into_room: bool = False


TOOLS: dict[str, Tool] = {
    "leave": Tool(_leave),
    "undo": Tool(_undo),
    "subject_add": Tool(_add, into_room=True),
    "subject_remove": Tool(_remove, on="shape"),
    "subject_replace": Tool(_replace, on="shape"),
    "color_alter": Tool(partial(_alter, "color"), on="shape"),
    "material_alter": Tool(partial(_alter, "material"), on="shape"),
    "text_change": Tool(partial(_alter, "text"), on="text"),
    "position_change": Tool(_move, on="shape", into_room=True),
    "count_change": Tool(_count),
    "background_change": Tool(_background),
}
"""Operation by task."""

TASKS = tuple(TOOLS)


def _cells(operation: Operation) -> tuple[int, ...]:
    """The cells whose objects are edited."""
    return (operation.cell, operation.second) if operation.both else (operation.cell,)


def _changed(cells: tuple[int, ...], scene: Scene, looks: Mapping[str, str]) -> Scene | None:
    """The scene with new looks for the objects in some cells; None where one cannot take them on."""
    for cell in cells:
        old = scene.cells[cell]
        thing = None if old is None or old is UNREADABLE else _thing({**old.attributes(), **looks})
        if thing is None:
            return None
        scene = scene.put(cell, thing)
    return scene


def _fits(thing: SceneObject | None, looks: Mapping[str, str]) -> bool:
    """Whether an object has all these looks, less attributes that its shape has not."""
    return thing is not None and all(
        thing.attributes().get(name, value) == value for name, value in looks.items()
    )


def _from(start: int, cells: list[int]) -> list[int]:
    """Cells in order, those before `start` last."""
    return [cell for cell in cells if cell >= start] + [cell for cell in cells if cell < start]


def _without_shape(operation: Operation) -> dict[str, str]:
    """Looks that an object can take on without becoming another one."""
    return {name: value for name, value in operation.looks.items() if name != "shape"}


def _thing(looks: Mapping[str, str]) -> SceneObject | None:
    """The object that looks like this, less attributes that its shape has not; None where there is none."""
    had = _attributes_by_shape().get(looks.get("shape", ""), frozenset())
    return _by_attributes().get(frozenset((name, value) for name, value in looks.items() if name in had))


@lru_cache(maxsize=1)
def _by_attributes() -> dict[frozenset[tuple[str, str]], SceneObject]:
    return {frozenset(thing.attributes().items()): thing for thing in all_objects()}


@lru_cache(maxsize=1)
def _attributes_by_shape() -> dict[str, frozenset[str]]:
    return {thing.shape: frozenset(thing.attributes()) for thing in all_objects()}
