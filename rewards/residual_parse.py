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
_BLOCKS = 4  # blocks along a cell's side, for the quick search
_CHANNELS = 3
_ROWS = 256  # crops that are searched for at a time, which bounds memory
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
    differ = _differ(cells, guess, found)
    grounds, kept, known = _grounds(cells, margin, guess, differ)
    moved = np.flatnonzero(grounds != guess)
    differ[moved] = _differ(cells[moved], grounds[moved], found[moved])
    # Only cells that differ in some bit from the expected ones are searched: [M, cell, cell, 3].
    number, place = np.nonzero(differ)
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
    flat = off.reshape(len(off), off[0].size if len(off) else 0)
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
    """Codes [N] of the objects that crops [N, cell, cell, 3] show over a ground, 0 empty, -1 nothing known.

    What is left of the difference when the blocks of a cell are averaged rules out nearly all pictures, since
    averages have no more energy than pixels; the few others are compared in full.
    """
    cell = crops.shape[1]
    known, sizes = _rendered_blocks(cell)
    codes = np.full(len(crops), UNREAD)
    for start in range(0, len(crops), _ROWS):
        part = crops[start : start + _ROWS]
        off = blocks(part.astype(np.int32))[0][:, None] - known[ground]
        left = (off**2 * sizes).sum((2, 3, 4))
        rows, numbers = np.nonzero(left <= _CHANNELS * mean_square(cell) + 1e-6)
        fits = near(part[rows], np.full(len(rows), ground), numbers)
        codes[start + rows[fits]] = numbers[fits]
    return codes


@lru_cache(maxsize=16)
def mean_square(cell: int) -> float:
    """Largest mean square of a difference: no crop is near to two pictures over one ground."""
    closest = min(_flat_pictures(cell, ground)[1].min() for ground in range(len(cell_pictures(cell))))
    return min(ROOT_MEAN_SQUARE, 0.49 * float(np.sqrt(closest / (_CHANNELS * cell**2)))) ** 2


def blocks(values: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Means of the 4 x 4 blocks of crops [N, cell, cell, 3], float64 [N, 4, 4, 3], and their pixels [4, 4, 1]."""
    cell = values.shape[1]
    edges = [step * cell // _BLOCKS for step in range(_BLOCKS)]
    sides = np.diff([*edges, cell])
    sizes = np.outer(sides, sides)[..., None]
    return np.add.reduceat(np.add.reduceat(values, edges, 1), edges, 2) / sizes, sizes


@lru_cache(maxsize=16)
def _rendered_blocks(cell: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blocks of all pictures of a cell [backgrounds, 1 + objects, 4, 4, 3], and their shares of it [4, 4, 1]."""
    rendered, sizes = zip(*(blocks(pictures.astype(np.int32)) for pictures in cell_pictures(cell)), strict=True)
    return np.stack(rendered), sizes[0] / cell**2


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


def _differ(cells: NDArray[np.uint8], grounds: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which cells [B, cells] are not the expected ones to the last bit."""
    rendered = cell_pictures(cells.shape[2])[grounds[:, None], codes]
    return (cells != rendered).reshape(*codes.shape, 3 * cells.shape[2] ** 2).any(-1)


def _grounds(
    cells: NDArray[np.uint8], margin: NDArray[np.uint8], expected: NDArray[np.int64], differ: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Each picture's background [B], whether all of it is near [B], and whether most rings show it [B].

    Cells [B, cells] that do not differ from the expected ones show the expected background.
    """
    grounds, count = expected.copy(), cells.shape[1]
    off = _ring_error(cells, grounds, differ)
    showing = (off <= ROOT_MEAN_SQUARE**2).sum(1)
    for ground in range(len(BACKGROUNDS)):
        lost = np.flatnonzero(2 * showing <= count)
        trial = _ring_error(cells[lost], np.full(len(lost), ground), np.ones((len(lost), count), bool))
        found = (trial <= ROOT_MEAN_SQUARE**2).sum(1)
        rows = lost[2 * found > count]
        grounds[rows], off[rows], showing[rows] = ground, trial[2 * found > count], found[2 * found > count]
    near_all = np.asarray((off <= SPOT**2).all(1))
    if margin.shape[1]:
        bare = np.abs(margin.astype(np.int32) - _COLORS[grounds][:, None])
        kept = np.asarray((bare**2).mean((1, 2)) <= SPOT**2) & np.asarray(bare.max((1, 2)) <= PIXEL)
        near_all = near_all & kept
    return grounds, near_all, 2 * showing > count


def _ring_error(
    cells: NDArray[np.uint8], grounds: NDArray[np.int64], differ: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean squared differences of rings [B, cells] of cells from backgrounds [B]; 0 where not `differ`."""
    number, place = np.nonzero(differ)
    side = cells.shape[2]
    outer = np.ones((side, side), bool)
    outer[1:-1, 1:-1] = False
    rings = cells[number, place][:, outer]
    off = np.zeros(cells.shape[:2])
    off[number, place] = ((rings - _COLORS[grounds[number], None]).astype(np.int32) ** 2).mean((1, 2))
    return off
