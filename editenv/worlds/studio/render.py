"""Draws studio scenes: exact, in integers, by looking up one small picture for each cell.

Signs are panels with a word on them, drawn from a small bitmap font of our own (font.txt).
"""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from editenv.types import Image
from editenv.worlds.studio.scene import BACKGROUNDS, MATERIALS, SHAPES, Scene, all_objects

INK = {
    "red": (214, 40, 47),
    "green": (30, 150, 70),
    "blue": (45, 95, 215),
    "yellow": (250, 210, 40),
    "purple": (125, 45, 165),
    "orange": (244, 122, 30),
}
GROUND = {
    "white": (247, 246, 241),
    "gray": (160, 163, 168),
    "black": (30, 31, 36),
    "mint": (186, 232, 212),
    "pink": (247, 202, 214),
}
SUPERSAMPLING = 8  # sub-pixels a side of each pixel

_FULL = SUPERSAMPLING**2
_LETTERS = np.array((2500, 2500, 2500))  # of signs: all but white, in tenths of a level
_HALF_WIDTH, _HALF_HEIGHT = 42, 34  # of a sign's panel, in hundredths of a cell
_UNIT = 10 * _FULL**2  # one level, where shares count sub-pixels twice and colours count in tenths


@lru_cache(maxsize=16)
def cell_pictures(cell: int) -> NDArray[np.uint8]:
    """Every picture a cell can show.

    Args:
        cell: side of a cell in pixels, at least 8.

    Returns:
        uint8 [backgrounds, 1 + objects, cell, cell, 3]; entry 0 of the second axis is the empty cell. The outermost
        ring of pixels always shows the bare background.
    """
    if cell < 8:
        raise ValueError(f"a cell is {cell} pixels wide, expected at least 8: choose a larger size or a smaller grid")
    # Sub-pixel centres, scaled so that an object fills -1 to 1 (x to the right, y downwards).
    centres = (np.arange(cell * SUPERSAMPLING) + 0.5) / SUPERSAMPLING
    x, y = np.meshgrid(*[(centres - cell / 2) / (cell / 2 - 1.2 * cell / 16)] * 2)
    covered = {shape: _bare_ring(_shrink(_inside(shape, x, y))) for shape in SHAPES}
    lit = {material: _shrink(_bright(material, x, y)) for material in MATERIALS}
    pictures = np.empty((len(BACKGROUNDS), 1 + len(all_objects()), cell, cell, 3), np.uint8)
    pictures[:, 0] = np.array([GROUND[name] for name in BACKGROUNDS])[:, None, None]
    for obj in all_objects():
        ink = np.array(INK[obj.color])
        if obj.text is None:  # bright paint is seven parts white to three of the colour
            light, share, bright = 7 * 255 + 3 * ink, covered[obj.shape], lit[obj.material]
        else:
            light, (share, bright) = _LETTERS, sign_layers(obj.text, cell)
        paint = share * ((_FULL - bright) * 10 * ink + bright * light)
        for number, name in enumerate(BACKGROUNDS):
            tenths = paint + (_FULL - share) * _FULL * 10 * np.array(GROUND[name])
            pictures[number, obj.code] = np.rint(tenths / _UNIT)
    pictures.flags.writeable = False
    return pictures


def render(scene: Scene, size: int) -> Image:
    """The scene as a picture, uint8 [size, size, 3]; pixels that no cell covers show the background.

    ValueError where something in the scene is unreadable, or a cell would be smaller than 8 pixels.
    """
    grid = scene.grid
    cell = size // grid
    codes = scene.codes()
    if min(codes) < 0:
        raise ValueError(f"the scene {codes} holds -1, something unreadable, which cannot be drawn")
    shown = cell_pictures(cell)[codes[0], codes[1:]]
    inner = shown.reshape(grid, grid, cell, cell, 3).swapaxes(1, 2).reshape(grid * cell, grid * cell, 3)
    if grid * cell == size:
        return inner
    picture = np.empty((size, size, 3), np.uint8)
    picture[:] = GROUND[scene.background]
    start = (size - grid * cell) // 2
    picture[start : start + grid * cell, start : start + grid * cell] = inner
    return picture


