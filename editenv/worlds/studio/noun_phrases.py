"""Cells and objects in words."""

from __future__ import annotations

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Numbers of objects in words; a number's place is its value."""


def place(cell: int, grid: int) -> str:
    """A cell, counted from 1 at the top left: "row 2 column 3"."""
    return f"row {cell // grid + 1} column {cell % grid + 1}"


def known_object(shape: str | None, color: str | None, material: str | None, text: str | None = None) -> str:
    """An object that is there, as far as its looks are known: "the striped red circle", "the star"."""
    return f"the {_described(shape or 'object', color, material, text)}"


def new_object(shape: str, color: str | None, material: str | None, text: str | None = None) -> str:
    """An object to come, with its article: "an orange star", "a red sign that says "open""."""
    words = _described(shape, color, material, text)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def many_objects(count: int, shape: str, color: str | None, material: str | None) -> str:
    """Some objects of one kind: "three red circles", "one star"."""
    return f"{NUMBERS[count]} {_described(shape if count == 1 else plural(shape), color, material, None)}"


def plural(shape: str) -> str:
    """Several of a shape: "crosses"."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def _described(shape: str, color: str | None, material: str | None, text: str | None) -> str:
    looks = " ".join(word for word in (material, color, shape) if word)
    return looks if text is None else f'{looks} that says "{text}"'


ORDINALS = ("first", "second", "third", "fourth", "fifth")
"""Places in a row of objects, in words."""

EXTREMES = ("leftmost", "rightmost", "topmost", "lowest")
"""Words for the object that lies farthest out on a side."""

REGIONS = ("corners", "top row", "bottom row", "left column", "right column")
"""Parts of the grid that have a name."""


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
