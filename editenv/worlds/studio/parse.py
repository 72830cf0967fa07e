"""Recovers scenes from pixels alone, by comparing every cell with every picture a cell can show.

Strict on purpose: blends, halos and tints that a tolerant parser lets pass are what a trained agent finds first.
A cell counts as read when its root-mean-square distance to the nearest known picture is at most TOLERANCE; known
pictures lie more than 16 levels apart, so a cell that is read as one thing is never near a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.types import Picture
from editenv.worlds.studio.render import GROUND, cell_pictures
from editenv.worlds.studio.scene import BACKGROUNDS, Scene, scene_from_codes

TOLERANCE = 7.0
"""Largest root-mean-square distance, in levels of 0 to 255, at which a cell or the background is still read."""

_CENTRE = 128  # pixels are centred so that sums of products stay small enough to be exact in float32


def parse(pictures: Sequence[Picture], grid: int) -> list[Scene]:
    """Scenes of a batch of pictures; what cannot be read is UNREADABLE in its place.

    All sums are sums of integers that floats hold exactly, so a result never depends on the batch around it.

    Args:
        pictures: uint8 [H, W, 3] each, all of one square size.
        grid: cells a side.

    Raises:
        ValueError: a picture is not square, not uint8 or not of the size of the first one.
    """
    if not len(pictures):
        return []
    batch = _stacked(pictures)
    size = batch.shape[1]
    cell = size // grid
    start = (size - grid * cell) // 2
    inner = batch[:, start : start + grid * cell, start : start + grid * cell]
    cells = inner.reshape(-1, grid, cell, grid, cell, 3).swapaxes(2, 3).reshape(len(batch), grid**2, -1)
    backgrounds, readable = _read_backgrounds(batch, cells, cell)
    codes = np.empty((len(batch), 1 + grid**2), np.int64)
    codes[:, 0] = np.where(readable, backgrounds, -1)
    for number in np.unique(backgrounds):
        rows = backgrounds == number
        codes[rows, 1:] = _read_cells(cells[rows], int(number), cell)
    return [scene_from_codes(row) for row in codes.tolist()]


def _stacked(pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    first = np.asarray(pictures[0])
    for number, picture in enumerate(pictures):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape != (len(first), len(first), 3):
            raise ValueError(
                f"picture {number} is {picture.dtype} {picture.shape}, expected uint8 ({len(first)}, {len(first)}, 3)"
            )
    return np.stack(list(pictures)) if not isinstance(pictures, np.ndarray) else pictures


def _read_backgrounds(
    batch: NDArray[np.uint8], cells: NDArray[np.uint8], cell: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The nearest background of each picture and whether it is near enough, from the rings around the cells."""
    ring = np.zeros((cell, cell), bool)
    ring[[0, -1]] = ring[:, [0, -1]] = True
    where = np.flatnonzero(np.repeat(ring.reshape(-1), 3))
    pixels = cells[:, :, where].reshape(len(batch), -1, 3).astype(np.int64)
    total, squares, count = pixels.sum(1), (pixels**2).sum((1, 2)), pixels.shape[1]
    grounds = np.array([GROUND[name] for name in BACKGROUNDS], np.int64)
    distance = squares[:, None] - 2 * total @ grounds.T + count * (grounds**2).sum(-1)
    nearest = distance.argmin(1)
    return nearest, distance[np.arange(len(batch)), nearest] <= 3 * count * TOLERANCE**2


def _read_cells(cells: NDArray[np.uint8], background: int, cell: int) -> NDArray[np.int64]:
    """Codes of cells [B, cells, values] over a known background; -1 where nothing known is near."""
    known, squares, exact = _templates(background, cell)
    values = cells.reshape(-1, cells.shape[-1]).astype(exact) - exact(_CENTRE)
    own = np.einsum("nd,nd->n", values, values).astype(np.float64)
    distance = own[:, None] - 2.0 * (values @ known).astype(np.float64) + squares
    nearest = distance.argmin(1)
    near = distance[np.arange(len(nearest)), nearest] <= cells.shape[-1] * TOLERANCE**2
    return np.where(near, nearest, -1).reshape(cells.shape[:2])


@lru_cache(maxsize=64)
def _templates(
    background: int, cell: int
) -> tuple[NDArray[np.floating], NDArray[np.float64], type[np.floating]]:
    """Known pictures as columns, their squared lengths, and the float type that adds them without rounding."""
    flat = cell_pictures(cell)[background].reshape(-1, 3 * cell**2).astype(np.int64) - _CENTRE
    exact = np.float32 if 3 * cell**2 * _CENTRE**2 < 2**24 else np.float64
    return np.ascontiguousarray(flat.T.astype(exact)), (flat**2).sum(1).astype(np.float64), exact
