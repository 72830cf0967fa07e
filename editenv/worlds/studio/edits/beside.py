"""Places said by another object: "to the left of the star", "next to the red circle"."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.worlds.studio.edits.base import Target
from editenv.worlds.studio.scene import Scene

RELATIONS = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
    "next": "next to",
}
"""Each relation and its words."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A set of right cells, each as good as the others.

    "left" and "right" are the free cells of the anchor's own row on that side of it, at any distance; "above"
    and "below" those of its column; "next" the free ones of the up to four cells that share an edge with its
    cell. Free means empty in the picture before the edit.

    Attributes:
        relation: a key of RELATIONS.
        anchor: the other object, which stays where it is.

    Raises:
        ValueError: the relation is unknown.
    """

    relation: str
    anchor: Target

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"relation is {self.relation!r}, expected one of {', '.join(RELATIONS)}")

    def cells(self, scene: Scene) -> tuple[int, ...]:
        """The right cells, nearest to the anchor first; none when the anchor cannot be told."""
        anchor = self.anchor.find(scene)
        if anchor is None:
            return ()
        return tuple(c for c in around(self.relation, anchor, scene.grid) if scene.cells[c] is None)

    def words(self, grid: int) -> str:
        """The place in words."""
        return f"{RELATIONS[self.relation]} {self.anchor.words(grid)}"

    def slots(self, grid: int) -> dict[str, str]:
        """The place as a slot of sentences."""
        return {"relation": self.words(grid)}


def around(relation: str, anchor: int, grid: int) -> tuple[int, ...]:
    """Cells, free or not, in a relation to an anchor's cell, nearest first; ties in reading order."""
    row, column = divmod(anchor, grid)
    if relation == "left":
        places = [(row, c) for c in range(column - 1, -1, -1)]
    elif relation == "right":
        places = [(row, c) for c in range(column + 1, grid)]
    elif relation == "above":
        places = [(r, column) for r in range(row - 1, -1, -1)]
    elif relation == "below":
        places = [(r, column) for r in range(row + 1, grid)]
    else:
        places = [(row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)]
    return tuple(r * grid + c for r, c in places if 0 <= r < grid and 0 <= c < grid)


def landed(beside: Beside, before: Scene, after: Scene | None) -> int | None:
    """Where an object was put: the one right cell that is filled afterwards, None when none or several are.

    Without `after`, the first right cell, which `apply` chooses.
    """
    cells = beside.cells(before)
    if after is None:
        return cells[0] if cells else None
    filled = [cell for cell in cells if after.cells[cell] is not None]
    return filled[0] if len(filled) == 1 else None
