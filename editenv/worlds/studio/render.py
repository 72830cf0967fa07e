"""Draws studio scenes: exact, in integers, by looking up one small picture for each cell."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.types import Image
from editenv.worlds.studio.lettering import SUPERSAMPLING, lettering, shrink, word
from editenv.worlds.studio.scene import BACKGROUNDS, Scene, SceneObject, all_objects

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
_FULL = SUPERSAMPLING**2
_LETTERS = (2500, 2500, 2500)  # of signs: all but white, in tenths of a level
_UNIT = 10 * _FULL**2  # one level, where shares count sub-pixels twice and colours count in tenths


@lru_cache(maxsize=16)
def cell_pictures(cell: int) -> NDArray[np.uint8]:
    """Every picture a cell can show.

    Args:
        cell: side of a cell in pixels, at least 8.

    Returns:
        uint8 [backgrounds, 1 + objects, cell, cell, 3]; entry 0 of the second axis is the empty cell.
        The outermost ring of pixels always shows the bare background.
    """
    if cell < 8:
        raise ValueError(
            f"a cell is {cell} pixels wide, expected at least 8: choose a larger size or a smaller grid"
        )
    layers = [_layers(thing, cell) for thing in all_objects()]
    pictures = np.empty((len(BACKGROUNDS), 1 + len(all_objects()), cell, cell, 3), np.uint8)
    for number, name in enumerate(BACKGROUNDS):
        ground = np.array(GROUND[name])
        pictures[number, 0] = ground
        for code, (ink, light, share, lit) in enumerate(layers, start=1):
            tenths = share * ((_FULL - lit) * ink + lit * light) + (_FULL - share) * _FULL * 10 * ground
            pictures[number, code] = np.rint(tenths / _UNIT)
    pictures.flags.writeable = False
    return pictures


def _layers(thing: SceneObject, cell: int) -> tuple[NDArray[np.int64], ...]:
    """Paint, bright paint, sub-pixels covered and sub-pixels brightened of an object's picture."""
    if thing.text is not None:
        return 10 * np.array(INK[thing.color]), np.array(_LETTERS), *lettering(thing.text, cell)
    return *_paint(thing.color), _coverage(thing.shape, cell), _brightness(thing.material, cell)


def render(scene: Scene, size: int) -> Image:
    """The scene as a picture, uint8 [size, size, 3]; pixels that no cell covers show the background.

    Raises:
        ValueError: something in the scene is unreadable, or a cell would be smaller than 8 pixels.
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


def _mesh(cell: int, margin: float = 1.2) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sub-pixel centres, scaled so that an object fills -1 to 1 (x to the right, y downwards)."""
    centres = (np.arange(cell * SUPERSAMPLING) + 0.5) / SUPERSAMPLING
    scaled = (centres - cell / 2) / (cell / 2 - margin * cell / 16)
    x, y = np.meshgrid(scaled, scaled)
    return x, y


def _inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    if shape == "circle":
        return x**2 + y**2 <= 0.9**2
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.92
    if shape == "triangle":
        return (y <= 0.82) & (y >= 2 * abs(x) * 0.95 - 0.95)
    if shape == "cross":
        return (np.minimum(abs(x), abs(y)) <= 0.32) & (np.maximum(abs(x), abs(y)) <= 0.95)
    if shape == "star":
        radius, angle = np.hypot(x, y + 0.0), np.arctan2(x, -y)
        sector = abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)  # 0 on a tip, pi/5 in a notch
        inner = 0.45
        tip, notch = np.array([1.05, 0.0]), inner * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
        px, py = radius * np.cos(sector), radius * np.sin(sector)
        edge = notch - tip
        return (px - tip[0]) * edge[1] - (py - tip[1]) * edge[0] <= 0
    raise ValueError(f"shape is {shape!r}, which has no drawing")


@lru_cache(maxsize=64)
def _coverage(shape: str, cell: int) -> NDArray[np.int64]:
    """Sub-pixels of each pixel that the shape covers, int64 [cell, cell, 1], 0 on the outermost ring."""
    covered = shrink(_inside(shape, *_mesh(cell)), cell)
    covered[[0, -1]] = 0
    covered[:, [0, -1]] = 0
    return covered


@lru_cache(maxsize=64)
def _brightness(material: str, cell: int) -> NDArray[np.int64]:
    """Sub-pixels of each pixel that the material's pattern brightens, int64 [cell, cell, 1]."""
    x, y = _mesh(cell)
    if material == "plain":
        bright = np.zeros_like(x, bool)
    elif material == "striped":
        bright = (x + y + 0.2) % 0.8 < 0.32
    elif material == "dotted":
        bright = (abs((x + 0.25) % 0.5 - 0.25) < 0.14) & (abs((y + 0.25) % 0.5 - 0.25) < 0.14)
    else:
        raise ValueError(f"material is {material!r}, which has no drawing")
    return shrink(bright, cell)


def _paint(color: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A colour and its bright version, seven parts white to three of it, in tenths of a level."""
    ink = np.array(INK[color])
    return 10 * ink, 7 * 255 + 3 * ink


__all__ = ["GROUND", "INK", "cell_pictures", "lettering", "render", "word"]
