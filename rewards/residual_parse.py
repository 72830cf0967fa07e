"""What pictures show, for scorer `residual`: cells are compared with rendered ones, the expected one first.

The tolerance is the one stated in editenv.worlds.studio.parse. Its numbers stand here once more and are
measured in another way: `exact` looks for the nearest picture and asks how near it is, here the expected
picture is subtracted and what is left is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from editenv.types import Image
from editenv.worlds.studio.render import GROUND, cell_pictures
from editenv.worlds.studio.scene import BACKGROUNDS

UNREAD, EMPTY = -1, 0
"""Codes of a cell that shows nothing known and of an empty one; objects count from 1, as in all_objects()."""

ROOT_MEAN_SQUARE = 7.0
"""Largest root mean square of the difference, in levels; less where cells are so small that two different
pictures come closer than twice as much (`mean_square`)."""
PIXEL = 37
"""Largest difference of a channel of one pixel, in levels."""
WINDOW = 24
"""Largest mean difference of a channel over a window of 3 x 3 pixels, in levels."""
BLEND = 0.25
"""Largest share of another known picture in a blend."""
SPOT = 2 * ROOT_MEAN_SQUARE
"""Largest root-mean-square difference from the background, in levels, in any one cell's outermost ring of
pixels or in the margin that no cell covers. More than half of the rings must be within half of it, and no
pixel of the margin off by more than PIXEL."""

_SIDE = 3  # of a window, in pixels
_CHANNELS = 3
_COLORS = np.array([GROUND[name] for name in BACKGROUNDS], np.int16)


class Shown(NamedTuple):
    """What a picture shows."""

    ground: int  # index of the background in BACKGROUNDS, UNREAD where none is near
    cells: tuple[int, ...]  # code of each cell's object, EMPTY or UNREAD, row by row

    @property
    def side(self) -> int:
        """Cells a side."""
        return round(len(self.cells) ** 0.5)

    def codes(self) -> list[int]:
        """Ground and cells in one list, as JSON."""
        return [self.ground, *self.cells]

    def readable(self) -> bool:
        """Are the ground and all cells known?"""
        return self.ground != UNREAD and UNREAD not in self.cells

    def having(self, contents: dict[int, int]) -> Shown:
        """The same with other contents in some cells."""
        return Shown(self.ground, tuple(contents.get(cell, code) for cell, code in enumerate(self.cells)))


def shown_from_codes(codes: list[int]) -> Shown:
    """The inverse of Shown.codes."""
    return Shown(codes[0], tuple(codes[1:]))


def read(pictures: Sequence[Image], grid: int, expected: Sequence[Shown]) -> list[Shown]:
    """What a batch of pictures shows, uint8 [H, W, 3] each, all of one square size, with `grid` cells a side.

    `expected` is what each may show, such as what the picture before did; it saves time and decides nothing.
    """
    if not len(pictures):
        return []
    cells, margin = _cut(pictures, grid)
    codes = np.maximum([one.codes() for one in expected], 0)
    found, guess = codes[:, 1:], codes[:, 0]
    grounds, kept, known = _grounds(cells, margin, guess)
    # Only cells that differ in some bit from the expected ones are searched: [M, cell, cell, 3].
    differ = cells != cell_pictures(cells.shape[2])[grounds[:, None], found]
    number, place = np.nonzero(differ.any((2, 3, 4)))
    crops, over = cells[number, place], grounds[number]
    new = np.where(near(crops, over, found[number, place]), found[number, place], UNREAD)
    for ground in np.unique(over):
        rows = np.flatnonzero((new == UNREAD) & (over == ground) & known[number])
        new[rows] = nearest(crops[rows], int(ground))
    found[number, place] = new
    found[~known] = UNREAD
    grounds = np.where(kept & known, grounds, UNREAD)
    return [Shown(g, tuple(row)) for g, row in zip(grounds.tolist(), found.tolist(), strict=True)]


def near(crops: NDArray[np.uint8], grounds: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which crops [N, cell, cell, 3] show the objects [N] over the grounds [N]; bool [N]."""
    cell = crops.shape[1]
    off = (crops.astype(np.int16) - cell_pictures(cell)[grounds, codes]).astype(np.int32)
    worst = np.abs(off).max((1, 2, 3), initial=0)
    flat = off.reshape(len(off), _CHANNELS * cell**2)
    energy = np.einsum("nd,nd->n", flat, flat)
    found = (worst <= PIXEL) & (energy <= _CHANNELS * cell**2 * mean_square(cell))
    # Means cannot be further off than the worst pixel is.
    doubtful = np.flatnonzero(found & (worst > WINDOW))
    windows = sliding_window_view(off[doubtful], (_SIDE, _SIDE), axis=(1, 2)).sum((-2, -1))
    found[doubtful] = np.abs(windows).max((1, 2, 3), initial=0) <= WINDOW * _SIDE**2
    # No large share of another known picture is mixed in: with d = p_other - p_code the share is the projection
    # <off, d> / <d, d>, at most BLEND. A difference shorter than a quarter of every way reaches none.
    for ground, code in np.unique(np.stack([grounds, codes], 1)[found], axis=0):
        known, squares = _flat_pictures(cell, ground)
        rows = np.flatnonzero(found & (grounds == ground) & (codes == code))
        rows = rows[energy[rows] > BLEND**2 * squares[code].min()]
        if len(rows):
            along = flat[rows].astype(np.float64) @ (known - known[code]).T
            found[rows] = (along <= BLEND * squares[code]).all(1)
    return found


