"""Words for objects and places and what they mean: "the striped red circle", "row 2 column 3", "above the star"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from editenv.worlds.studio.scene import (
    BACKGROUNDS,
    COLORS,
    MATERIALS,
    SHAPES,
    SIGN,
    TEXTS,
    UNREADABLE,
    Scene,
    SceneObject,
)

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Numbers of objects in words; a number's index is its value."""
MOST_COUNT = 6  # objects of a kind that can be asked for
ORDINALS = ("first", "second", "third", "fourth", "fifth")
EXTREMES = ("leftmost", "rightmost", "topmost", "lowest")  # words for the object that lies farthest out on a side
REGIONS: dict[str, Callable[[int, int, int], bool]] = {
    "corners": lambda row, column, last: row in (0, last) and column in (0, last),
    "top row": lambda row, column, last: row == 0,
    "bottom row": lambda row, column, last: row == last,
    "left column": lambda row, column, last: column == 0,
    "right column": lambda row, column, last: column == last,
}
"""Parts of the grid that have a name: whether a row and column belong to it, given the grid's last row."""
RELATIONS = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
    "next": "next to",
}
"""Each relation between two objects and its words."""
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}
"""Relations that have a direction: rows and columns of one step."""

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
    """The cells of a part of the grid; ValueError where the name is none of REGIONS."""
    if name not in REGIONS:
        raise ValueError(f"region is {name!r}, expected one of {tuple(REGIONS)}")
    return frozenset(cell for cell in range(grid * grid) if REGIONS[name](*divmod(cell, grid), grid - 1))


def around(relation: str, anchor: int, grid: int) -> tuple[int, ...]:
    """Cells, free or not, in a relation to an anchor's cell, nearest first; ties in reading order."""
    row, column = divmod(anchor, grid)
    if relation == "next":
        places = [(row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)]
    else:
        down, right = DIRECTIONS[relation]
        places = [(row + steps * down, column + steps * right) for steps in range(1, grid)]
    return tuple(r * grid + c for r, c in places if 0 <= r < grid and 0 <= c < grid)


@dataclass(frozen=True, slots=True)
class Target:
    """The object an instruction speaks of: where it should stand, and what the words say of its looks."""

    cell: int  # where it stands if all went as asked so far
    shape: str | None = None  # what is said or known of it, or of a sign's text; None where nothing is
    color: str | None = None
    material: str | None = None
    placed: bool = False  # True when the words name its place too
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

    "left" and "right" are the free cells of the anchor's own row on that side of it, at any distance; "above" and
    "below" those of its column; "next" the free ones of the up to four cells that share an edge with its cell. Free
    means empty in the picture before the edit.
    """

    relation: str  # a key of RELATIONS, else ValueError
    anchor: Target  # the other object, which stays where it is

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

    def words(self, grid: int) -> str:
        """The place in words: "to the left of the star"."""
        return f"{RELATIONS[self.relation]} {self.anchor.words(grid)}"


# The way back, from words to what they mean.


def _any_of(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


_PLACE = r"row \d column \d"
_LOOKS = rf"(?:(?P<material>{_any_of(MATERIALS)}) )?(?:(?P<color>{_any_of(COLORS)}) )?"
_NOUN = (
    rf"{_LOOKS}(?P<shape>{_any_of((*SHAPES, 'object', SIGN))})"
    rf"(?:(?<={SIGN}) that says (?P<text>{_any_of(TEXTS)}))?(?: in (?P<place>{_PLACE}))?"
)
_OBJECT = re.compile(f"(?P<article>the|an?) {_NOUN}")
_MANY = re.compile(
    rf"(?P<count>{_any_of(NUMBERS[1 : MOST_COUNT + 1])}) {_LOOKS}(?P<shape>{_any_of((*SHAPES, *map(plural, SHAPES)))})"
)


def _unnamed(expression: str) -> str:
    """A regular expression whose groups have no names."""
    return re.sub(r"\?P<\w+>", "?:", expression)


KNOWN_OBJECT = _unnamed(_NOUN)
INTENT_SLOTS = {
    "place": _PLACE,
    "old": f"the {KNOWN_OBJECT}",
    "new": f"an? {KNOWN_OBJECT}",
    "relation": f"{_any_of(RELATIONS.values())} the {KNOWN_OBJECT}",
    "many": _unnamed(_MANY.pattern),
    "text": _any_of(TEXTS),
    "looks": f"(?:{_any_of(MATERIALS)}(?: {_any_of(COLORS)})?|{_any_of(COLORS)})",
    "value": _any_of((*BACKGROUNDS, *COLORS, *MATERIALS)),
    "shape": _any_of(SHAPES),
    "where": f"the {_any_of(REGIONS)}",
    "count": _any_of(NUMBERS[1:]),
    "attribute": "(?:color|material|shape)",
}
"""Regular expressions of the slots of canonical intents, where every word is known."""


def described(words: str, grid: int) -> Target | None:
    """The object of which "the striped red star in row 2 column 3" speaks, in cell 0 where no place is named.

    None where it is no such phrase, or the place lies outside of the grid.
    """
    match = _OBJECT.fullmatch(words)
    if match is None or match["article"] != "the":
        return None
    cell = read_cell(match["place"], grid) if match["place"] else 0
    shape = None if match["shape"] == "object" else match["shape"]
    if cell is None:
        return None
    return Target(cell, shape, match["color"], match["material"], bool(match["place"]), match["text"])


def new_looks(words: str) -> dict[str, Any] | None:
    """Looks of a new object, such as "a striped red star" or "a sign that says open"; None for others."""
    match = _OBJECT.fullmatch(words)
    if match is None or match["article"] == "the" or match["place"] or match["shape"] == "object":
        return None
    if match["shape"] == SIGN and match["text"] is None:
        return None
    return {name: match[name] for name in ("shape", "color", "material", "text")}


def many_looks(words: str) -> dict[str, Any] | None:
    """Count and looks that "three red circles" names; None for others."""
    match = _MANY.fullmatch(words)
    if match is None:
        return None
    shape = next(shape for shape in SHAPES if match["shape"] in (shape, plural(shape)))
    return {"count": NUMBERS.index(match["count"]), "shape": shape} | read_looks(words)


def read_cell(words: str, grid: int) -> int | None:
    """The number of the cell "row 2 column 3", None where it lies outside of the grid."""
    match = re.fullmatch(r"row (\d) column (\d)", words)
    if match is None or not (1 <= int(match[1]) <= grid and 1 <= int(match[2]) <= grid):
        return None
    return (int(match[1]) - 1) * grid + int(match[2]) - 1


def read_looks(words: str) -> dict[str, str]:
    """Colour and material that "striped red" names, by attribute, the colour first."""
    found = {attribute_of(word): word for word in words.split()}
    return {name: found[name] for name in ("color", "material") if name in found}


def attribute_of(value: str) -> str | None:
    """The attribute that has such a value."""
    return "color" if value in COLORS else "material" if value in MATERIALS else None
