"""Words for objects and places: "the striped red circle", "row 2 column 3", "to the left of the star"."""

from __future__ import annotations

from dataclasses import dataclass, field

from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Numbers of objects in words; a number's index is its value."""
ORDINALS = ("first", "second", "third", "fourth", "fifth")
EXTREMES = ("leftmost", "rightmost", "topmost", "lowest")
"""Words for the object that lies farthest out on a side."""
REGIONS = ("corners", "top row", "bottom row", "left column", "right column")
"""Parts of the grid that have a name."""
RELATIONS = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
    "next": "next to",
}
"""Each relation between two objects and its words."""

SPARSE = {"sparse": True}
"""Metadata of a field that JSON leaves out while it has its default: older sessions keep their ids."""


def place(cell: int, grid: int) -> str:
    """A cell, counted from 1 at the top left: "row 2 column 3"."""
    return f"row {cell // grid + 1} column {cell % grid + 1}"


def known_object(shape: str | None, color: str | None, material: str | None, text: str | None = None) -> str:
    """An object that is there, as far as its looks are known: "the striped red circle", "the star"."""
    return f"the {_noun(shape or 'object', color, material, text)}"


def new_object(shape: str, color: str | None, material: str | None, text: str | None = None) -> str:
    """An object to come, with its article: "an orange star", "a red sign that says "open""."""
    words = _noun(shape, color, material, text)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def many_objects(count: int, shape: str, color: str | None, material: str | None) -> str:
    """Some objects of one kind: "three red circles", "one star"."""
    return f"{NUMBERS[count]} {_noun(shape if count == 1 else plural(shape), color, material, None)}"


def plural(shape: str) -> str:
    """Several of a shape: "crosses"."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def _noun(shape: str, color: str | None, material: str | None, text: str | None) -> str:
    looks = " ".join(word for word in (material, color, shape) if word)
    return looks if text is None else f'{looks} that says "{text}"'


def region(name: str, grid: int) -> frozenset[int]:
    """The cells of a part of the grid.

    Raises:
        ValueError: the name is none of REGIONS.
    """
    cells, last = range(grid * grid), grid - 1
    if name == "corners":
        return frozenset((0, last, grid * last, grid * grid - 1))
    if name in ("top row", "bottom row"):
        return frozenset(cell for cell in cells if cell // grid == (0 if name == "top row" else last))
    if name in ("left column", "right column"):
        return frozenset(cell for cell in cells if cell % grid == (0 if name == "left column" else last))
    raise ValueError(f"region is {name!r}, expected one of {REGIONS}")


@dataclass(frozen=True, slots=True)
class Target:
    """The object an instruction speaks of: where it should stand, and what the words say of its looks.

    Attributes:
        cell: where it stands if all went as asked so far.
        shape, color, material: what is said or known of it; None where nothing is.
        placed: True when the words name its place too.
        text: what is said or known of a sign's text.
    """

    cell: int
    shape: str | None = None
    color: str | None = None
    material: str | None = None
    placed: bool = False
    text: str | None = field(default=None, metadata=SPARSE)

    def words(self, grid: int) -> str:
        """The object in words: "the striped red circle", "the star in row 2 column 3"."""
        looks = known_object(self.shape, self.color, self.material, self.text)
        return f"{looks} in {place(self.cell, grid)}" if self.placed else looks

    def fits(self, obj: SceneObject | None) -> bool:
        """True when an object looks as described; what cannot be read fits no description."""
        return (
            obj is not None
            and obj is not UNREADABLE
            and self.shape in (None, obj.shape)
            and self.color in (None, obj.color)
            and self.material in (None, obj.material)
            and self.text in (None, obj.text)
        )

    def find(self, scene: Scene) -> int | None:
        """The cell of the object meant in a scene, None when it is not there or two fit equally well."""
        if self.fits(scene.cells[self.cell]):
            return self.cell
        if self.placed:
            # "the object in row 2 column 3" says nothing of looks, so it may be one that cannot be read.
            hidden = scene.cells[self.cell] is UNREADABLE and self == Target(self.cell, placed=True)
            return self.cell if hidden else None
        places = [cell for cell, obj in enumerate(scene.cells) if self.fits(obj)]
        return places[0] if len(places) == 1 else None

    def overlaps(self, other: Target) -> bool:
        """Could an object fit both descriptions?"""
        pairs = ((self.shape, other.shape), (self.color, other.color), (self.material, other.material))
        return all(a is None or b is None or a == b for a, b in pairs)


@dataclass(frozen=True, slots=True)
class Beside:
    """A place said by another object: a set of right cells, each as good as the others.

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

    def landed(self, before: Scene, after: Scene | None) -> int | None:
        """The one right cell that is filled afterwards, None when none or several are.

        Without `after`, the first right cell, which `Edit.apply` chooses.
        """
        cells = self.cells(before)
        if after is None:
            return cells[0] if cells else None
        filled = [cell for cell in cells if after.cells[cell] is not None]
        return filled[0] if len(filled) == 1 else None

    def slots(self, grid: int) -> dict[str, str]:
        """The place as a slot of sentences."""
        return {"relation": f"{RELATIONS[self.relation]} {self.anchor.words(grid)}"}


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