def nearest(crops: NDArray[np.uint8], ground: int) -> NDArray[np.int64]:
    """Codes [N] of the objects that crops [N, cell, cell, 3] show over a ground, 0 empty, -1 nothing known."""
    cell, codes = crops.shape[1], np.full(len(crops), UNREAD)
    known, flat = _flat_pictures(cell, ground)[0], crops.reshape(len(crops), _CHANNELS * cell**2).astype(np.float64)
    # |crop - picture|^2, whole numbers that floats hold exactly, finds the few pictures to be compared in full.
    energy = np.add.outer((flat**2).sum(1), (known**2).sum(1)) - 2 * (flat @ known.T)
    rows, numbers = np.nonzero(energy <= _CHANNELS * cell**2 * mean_square(cell))
    fits = near(crops[rows], np.full(len(rows), ground), numbers)
    codes[rows[fits]] = numbers[fits]
    return codes


@lru_cache(maxsize=16)
def mean_square(cell: int) -> float:
    """Largest mean square of a difference: no crop is near to two pictures over one ground."""
    closest = min(_flat_pictures(cell, ground)[1].min() for ground in range(len(cell_pictures(cell))))
    return min(ROOT_MEAN_SQUARE, 0.49 * float(np.sqrt(closest / (_CHANNELS * cell**2)))) ** 2


@lru_cache(maxsize=64)
def _flat_pictures(cell: int, ground: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All pictures over a ground [1 + objects, pixels], and their squared distances, infinite of each to itself."""
    flat = cell_pictures(cell)[ground].reshape(-1, _CHANNELS * cell**2).astype(np.float64)
    lengths = np.einsum("nd,nd->n", flat, flat)
    squares = np.add.outer(lengths, lengths) - 2 * (flat @ flat.T)
    np.fill_diagonal(squares, np.inf)
    return flat, squares


def _cut(pictures: Sequence[Image], grid: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cells [B, grid^2, cell, cell, 3] and the pixels [B, pixels, 3] that no cell covers."""
    side = len(pictures[0])
    for number, picture in enumerate(pictures):
        if picture.dtype != np.uint8 or picture.shape != (side, side, 3):
            came = f"{picture.dtype} {picture.shape}"
            raise ValueError(f"picture {number} is {came}, expected uint8 ({side}, {side}, 3)")
    batch, cell = np.stack(list(pictures)), side // grid
    start, inner = (side - grid * cell) // 2, grid * cell
    part = batch[:, start : start + inner, start : start + inner]
    cells = part.reshape(len(batch), grid, cell, grid, cell, 3).swapaxes(2, 3)
    outside = np.ones((side, side), bool)
    outside[start : start + inner, start : start + inner] = False
    return cells.reshape(len(batch), grid**2, cell, cell, 3), batch[:, outside]


def _grounds(
    cells: NDArray[np.uint8], margin: NDArray[np.uint8], expected: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Each picture's background [B], whether all of it is near [B], and whether most rings show it [B]."""
    ring = np.ones(cells.shape[2:4], bool)
    ring[1:-1, 1:-1] = False
    rings = cells[:, :, ring].astype(np.int32)  # [B, cells, pixels, 3]

    def errors(rows: NDArray[np.int64], grounds: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean squared differences [rows, cells] of a picture's rings from a background."""
        return ((rings[rows] - _COLORS[grounds][:, None, None]) ** 2).mean((2, 3))

    def shown(off: NDArray[np.float64]) -> NDArray[np.bool_]:
        return 2 * (off <= ROOT_MEAN_SQUARE**2).sum(1) > off.shape[1]

    grounds = expected.copy()
    off = errors(np.arange(len(cells)), grounds)
    for ground in range(len(BACKGROUNDS)):
        lost = np.flatnonzero(~shown(off))
        trial = errors(lost, np.full(len(lost), ground))
        better = shown(trial)
        grounds[lost[better]], off[lost[better]] = ground, trial[better]
    near_all = np.asarray((off <= SPOT**2).all(1))
    if margin.shape[1]:
        bare = np.abs(margin.astype(np.int32) - _COLORS[grounds][:, None])
        near_all &= ((bare**2).mean((1, 2)) <= SPOT**2) & (bare.max((1, 2)) <= PIXEL)
    return grounds, near_all, shown(off)
