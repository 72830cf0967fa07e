"""The tolerance: how far pixels may be from a drawn picture and still be read as what it shows.

A cell shows a thing, or nothing, when of its difference from that thing's drawn picture, in levels of 255,

- the root of the mean square is at most 7 (`TOLERANCE`), and in small cells less than half the distance of
  the two closest pictures (`cell_tolerance`): no cell is near to two;
- no channel of a pixel is off by more than 37 (`PIXEL`), as it would be in a dot or a thin line;
- no channel is off by more than 24 on average over any 3 x 3 pixels (`WINDOW`), as it would be in a blob;
- every other picture is clearly further: its squared distance is larger by half the squared distance of the
  two pictures or more. In other words, no other one has a share of more than a quarter (`SHARE`) in the cell,
  as it would in a blend of two.

Otherwise the cell is unreadable. Noise of decoded latents stays inside, up to a noise of 0.2 on the shipped
autoencoder's latents, which is as much as the window's bound allows. So a blob of 3 x 3 pixels, 24 levels off
the ground, still passes for nothing.

The background is read where no object is: from the outermost ring of pixels of each cell, and from the margin
that no cell covers. It is the one that more than half of the rings show (root mean square at most 7); where
there is none, nothing can be read. It counts as unreadable itself where any ring or the margin is off by more
than twice that (`SPOT`), or a pixel of the margin by more than `PIXEL`.

All sums are of integers, so that whoever compares anew comes to the same answer: `editenv.rewards.residual`
applies this tolerance in code of its own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.worlds.studio.render import cell_pictures

TOLERANCE = 7.0
"""Largest root-mean-square distance, in levels, at which a cell or ring is still read."""
SPOT = 2 * TOLERANCE
"""The same for the worst ring, or the margin, of a background that is read."""
PIXEL = 37
"""Largest difference of a channel of one pixel, in levels."""
WINDOW = 24
"""Largest mean difference of a channel over 3 x 3 pixels, in levels."""
SHARE = 0.25
"""Largest share of another picture in what is read as one."""

_SIDE = 3
_APART = 0.49


@lru_cache(maxsize=16)
def cell_tolerance(cell: int) -> float:
    """Largest distance at which a cell this many pixels wide is read, at most TOLERANCE."""
    closest = min(_between(background, cell).min() for background in range(len(cell_pictures(cell))))
    return min(TOLERANCE, _APART * float(np.sqrt(closest / (3 * cell**2))))


def alike(
    cells: NDArray[np.uint8], codes: NDArray[np.int64], background: int, cell: int
) -> NDArray[np.bool_]:
    """Which cells [N, values] show the things [N] over a background; bool [N]."""
    pictures = _rows(background, cell)
    squares = _between(background, cell)
    off = cells.astype(np.float64) - pictures[codes]
    worst = np.abs(off).max(1, initial=0)
    energy = np.einsum("nd,nd->n", off, off)
    found = (worst <= PIXEL) & (energy <= off.shape[1] * cell_tolerance(cell) ** 2)
    # No mean is further off than the worst pixel.
    doubtful = np.flatnonzero(found & (worst > WINDOW))
    found[doubtful] = _worst_window(off[doubtful].reshape(-1, cell, cell, 3)) <= WINDOW * _SIDE**2
    # No share is larger than the difference, compared with the way to the closest picture.
    left = np.flatnonzero(found & (energy > SHARE**2 * squares.min(1)[codes]))
    along = off[left] @ pictures.T.astype(np.float64)
    along -= np.take_along_axis(along, codes[left, None], 1)
    found[left] = (along <= SHARE * squares[codes[left]]).all(1)
    return found


def _worst_window(off: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest sum [N] of differences [N, cell, cell, 3] over a window, of any channel."""
    total = np.pad(off, ((0, 0), (1, 0), (1, 0), (0, 0))).cumsum(1).cumsum(2)
    rows = total[:, _SIDE:] - total[:, :-_SIDE]
    return np.abs(rows[:, :, _SIDE:] - rows[:, :, :-_SIDE]).max((1, 2, 3), initial=0)


def _rows(background: int, cell: int) -> NDArray[np.uint8]:
    """Every picture over a background as a row."""
    return cell_pictures(cell)[background].reshape(-1, 3 * cell**2)


@lru_cache(maxsize=64)
def _between(background: int, cell: int) -> NDArray[np.float64]:
    """Squared distances of each two pictures over a background, infinite of one to itself."""
    flat = _rows(background, cell).astype(np.float64)
    products = flat @ flat.T
    own = np.diag(products)
    squares = own[:, None] - 2 * products + own
    np.fill_diagonal(squares, np.inf)
    return squares
