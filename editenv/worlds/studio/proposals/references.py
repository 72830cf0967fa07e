"""Ways to point at an object: which objects each can mean, and the words it needs.

To add a way of pointing, write a function that lists what it can point at, name it in REFERENCES and give it
words in ../phrases_rules.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from editenv.worlds.studio.edits import Target
from editenv.worlds.studio.edits.beside import RELATIONS, around
from editenv.worlds.studio.noun_phrases import EXTREMES, ORDINALS, region
from editenv.worlds.studio.proposals.situation import DialogueState

Pointed = tuple[int, dict[str, str]]
"""A cell, and the slots of the words that point at its object alone."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One way of pointing.

    Attributes:
        needs_picture: False where the transcript alone tells which object is meant.
        points: the objects that can be pointed at in a situation; none for ways that have rules of their own.
    """

    needs_picture: bool
    points: Callable[[DialogueState], Iterator[Pointed]]


def solvable_from_text(reference: str | None) -> bool:
    """Does the transcript alone tell what a turn's words point at?

    Raises:
        ValueError: the reference is none of REFERENCES.
    """
    if reference is None:
        return True
    if reference not in REFERENCES:
        raise ValueError(f"reference is {reference!r}, expected one of {sorted(REFERENCES)}")
    return not REFERENCES[reference].needs_picture


def pointing_slots(reference: str, situation: DialogueState, cell: int) -> dict[str, str]:
    """The slots of a reference's words for the object of a cell.

    Raises:
        ValueError: the object cannot be pointed at like that.
    """
    for place, slots in REFERENCES[reference].points(situation):
        if place == cell:
            return slots
    raise ValueError(f"{reference} cannot point at cell {cell}, expected an object that it alone can mean")


def plain_target(situation: DialogueState, cell: int) -> Target | None:
    """The object of a cell in the fewest words that fit it alone, with its place where no looks do."""
    thing = situation.scene.cells[cell]
    if thing is None or cell in situation.loose:
        return None
    options = (
        Target(cell, thing.shape),
        Target(cell, thing.shape, thing.color),
        Target(cell, thing.shape, material=None if thing.text else thing.material, text=thing.text),
        Target(cell, thing.shape, thing.color, None if thing.text else thing.material, text=thing.text),
    )
    placed = Target(cell, thing.shape, placed=True)
    return next((option for option in options if situation.unique(option)), placed)


def _nowhere(situation: DialogueState) -> Iterator[Pointed]:
    yield from ()


def _focus(situation: DialogueState) -> Iterator[Pointed]:
    if situation.focus is not None and situation.unique(situation.focus):
        yield situation.focus.cell, {}


def _added(situation: DialogueState) -> Iterator[Pointed]:
    """The only object of its shape that was ever added."""
    for shape, cell in situation.added:
        if cell is not None and [kind for kind, _ in situation.added].count(shape) == 1:
            yield cell, {"shape": shape}


def _nth_added(situation: DialogueState) -> Iterator[Pointed]:
    """One of several of a shape, all still there, by the order in which they came."""
    for shape in dict.fromkeys(shape for shape, _ in situation.added):
        cells = [cell for kind, cell in situation.added if kind == shape]
        if len(cells) > 1 and None not in cells:
            for nth, cell in zip(ORDINALS, cells, strict=False):
                yield cell, {"nth": nth, "shape": shape}  # type: ignore[misc]


def _nth_in_row(situation: DialogueState) -> Iterator[Pointed]:
    """One of several objects of the top or bottom row, counted from a side."""
    for line in ("top row", "bottom row"):
        row = sorted(cell for cell in region(line, situation.grid) if situation.scene.cells[cell])
        if len(row) < 2 or _unsure(situation):
            continue
        for side, cells in (("left", row), ("right", row[::-1])):
            for nth, cell in zip(ORDINALS, cells, strict=False):
                yield cell, {"nth": nth, "side": side, "line": f"the {line}"}


def _beside(situation: DialogueState) -> Iterator[Pointed]:
    """The only object in a direction from another one that its looks tell."""
    for anchor in () if _unsure(situation) else situation.scene.occupied():
        target = plain_target(situation, anchor)
        if target is None or target.placed:
            continue
        for relation in ("left", "right", "above", "below"):
            near = [cell for cell in around(relation, anchor, situation.grid) if situation.scene.cells[cell]]
            if len(near) == 1:
                yield near[0], {"relation": f"{RELATIONS[relation]} {target.words(situation.grid)}"}


def _extreme(situation: DialogueState) -> Iterator[Pointed]:
    """Of several objects of a shape, the one that lies farthest out."""
    scene, grid = situation.scene, situation.grid
    by_shape: dict[str, list[int]] = {}
    for cell in () if _unsure(situation) else scene.occupied():
        by_shape.setdefault(scene.cells[cell].shape, []).append(cell)  # type: ignore[union-attr]
    ways: tuple[Callable[[int], int], ...] = (
        lambda cell: cell % grid,
        lambda cell: -(cell % grid),
        lambda cell: cell // grid,
        lambda cell: -(cell // grid),
    )
    for shape, cells in by_shape.items():
        for extreme, far in zip(EXTREMES, ways, strict=True):
            first, *others = sorted(cells, key=far)
            if others and far(first) < far(others[0]):
                yield first, {"extreme": extreme, "shape": shape}


def _corner(situation: DialogueState) -> Iterator[Pointed]:
    """The only object in a corner."""
    cells = [cell for cell in sorted(region("corners", situation.grid)) if situation.scene.cells[cell]]
    if len(cells) == 1 and not _unsure(situation):
        yield cells[0], {}


def _unsure(situation: DialogueState) -> bool:
    """May the picture differ from the scene, because something was left to the agent?"""
    return bool(situation.loose or situation.vague)


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
