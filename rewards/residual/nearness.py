"""When a crop shows a rendered cell: by the tolerance stated in editenv.worlds.studio.likeness.

Its numbers stand here once more, and it is measured in another way: `exact` looks for the nearest picture and
asks how near it is, here the expected picture is subtracted and what is left is judged.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.worlds.studio.render import cell_pictures

ROOT_MEAN_SQUARE = 7.0
"""Largest root mean square of the difference, in levels; less where cells are so small that two different
pictures come closer than twice as much (`mean_square`)."""
PIXEL = 37
"""Largest difference of a channel of one pixel, in levels."""
WINDOW = 24
"""Largest mean difference of a channel over a window of 3 x 3 pixels, in levels."""
BLEND = 0.25
"""Largest share of another known picture in a blend."""

_SIDE = 3
_BLOCKS = 4
_HALF = 0.49
_CHANNELS = 3
_ROUNDING = 1e-6
_ROWS = 256  # crops that are searched for at a time, which bounds memory


@lru_cache(maxsize=16)
def mean_square(cell: int) -> float:
    """Largest mean square of a difference: no crop is near to two pictures over one ground."""
    grounds = range(len(cell_pictures(cell)))
    closest = min(_distances(cell, ground).min() for ground in grounds)
    return min(ROOT_MEAN_SQUARE, _HALF * float(np.sqrt(closest / (_CHANNELS * cell**2)))) ** 2


def near(crops: NDArray[np.uint8], grounds: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which crops [N, cell, cell, 3] show the objects [N] over the grounds [N]; bool [N]."""
    cell = crops.shape[1]
    off = (crops.astype(np.int16) - cell_pictures(cell)[grounds, codes]).astype(np.int32)
    worst = np.abs(off).max((1, 2, 3), initial=0)
    energy = _energy(off)
    found = (worst <= PIXEL) & (energy <= _CHANNELS * cell**2 * mean_square(cell))
    # Means cannot be further off than the worst pixel is.
    doubtful = np.flatnonzero(found & (worst > WINDOW))
    found[doubtful] = _worst_window(off[doubtful]) <= WINDOW * _SIDE**2
    for ground in np.unique(grounds[found]):
        rows = np.flatnonzero(found & (grounds == ground))
        # A difference shorter than a quarter of every way reaches no large share.
        shortest = _distances(cell, int(ground)).min(1)
        rows = rows[energy[rows] > BLEND**2 * shortest[codes[rows]]]
        found[rows] = _has_no_large_share(off[rows], int(ground), codes[rows])
    return found


def nearest(crops: NDArray[np.uint8], ground: int) -> NDArray[np.int64]:
    """Codes [N] of the objects that crops [N, cell, cell, 3] show over a ground, 0 empty, -1 nothing known.

    What is left of the difference when the blocks of a cell are averaged rules out nearly all pictures, since
    averages have no more energy than pixels; the few others are compared in full.
    """
    cell = crops.shape[1]
    known, weights = _rendered_blocks(cell)
    codes = np.full(len(crops), -1)
    for start in range(0, len(crops), _ROWS):
        part = crops[start : start + _ROWS]
        off = blocks(part.astype(np.int32))[:, None] - known[ground]
        left = (off**2 * weights).sum((2, 3, 4))
        rows, numbers = np.nonzero(left <= _CHANNELS * mean_square(cell) + _ROUNDING)
        fits = near(part[rows], np.full(len(rows), ground), numbers)
        codes[start + rows[fits]] = numbers[fits]
    return codes


def blocks(values: NDArray[np.int32]) -> NDArray[np.float64]:
    """Means of the 4 x 4 blocks of crops [N, cell, cell, 3]; float64 [N, 4, 4, 3]."""
    edges, sides = _cuts(values.shape[1])
    sums = np.add.reduceat(np.add.reduceat(values, edges, 1), edges, 2)
    return sums / np.outer(sides, sides)[..., None]


def _cuts(cell: int) -> tuple[list[int], NDArray[np.int64]]:
    """Where the blocks of a cell start along a side, and how long they are."""
    edges = [step * cell // _BLOCKS for step in range(_BLOCKS)]
    return edges, np.diff([*edges, cell])


def _energy(off: NDArray[np.int32]) -> NDArray[np.int64]:
    """Sums of squares [N]."""
    flat = off.reshape(len(off), off[0].size if len(off) else 0)
    return np.einsum("nd,nd->n", flat, flat)


def _worst_window(off: NDArray[np.int32]) -> NDArray[np.int32]:
    """The largest sum [N] over any window and channel."""
    rows = off[:, : 1 - _SIDE] + off[:, 1 : 2 - _SIDE] + off[:, 2:]
    sums = rows[:, :, : 1 - _SIDE] + rows[:, :, 1 : 2 - _SIDE] + rows[:, :, 2:]
    return np.abs(sums).max((1, 2, 3), initial=0)


def _has_no_large_share(off: NDArray[np.int32], ground: int, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """In which crops, that differ by [N, cell, cell, 3] from their codes' pictures, no other one is mixed in.

    The share is the difference's projection on the way from the one picture to the other.
    """
    cell = off.shape[1]
    flat = cell_pictures(cell)[ground].reshape(-1, _CHANNELS * cell**2).astype(np.float64)
    squares, found = _distances(cell, ground), np.zeros(len(off), bool)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        along = off[rows].reshape(len(rows), -1).astype(np.float64) @ (flat - flat[code]).T
        found[rows] = (along <= BLEND * squares[code]).all(1)
    return found


@lru_cache(maxsize=64)
def _distances(cell: int, ground: int) -> NDArray[np.float64]:
    """Squared distances between all pictures over a ground, infinite of each to itself."""
    flat = cell_pictures(cell)[ground].reshape(-1, _CHANNELS * cell**2).astype(np.float64)
    lengths = np.einsum("nd,nd->n", flat, flat)
    squares = np.add.outer(lengths, lengths) - 2 * (flat @ flat.T)
    np.fill_diagonal(squares, np.inf)
    return squares


@lru_cache(maxsize=16)
def _rendered_blocks(cell: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blocks of all pictures of a cell [backgrounds, 1 + objects, 4, 4, 3], and their sizes [4, 4, 1]."""
    sides = _cuts(cell)[1]
    rendered = np.stack([blocks(pictures.astype(np.int32)) for pictures in cell_pictures(cell)])
    return rendered, (np.outer(sides, sides) / cell**2)[..., None]
