"""What pictures show, found by comparing their cells with rendered ones, the expected one first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.rewards.residual.kinds import UNREAD, Shown
from editenv.rewards.residual.nearness import PIXEL, ROOT_MEAN_SQUARE, near, nearest
from editenv.types import Image
from editenv.worlds.studio.render import GROUND, cell_pictures
from editenv.worlds.studio.scene import BACKGROUNDS

SPOT = 2 * ROOT_MEAN_SQUARE
"""Largest root-mean-square difference from the background, in levels, in any one cell's outermost ring of
pixels or in the margin that no cell covers. More than half of the rings must be within half of it, and no
pixel of the margin off by more than PIXEL."""

_COLORS = np.array([GROUND[name] for name in BACKGROUNDS], np.int16)


def read(pictures: Sequence[Image], grid: int, expected: Sequence[Shown]) -> list[Shown]:
    """What a batch of pictures shows.

    Args:
        pictures: uint8 [H, W, 3] each, all of one square size.
        grid: cells a side.
        expected: what each may show, such as what the picture before did; saves time, decides nothing.

    Raises:
        ValueError: a picture is not square, not uint8 or not of the first one's size.
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


def _differ(
    cells: NDArray[np.uint8], grounds: NDArray[np.int64], codes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which cells [B, cells] are not the expected ones to the last bit."""
    rendered = cell_pictures(cells.shape[2])[grounds[:, None], codes]
    return (cells != rendered).reshape(*codes.shape, 3 * cells.shape[2] ** 2).any(-1)


def _grounds(
    cells: NDArray[np.uint8],
    margin: NDArray[np.uint8],
    expected: NDArray[np.int64],
    differ: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Each picture's background [B], whether all of it is near [B], and whether most rings show it [B].

    Cells [B, cells] that do not differ from the expected ones show the expected background.
    """
    grounds, count = expected.copy(), cells.shape[1]
    off = _off(cells, grounds, differ)
    showing = (off <= ROOT_MEAN_SQUARE**2).sum(1)
    for ground in range(len(BACKGROUNDS)):
        lost = np.flatnonzero(2 * showing <= count)
        trial = _off(cells[lost], np.full(len(lost), ground), np.ones((len(lost), count), bool))
        found = (trial <= ROOT_MEAN_SQUARE**2).sum(1)
        rows = lost[2 * found > count]
        grounds[rows], off[rows], showing[rows] = ground, trial[2 * found > count], found[2 * found > count]
    near_all = np.asarray((off <= SPOT**2).all(1))
    if margin.shape[1]:
        bare = np.abs(margin.astype(np.int32) - _COLORS[grounds][:, None])
        kept = np.asarray((bare**2).mean((1, 2)) <= SPOT**2) & np.asarray(bare.max((1, 2)) <= PIXEL)
        near_all = near_all & kept
    return grounds, near_all, 2 * showing > count


def _off(
    cells: NDArray[np.uint8], grounds: NDArray[np.int64], differ: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean squares of the differences of rings [B, cells] from backgrounds [B], 0 where nothing differs."""
    number, place = np.nonzero(differ)
    rings = cells.reshape(*cells.shape[:2], cells.shape[2] ** 2, 3)[
        number[:, None], place[:, None], _ring(cells.shape[2])
    ]
    off = np.zeros(cells.shape[:2])
    off[number, place] = ((rings - _COLORS[grounds[number], None]).astype(np.int32) ** 2).mean((1, 2))
    return off


@lru_cache(maxsize=16)
def _ring(cell: int) -> NDArray[np.int64]:
    """Places of a cell's outermost pixels among all of them."""
    ring = np.ones((cell, cell), bool)
    ring[1:-1, 1:-1] = False
    return np.flatnonzero(ring)
