"""How a user points at an object of the scene: by its looks, its place, or what was said and done before.

To add a way of pointing, write a function that lists what it can point at, name it in REFERENCES and give it
words in phrases_rules.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from editenv.worlds.studio.dialogue import DialogueState
from editenv.worlds.studio.noun_phrases import EXTREMES, ORDINALS, RELATIONS, Beside, Target, around, region
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import COLORS, MATERIALS, SIGN

MOST_OBJECTS = 7
"""Objects in a scene up to which users ask for more."""

# Chances, tuned so that every way of speaking turns up in a few hundred sessions.
_FULLER, _PLACED, _OTHERWISE = 0.3, 0.15, 0.5

Pointed = tuple[int, dict[str, str]]
"""A cell, and the slots of the words that point at its object alone."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One way of pointing.

    Attributes:
        needs_picture: False where the transcript alone tells which object is meant.
        points: the objects that can be pointed at in a state; none for ways that have rules of their own.
    """

    needs_picture: bool
    points: Callable[[DialogueState], Iterator[Pointed]]


def pointing_slots(reference: str, state: DialogueState, cell: int) -> dict[str, str]:
    """The slots of a reference's words for the object of a cell.

    Raises:
        ValueError: the object cannot be pointed at like that.
    """
    for place, slots in REFERENCES[reference].points(state):
        if place == cell:
            return slots
    raise ValueError(f"{reference} cannot point at cell {cell}, expected an object that it alone can mean")


def plain_target(state: DialogueState, cell: int) -> Target | None:
    """The object of a cell in the fewest words that fit it alone, with its place where no looks do."""
    obj = state.scene.cells[cell]
    if obj is None or cell in state.loose:
        return None
    material = None if obj.text else obj.material
    options = (
        Target(cell, obj.shape),
        Target(cell, obj.shape, obj.color),
        Target(cell, obj.shape, material=material, text=obj.text),
        Target(cell, obj.shape, obj.color, material, text=obj.text),
    )
    placed = Target(cell, obj.shape, placed=True)
    return next((option for option in options if state.unique(option)), placed)


def sample_object(state: DialogueState, rng: Rng, refer: bool) -> tuple[Target, str | None] | None:
    """An object to speak of and how: pointing back, by the fewest words that fit it alone, or by more."""
    focus = state.focus
    if refer and focus is not None and state.unique(focus) and not _lacks_material(state, focus.shape):
        if state.pointing and rng.chance(_OTHERWISE):
            pointed = _sample_pointed(state, rng)
            if pointed is not None:
                return pointed
        added = state.last is not None and state.last.adds and rng.chance(0.5)
        return focus, "just_added" if added else "it"
    if refer and state.pointing:
        return _sample_pointed(state, rng)
    cells = state.scene.occupied()
    if not cells:
        return None
    target = describe(state, rng, rng.pick(cells))
    return None if target is None else (target, None)


def describe(state: DialogueState, rng: Rng, cell: int) -> Target | None:
    """The object of a cell in words that fit it alone, None where there are none."""
    obj = state.scene.cells[cell]
    if obj is None or _lacks_material(state, obj.shape):
        return None
    if rng.chance(_PLACED):
        return None if cell in state.loose else Target(cell, obj.shape, placed=True)
    shape = obj.shape
    if obj.text is None:
        options = [
            Target(cell, shape),
            Target(cell, shape, color=obj.color),
            Target(cell, shape, material=obj.material),
            Target(cell, shape, color=obj.color, material=obj.material),
        ]
    else:
        options = [Target(cell, shape), Target(cell, shape, text=obj.text), Target(cell, shape, obj.color)]
    clear = [option for option in options if state.unique(option)]
    if not clear:
        return None
    return rng.pick(clear) if rng.chance(_FULLER) else clear[0]


def sample_looks(state: DialogueState, rng: Rng, added: str | None = None) -> dict[str, str | None]:
    """Looks of a new object; what a rule fixes is left unsaid."""
    return {
        "color": None if state.demanded("color", added) else rng.pick(COLORS),
        "material": None if state.demanded("material", added) else rng.pick(MATERIALS),
    }


def sample_beside(state: DialogueState, rng: Rng, mover: Target | None = None) -> Beside | None:
    """A place with room, whatever the agent chose so far, beside an object whose cell is sure.

    Args:
        state: where the session stands.
        rng: choices.
        mover: the object that is to go there, if it is in the scene already; it is not there yet.
    """
    found = sample_object(state, rng, refer=False)
    relation = rng.pick(tuple(RELATIONS))
    if found is None or found[0].cell in state.loose:
        return None
    anchor = found[0]
    near = around(relation, anchor.cell, state.grid)
    if mover and (mover.cell == anchor.cell or mover.cell in near or mover.cell in state.loose):
        return None
    return Beside(relation, anchor) if set(near) & set(state.room()) else None


def _sample_pointed(state: DialogueState, rng: Rng) -> tuple[Target, str] | None:
    """An object that can be pointed at in one of the suite's further ways."""
    ways = list(state.pointing)
    while ways:
        way = ways.pop(rng.below(len(ways)))
        cells = [cell for cell, _ in REFERENCES[way].points(state)]
        target = plain_target(state, rng.pick(cells)) if cells else None
        if target is not None and not _lacks_material(state, target.shape):
            return target, way
    return None


