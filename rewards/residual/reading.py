"""What pictures show, found by comparing their cells with rendered ones, the expected one first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.rewards.residual.kinds import UNREAD, Shown
from editenv.rewards.residual.nearness import near, nearest
from editenv.types import Picture
from editenv.worlds.studio.render import GROUND, cell_pictures
from editenv.worlds.studio.scene import BACKGROUNDS

GROUND_MEAN = 5.0
"""Largest mean absolute difference of bare pixels from a background, in levels, over the whole picture; and
in the cell in the middle of the order, without which no cell can be read."""
GROUND_SPOT = 14.0
"""The same in any one cell's outermost ring of pixels, or in the margin that no cell covers."""

_COLORS = np.array([GROUND[name] for name in BACKGROUNDS], np.int16)


def read(pictures: Sequence[Picture], grid: int, expected: Sequence[Shown]) -> list[Shown]:
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


def _cut(pictures: Sequence[Picture], grid: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
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
    """Each picture's background [B], whether it is near everywhere [B], and in half of the cells [B].

    Cells [B, cells] that do not differ from the expected ones show the expected background.
    """
    grounds, count = expected.copy(), cells.shape[1]
    off = _off(cells, margin, grounds, differ)
    typical = np.median(off[:, :count], axis=1)
    lost = np.flatnonzero(typical > GROUND_MEAN)
    for ground in range(len(BACKGROUNDS)) if len(lost) else ():
        everywhere = np.ones((len(lost), count), bool)
        trial = _off(cells[lost], margin[lost], np.full(len(lost), ground), everywhere)
        middle = np.median(trial[:, :count], axis=1)
        better = middle < typical[lost]
        rows = lost[better]
        grounds[rows], off[rows], typical[rows] = ground, trial[better], middle[better]
    kept = (off.mean(1) <= GROUND_MEAN) & (off.max(1) <= GROUND_SPOT)
    return grounds, kept, typical <= GROUND_MEAN


def _off(
    cells: NDArray[np.uint8],
    margin: NDArray[np.uint8],
    grounds: NDArray[np.int64],
    differ: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Mean absolute differences [B, cells, and one more for the margin if any] from backgrounds [B]."""
    number, place = np.nonzero(differ)
    rings = cells.reshape(*cells.shape[:2], cells.shape[2] ** 2, 3)[
        number[:, None], place[:, None], _ring(cells.shape[2])
    ]
    off = np.zeros((len(cells), cells.shape[1] + (margin.shape[1] > 0)))
    off[number, place] = np.abs(rings - _COLORS[grounds[number], None]).mean((1, 2))
    if margin.shape[1]:
        off[:, -1] = np.abs(margin - _COLORS[grounds][:, None]).mean((1, 2))
    return off


@lru_cache(maxsize=16)
def _ring(cell: int) -> NDArray[np.int64]:
    """Places of a cell's outermost pixels among all of them."""
    ring = np.ones((cell, cell), bool)
    ring[1:-1, 1:-1] = False
    return np.flatnonzero(ring)
