"""Symbolic scenes of the studio: a grid of cells, some holding an object, over one background."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import product

from editenv.worlds.studio.rng import Rng

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
MATERIALS = ("plain", "striped", "dotted")
BACKGROUNDS = ("white", "gray", "black", "mint", "pink")
SIGN = "sign"  # the shape of signs, which show a text; not in SHAPES, so that only suites with signs draw it
TEXTS = ("open", "exit", "cafe", "sale", "bus", "tea", "go", "hi")  # what signs can say; far apart in pixels
ATTRIBUTES = {"shape": SHAPES, "color": COLORS, "material": MATERIALS}
"""Values by attribute of objects that are no signs."""

_UNREAD = "unreadable"
_UNKNOWN = -2
_ALL_LOOKS: tuple[tuple[str, str, str, str | None], ...] = (
    *product(SHAPES, COLORS, MATERIALS, (None,)),
    *((SIGN, color, MATERIALS[0], text) for text, color in product(TEXTS, COLORS)),
)
_CODES: dict[tuple[str, str, str, str | None], int] = {(_UNREAD, _UNREAD, _UNREAD, None): -1}
_CODES |= {looks: code for code, looks in enumerate(_ALL_LOOKS, start=1)}


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object of a scene."""

    shape: str  # words of SHAPES (or SIGN), COLORS and MATERIALS; signs are plain
    color: str
    material: str = "plain"
    text: str | None = None  # what a sign says, a word of TEXTS; None for everything else
    # its place in `all_objects()`, from 1; 0 is the empty cell, -1 what cannot be read, -2 what is not of this world.
    # Kept, because scenes are turned into numbers many times a turn
    code: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        code = _CODES.get((self.shape, self.color, self.material, self.text), _UNKNOWN)
        object.__setattr__(self, "code", code)

    def attributes(self) -> dict[str, str]:
        """The attributes by name; a text only where there is one."""
        named = {"shape": self.shape, "color": self.color, "material": self.material}
        return named if self.text is None else named | {"text": self.text}

    def with_looks(self, looks: dict[str, str]) -> SceneObject:
        """The object with some attributes changed."""
        return SceneObject(**self.attributes() | looks)


UNREADABLE = SceneObject(_UNREAD, _UNREAD, _UNREAD)
"""Stands in a parsed scene where the pixels show no known object; equal to nothing that can be asked for."""

_OBJECTS = tuple(SceneObject(*looks) for looks in _ALL_LOOKS)
_BY_CODE = (None, *_OBJECTS, UNREADABLE)  # index -1 is the last
_BY_ATTRIBUTES = {frozenset(obj.attributes().items()): obj for obj in _OBJECTS}
_NAMES_OF_SHAPE = {obj.shape: frozenset(obj.attributes()) for obj in _OBJECTS}


def all_objects() -> tuple[SceneObject, ...]:
    """All objects there can be, in the order of their codes (the first has code 1); signs come last."""
    return _OBJECTS


def object_with(looks: Mapping[str, str]) -> SceneObject | None:
    """The object that looks like this, less attributes that its shape has not; None where there is none."""
    names = _NAMES_OF_SHAPE.get(looks.get("shape", ""), frozenset())
    return _BY_ATTRIBUTES.get(frozenset((name, value) for name, value in looks.items() if name in names))


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture's content: an object or None for each cell, row by row, and a background of BACKGROUNDS."""

    cells: tuple[SceneObject | None, ...]
    background: str

    @property
    def grid(self) -> int:
        """Cells a side."""
        return int(len(self.cells) ** 0.5)

    def put(self, cell: int, obj: SceneObject | None) -> Scene:
        """The scene with one cell changed."""
        cells = list(self.cells)
        cells[cell] = obj
        return Scene(tuple(cells), self.background)

    def known(self) -> bool:
        """Whether every cell is empty or holds one of the world's objects, or what cannot be read."""
        return all(obj is None or obj.code != _UNKNOWN for obj in self.cells)

    def occupied(self) -> list[int]:
        """Cells that hold an object, in order."""
        return [cell for cell, obj in enumerate(self.cells) if obj is not None]

    def empty(self) -> list[int]:
        """Cells that hold none, in order."""
        return [cell for cell, obj in enumerate(self.cells) if obj is None]

    def codes(self) -> list[int]:
        """The scene as numbers: the background's place (-1 unreadable), then one code a cell, else ValueError."""
        background = BACKGROUNDS.index(self.background) if self.background in BACKGROUNDS else -1
        codes = [background, *[0 if obj is None else obj.code for obj in self.cells]]
        if _UNKNOWN in codes:
            raise ValueError(f"the scene holds {self.cells[codes.index(_UNKNOWN) - 1]}, expected one of all_objects()")
        return codes


def scene_from_codes(codes: Iterable[int]) -> Scene:
    """The inverse of Scene.codes; ValueError where a number lies outside of the world's lists."""
    background, *cells = codes
    if not -1 <= background < len(BACKGROUNDS):
        raise ValueError(f"background code is {background}, expected -1 to {len(BACKGROUNDS) - 1}")
    if cells and not -1 <= min(cells) <= max(cells) <= len(_OBJECTS):
        raise ValueError(f"object codes are {cells}, expected each to be -1 to {len(_OBJECTS)}")
    return Scene(tuple([_BY_CODE[code] for code in cells]), BACKGROUNDS[background] if background >= 0 else _UNREAD)


def codes_hash(codes: Iterable[int]) -> int:
    """A 64-bit number of a scene's codes alone, the same on every machine and in every run."""
    return int.from_bytes(blake2b(bytes([code + 1 for code in codes]), digest_size=8).digest(), "big")


def initial_codes(rng: Rng, grid: int, objects: tuple[int, int], signs: tuple[int, int] = (0, 0)) -> list[int]:
    """Codes of a scene of some objects, no two alike in shape and colour; one cell at least stays empty.

    Most initial scenes are thrown away, since they belong to another split: only numbers are made here. `objects` are
    the smallest and largest number of objects, and `signs` of those among them that are signs, no two with one text.
    """
    below = rng.below
    free = list(range(1, 1 + grid * grid))
    codes = [0] * (1 + len(free))
    count = objects[0] + below(min(objects[1], len(free) - 1) - objects[0] + 1)
    texts = list(TEXTS)
    # No number is drawn where there is no choice, so that suites without signs keep their sessions.
    more = below(signs[1] - signs[0] + 1) if signs[1] > signs[0] else 0
    for _ in range(min(count, signs[0] + more)):
        sign = SceneObject(SIGN, rng.pick(COLORS), text=texts.pop(below(len(texts))))
        codes[free.pop(below(len(free)))] = sign.code
        count -= 1
    seen = set()
    shapes, colors, materials = len(SHAPES), len(COLORS), len(MATERIALS)
    for _ in range(count):
        shape, color, material = below(shapes), below(colors), below(materials)
        while (shape, color) in seen:
            shape, color = below(shapes), below(colors)
        seen.add((shape, color))
        codes[free.pop(below(len(free)))] = 1 + (shape * colors + color) * materials + material
    codes[0] = below(len(BACKGROUNDS))
    return codes
