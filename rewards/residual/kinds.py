"""Contents of cells as numbers, and the sets of them that words describe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from editenv.worlds.studio.scene import COLORS, MATERIALS, all_objects

UNREAD, EMPTY = -1, 0

Looks = tuple[str, str, str, str | None]
"""Shape, colour, material and text of an object."""
NAMES = ("shape", "color", "material", "text")
WORDS = {"color": frozenset(COLORS), "material": frozenset(MATERIALS)}

LOOKS: tuple[Looks, ...] = tuple((one.shape, one.color, one.material, one.text) for one in all_objects())
"""Looks of the object with code 1, 2, ..."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a picture shows.

    Attributes:
        ground: place of the background among BACKGROUNDS, UNREAD where none is near.
        cells: code of each cell's object, EMPTY or UNREAD, row by row.
    """

    ground: int
    cells: tuple[int, ...]

    @property
    def side(self) -> int:
        """Cells a side."""
        return round(len(self.cells) ** 0.5)

    def codes(self) -> list[int]:
        """Ground and cells in one list, as JSON."""
        return [self.ground, *self.cells]

    def readable(self) -> bool:
        """Is everything in it known?"""
        return self.ground != UNREAD and UNREAD not in self.cells

    def having(self, contents: dict[int, int]) -> Shown:
        """The same with other contents in some cells."""
        return Shown(self.ground, tuple(contents.get(cell, code) for cell, code in enumerate(self.cells)))


def shown_from_codes(codes: list[int]) -> Shown:
    """The inverse of Shown.codes."""
    return Shown(codes[0], tuple(codes[1:]))


def look(code: int, name: str) -> str | None:
    """One attribute of an object by its code; None for what is empty or unread, and for a missing text."""
    return LOOKS[code - 1][NAMES.index(name)] if code > 0 else None


@lru_cache(maxsize=4096)
def kinds(
    shape: str | None, colors: frozenset[str], materials: frozenset[str], text: str | None = None
) -> frozenset[int]:
    """Codes of the objects of a shape and text (any where None) with one of some colours and materials."""
    return frozenset(
        code
        for code, (its_shape, color, material, its_text) in enumerate(LOOKS, start=1)
        if shape in (None, its_shape)
        and color in colors
        and material in materials
        and text in (None, its_text)
    )


def choice(name: str, value: str | None) -> frozenset[str]:
    """The values that an instruction's word for a colour or material allows: all where none is said."""
    return WORDS[name] if value is None else frozenset((value,))
