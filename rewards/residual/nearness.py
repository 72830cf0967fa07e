"""When a crop shows a rendered cell: no pixel far off, no small patch off together, no large one, no blend.

`exact` bounds the mean square of a whole cell, which lets a small wrong spot, a thin line or a share of
another object hide in a large, right rest. Here the worst place decides, at three scales: single pixels, all
windows of 3 x 3 pixels, and the 16 blocks of a cell, each with the signed difference averaged per channel.
Independent noise averages out in windows and blocks, so they bind tightly; what is drawn does not.
Two pictures that differ in little could still be blended half and half, so the share of any other picture is
bounded too: the difference's projection on the way from the picture to the other one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.worlds.studio.render import cell_pictures

PIXEL = 37.0
"""Largest difference of a channel of one pixel, in levels; less where cells are so small that two different
pictures come closer than twice as much (`pixel_tolerance`)."""
WINDOW = 20.0
"""Largest mean difference of a channel over a window of 3 x 3 pixels, in levels."""
BLOCK = 14.0
"""Largest mean difference of a channel over one of the 4 x 4 blocks of a cell, in levels."""
BLEND = 0.25
"""Largest share of another known picture in a blend."""

_SIDE = 3
_BLOCKS = 4
_HALF = 0.49
_ROWS = 256  # crops that are searched for at a time, which bounds memory


@lru_cache(maxsize=16)
def pixel_tolerance(cell: int) -> float:
    """PIXEL, or just less than half of the smallest worst-pixel difference of two pictures over one ground.

    So no crop is near to two pictures.
    """
    closest = 255
    for pictures in cell_pictures(cell):
        flat = pictures.reshape(len(pictures), -1).astype(np.int16)
        for code in range(1, len(flat)):
            closest = min(closest, int(np.abs(flat[:code] - flat[code]).max(1).min()))
    return min(PIXEL, _HALF * closest)


def near(crops: NDArray[np.uint8], grounds: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which crops [N, cell, cell, 3] show the objects [N] over the grounds [N]; bool [N]."""
    cell = crops.shape[1]
    off = crops.astype(np.int16) - cell_pictures(cell)[grounds, codes]
    worst = np.abs(off).max((1, 2, 3), initial=0)
    found = worst <= pixel_tolerance(cell)
    # Means cannot be further off than the worst pixel is, and blends of so little are out of reach.
    doubtful = np.flatnonzero(found & (worst > min(WINDOW, BLOCK)))
    if len(doubtful):
        part = off[doubtful].astype(np.int32)
        found[doubtful] = (_worst_window(part) <= WINDOW) & (np.abs(blocks(part)).max((1, 2, 3)) <= BLOCK)
        doubtful = doubtful[found[doubtful]]
    for ground in np.unique(grounds[doubtful]):
        rows = doubtful[grounds[doubtful] == ground]
        found[rows] = _largest_share(off[rows], int(ground), codes[rows]) <= BLEND
    return found


def nearest(crops: NDArray[np.uint8], ground: int) -> NDArray[np.int64]:
    """Codes [N] of the objects that crops [N, cell, cell, 3] show over a ground, 0 empty, -1 nothing known.

    Means and blocks that are too far off rule out nearly all pictures; the few that are left are compared in
    full.
    """
    known = _rendered_blocks(crops.shape[1])[ground]
    codes = np.full(len(crops), -1)
    for start in range(0, len(crops), _ROWS):
        part = crops[start : start + _ROWS]
        own = blocks(part.astype(np.int32))
        means = np.abs(own.mean((1, 2))[:, None] - known.mean((1, 2)))
        rows, numbers = np.nonzero((means <= BLOCK).all(-1))
        close = np.abs(own[rows] - known[numbers]).max((1, 2, 3), initial=0.0) <= BLOCK
        rows, numbers = rows[close], numbers[close]
        fits = near(part[rows], np.full(len(rows), ground), numbers)
        codes[start + rows[fits]] = numbers[fits]
    return codes


def blocks(values: NDArray[np.int32]) -> NDArray[np.float64]:
    """Means of the 4 x 4 blocks of crops [N, cell, cell, 3]; float64 [N, 4, 4, 3]."""
    cell = values.shape[1]
    edges = [step * cell // _BLOCKS for step in range(_BLOCKS)]
    sums = np.add.reduceat(np.add.reduceat(values, edges, 1), edges, 2)
    sides = np.diff([*edges, cell])
    return sums / np.outer(sides, sides)[..., None]


def _worst_window(off: NDArray[np.int32]) -> NDArray[np.float64]:
    """The largest mean difference [N] of any window and channel."""
    rows = off[:, : 1 - _SIDE] + off[:, 1 : 2 - _SIDE] + off[:, 2:]
    sums = rows[:, :, : 1 - _SIDE] + rows[:, :, 1 : 2 - _SIDE] + rows[:, :, 2:]
    return np.abs(sums).max((1, 2, 3)) / _SIDE**2


def _largest_share(off: NDArray[np.int16], ground: int, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The largest share [N] of another picture in crops that differ by [N, cell, cell, 3] from theirs [N]."""
    flat, squares = _other_pictures(off.shape[1], ground)
    along = off.reshape(len(off), -1).astype(np.float64) @ flat.T
    own = along[np.arange(len(codes)), codes]
    return ((along - own[:, None]) / squares[codes]).max(1, initial=0.0)


@lru_cache(maxsize=16)
def _other_pictures(cell: int, ground: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every picture over a ground as a row, and the squared distances between them, infinite to itself."""
    pictures = cell_pictures(cell)[ground]
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    products = flat @ flat.T
    lengths = np.diag(products)
    squares = lengths[:, None] - 2 * products + lengths
    np.fill_diagonal(squares, np.inf)
    return flat, squares


@lru_cache(maxsize=16)
def _rendered_blocks(cell: int) -> NDArray[np.float64]:
    """Blocks of every picture a cell can show, float64 [backgrounds, 1 + objects, 4, 4, 3]."""
    return np.stack([blocks(pictures.astype(np.int32)) for pictures in cell_pictures(cell)])