def _inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which sub-pixels a shape covers."""
    if shape == "circle":
        return x**2 + y**2 <= 0.9**2
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.92
    if shape == "triangle":
        return (y <= 0.82) & (y >= 2 * abs(x) * 0.95 - 0.95)
    if shape == "cross":
        return (np.minimum(abs(x), abs(y)) <= 0.32) & (np.maximum(abs(x), abs(y)) <= 0.95)
    if shape != "star":
        raise ValueError(f"shape is {shape!r}, which has no drawing")
    radius, angle = np.hypot(x, y + 0.0), np.arctan2(x, -y)
    sector = abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)  # 0 on a tip, pi/5 in a notch
    tip, notch = np.array([1.05, 0.0]), 0.45 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    px, py = radius * np.cos(sector), radius * np.sin(sector)
    edge = notch - tip
    return (px - tip[0]) * edge[1] - (py - tip[1]) * edge[0] <= 0


def _bright(material: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which sub-pixels a material's pattern brightens."""
    if material == "plain":
        return np.zeros_like(x, bool)
    if material == "striped":
        return (x + y + 0.2) % 0.8 < 0.32
    if material == "dotted":
        return (abs((x + 0.25) % 0.5 - 0.25) < 0.14) & (abs((y + 0.25) % 0.5 - 0.25) < 0.14)
    raise ValueError(f"material is {material!r}, which has no drawing")


def _shrink(fine: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many sub-pixels of each pixel are True, int64 [cell, cell, 1], 0 to SUPERSAMPLING squared."""
    cell = len(fine) // SUPERSAMPLING
    return fine.reshape(cell, SUPERSAMPLING, cell, SUPERSAMPLING).sum(axis=(1, 3))[..., None]


def _bare_ring(covered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nothing is covered on the outermost ring of pixels."""
    covered[[0, -1]] = 0
    covered[:, [0, -1]] = 0
    return covered


def sign_layers(text: str, cell: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A sign's panel and its letters: sub-pixels of each pixel that they cover, int64 [cell, cell, 1] each.

    The word, letters a to z, is as wide as the panel, a pixel of the font at each side left out, so short words have
    wide letters. The outermost ring of pixels is bare.
    """
    fine = cell * SUPERSAMPLING
    half = [min(fine * share // 100, fine // 2 - SUPERSAMPLING) for share in (_HALF_HEIGHT, _HALF_WIDTH)]
    rows, columns = (slice(fine // 2 - width, fine // 2 + width) for width in half)
    bitmap = np.pad(word_pixels(text), 1)
    panel, inked = np.zeros((2, fine, fine), bool)
    panel[rows, columns] = True
    down, across = (np.arange(2 * w) * n // (2 * w) for w, n in zip(half, bitmap.shape, strict=True))
    inked[rows, columns] = bitmap[np.ix_(down, across)]
    return _shrink(panel), _shrink(inked)


def word_pixels(text: str) -> NDArray[np.bool_]:
    """A word's pixels, bool [5, columns], a bare column between letters; ValueError where the font lacks one."""
    font = _font()
    if not text or set(text) - set(font):
        raise ValueError(f"text is {text!r}, expected letters of the font, which has {''.join(font)}")
    return np.concatenate([np.pad(font[letter], ((0, 0), (0, 1))) for letter in text], axis=1)[:, :-1]


@lru_cache(maxsize=1)
def _font() -> dict[str, NDArray[np.bool_]]:
    """Each letter's pixels, bool [5, 3]."""
    lines = files("editenv.worlds.studio").joinpath("font.txt").read_text(encoding="ascii").splitlines()[2:]
    letters = {name: rows for name, *rows in (line.split() for line in lines)}
    return {name: np.array([[mark == "#" for mark in row] for row in rows]) for name, rows in letters.items()}
