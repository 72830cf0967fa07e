"""Which cells words mean, in a picture as it was shown."""

from __future__ import annotations

from editenv.rewards.residual.kinds import EMPTY, NAMES, UNREAD, Shown, look
from editenv.worlds.studio.tasks import Beside, Target

_STEPS = {"left": ((0, -1),), "right": ((0, 1),), "above": ((-1, 0),), "below": ((1, 0),)}
_ROUND = ((-1, 0), (0, -1), (0, 1), (1, 0))


def described(target: Target, code: int) -> bool:
    """Does an object look as the words say?"""
    said = ((name, getattr(target, name)) for name in NAMES)
    return code > EMPTY and all(value is None or look(code, name) == value for name, value in said)


def where(target: Target, shown: Shown) -> int | None:
    """The cell of the object that is meant: its own, or the one other cell whose object looks as described.

    "The object in row 2 column 3" stays in its cell, and may be one that nobody can read.
    """
    own = shown.cells[target.cell]
    if described(target, own):
        return target.cell
    if target.placed:
        wordless = all(getattr(target, name) is None for name in NAMES)
        return target.cell if wordless and own == UNREAD else None
    fitting = [cell for cell, code in enumerate(shown.cells) if described(target, code)]
    return fitting[0] if len(fitting) == 1 else None


def free_beside(beside: Beside, shown: Shown) -> tuple[int, ...]:
    """The empty cells in a relation to another object: all along a row or column, or those next to it."""
    anchor = where(beside.anchor, shown)
    if anchor is None:
        return ()
    found = []
    for down, right in _STEPS.get(beside.relation, _ROUND):
        row, column = anchor // shown.side + down, anchor % shown.side + right
        while 0 <= row < shown.side and 0 <= column < shown.side:
            found.append(row * shown.side + column)
            row, column = row + down, column + right
            if beside.relation not in _STEPS:
                break
    return tuple(cell for cell in found if shown.cells[cell] == EMPTY)


def part_of_grid(name: str, side: int) -> frozenset[int]:
    """The cells of a named part of the grid.

    Raises:
        ValueError: the name is not known.
    """
    ends = {0, side - 1}
    inside = {
        "corners": lambda row, column: row in ends and column in ends,
        "top row": lambda row, column: row == 0,
        "bottom row": lambda row, column: row == side - 1,
        "left column": lambda row, column: column == 0,
        "right column": lambda row, column: column == side - 1,
    }
    if name not in inside:
        raise ValueError(f"part of the grid is {name!r}, expected one of {', '.join(inside)}")
    return frozenset(cell for cell in range(side * side) if inside[name](cell // side, cell % side))