def _lacks_material(state: DialogueState, shape: str | None) -> bool:
    """Is it a sign, which is always plain, while a rule asks for a material?"""
    return shape == SIGN and state.demanded("material") is not None


def _nowhere(state: DialogueState) -> Iterator[Pointed]:
    yield from ()


def _focus(state: DialogueState) -> Iterator[Pointed]:
    if state.focus is not None and state.unique(state.focus):
        yield state.focus.cell, {}


def _added(state: DialogueState) -> Iterator[Pointed]:
    """The only object of its shape that was ever added."""
    for shape, cell in state.added:
        if cell is not None and [kind for kind, _ in state.added].count(shape) == 1:
            yield cell, {"shape": shape}


def _nth_added(state: DialogueState) -> Iterator[Pointed]:
    """One of several of a shape, all still there, by the order in which they came."""
    for shape in dict.fromkeys(shape for shape, _ in state.added):
        cells = [cell for kind, cell in state.added if kind == shape]
        if len(cells) > 1 and None not in cells:
            for nth, cell in zip(ORDINALS, cells, strict=False):
                yield cell, {"nth": nth, "shape": shape}  # type: ignore[misc]


def _nth_in_row(state: DialogueState) -> Iterator[Pointed]:
    """One of several objects of the top or bottom row, counted from a side."""
    for line in ("top row", "bottom row"):
        row = sorted(cell for cell in region(line, state.grid) if state.scene.cells[cell])
        if len(row) < 2 or state.unsure():
            continue
        for side, cells in (("left", row), ("right", row[::-1])):
            for nth, cell in zip(ORDINALS, cells, strict=False):
                yield cell, {"nth": nth, "side": side, "line": f"the {line}"}


def _beside(state: DialogueState) -> Iterator[Pointed]:
    """The only object in a direction from another one that its looks tell."""
    for anchor in () if state.unsure() else state.scene.occupied():
        target = plain_target(state, anchor)
        if target is None or target.placed:
            continue
        for relation in ("left", "right", "above", "below"):
            near = [cell for cell in around(relation, anchor, state.grid) if state.scene.cells[cell]]
            if len(near) == 1:
                yield near[0], {"relation": f"{RELATIONS[relation]} {target.words(state.grid)}"}


def _extreme(state: DialogueState) -> Iterator[Pointed]:
    """Of several objects of a shape, the one that lies farthest out."""
    scene, grid = state.scene, state.grid
    by_shape: dict[str, list[int]] = {}
    for cell in () if state.unsure() else scene.occupied():
        by_shape.setdefault(scene.cells[cell].shape, []).append(cell)  # type: ignore[union-attr]
    distances: tuple[Callable[[int], int], ...] = (
        lambda cell: cell % grid,
        lambda cell: -(cell % grid),
        lambda cell: cell // grid,
        lambda cell: -(cell // grid),
    )
    for shape, cells in by_shape.items():
        for extreme, distance in zip(EXTREMES, distances, strict=True):
            first, *others = sorted(cells, key=distance)
            if others and distance(first) < distance(others[0]):
                yield first, {"extreme": extreme, "shape": shape}


def _corner(state: DialogueState) -> Iterator[Pointed]:
    """The only object in a corner."""
    cells = [cell for cell in sorted(region("corners", state.grid)) if state.scene.cells[cell]]
    if len(cells) == 1 and not state.unsure():
        yield cells[0], {}


REFERENCES: dict[str, Reference] = {
    "it": Reference(False, _focus),
    "its": Reference(False, _focus),
    "just_added": Reference(False, _focus),
    "there": Reference(False, _nowhere),
    "same": Reference(False, _nowhere),
    "them": Reference(False, _nowhere),
    "added": Reference(False, _added),
    "nth_added": Reference(False, _nth_added),
    "nth_in_row": Reference(True, _nth_in_row),
    "beside": Reference(True, _beside),
    "extreme": Reference(True, _extreme),
    "corner": Reference(True, _corner),
}
"""Every value that StudioTurn.reference can have, None aside."""

POINTING = tuple(name for name, way in REFERENCES.items() if way.points not in (_nowhere, _focus))
"""References that a suite may name under reference.kinds."""
