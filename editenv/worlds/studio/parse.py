"""Recovers scenes from pixels alone, by comparing every cell with every picture a cell can show.

Strict on purpose: blends, halos and tints that a tolerant parser lets pass are what a trained agent finds first. One
mixture is read all the same: halfway between a red and a yellow object lies an orange one.

The tolerance: a cell shows an object, or nothing, when of its difference from that object's drawn picture, in levels
of 255,

- the root of the mean square is at most 7 (`TOLERANCE`), and in small cells less than half the distance of
  the two closest pictures (`cell_tolerance`): no cell is near to two;
- no channel of a pixel is off by more than 37 (`PIXEL`), as it would be in a dot or a thin line;
- no channel is off by more than 24 on average over any 3 x 3 pixels (`WINDOW`), as it would be in a blob;
- every other picture is clearly further: its squared distance is larger by half the squared distance of the
  two pictures or more. In other words, no other one has a share of more than a quarter (`SHARE`) in the cell,
  as it would in a blend of two.

Otherwise the cell is unreadable. Noise of decoded latents stays inside, up to a noise of 0.2 on the shipped
autoencoder's latents, which is as much as the window's bound allows. So a blob of 3 x 3 pixels, 24 levels off the
ground, still passes for nothing.

The background is read where no object is: from the outermost ring of pixels of each cell, and from the margin that no
cell covers. It is the one that more than half of the rings show (root mean square at most 7); where there is none,
nothing can be read. It counts as unreadable itself where any ring or the margin is off by more than twice that
(`SPOT`), or a pixel of the margin by more than `PIXEL`.

All sums are of integers, so that whoever compares anew comes to the same answer: `editenv.rewards.residual` applies
this tolerance in code of its own.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from editenv.types import Image
from editenv.worlds.studio.render import GROUND, cell_pictures
from editenv.worlds.studio.scene import BACKGROUNDS, Scene, all_objects, scene_from_codes

TOLERANCE = 7.0  # largest root-mean-square distance, in levels, at which a cell or ring is still read
SPOT = 2 * TOLERANCE  # the same for the worst ring, or the margin, of a background that is read
PIXEL = 37  # largest difference of a channel of one pixel, in levels
WINDOW = 24  # largest mean difference of a channel over 3 x 3 pixels, in levels
SHARE = 0.25  # largest share of another picture in what is read as one

Bytes, Codes, Mask = NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]

_SIDE = 3
_APART = 0.49
_CENTRE = 128  # pixels are centred so that sums of products stay small enough to be exact in float32
_SHAPES = slice(0, next(obj.code for obj in all_objects() if obj.text))
_SIGNS = slice(_SHAPES.stop, 1 + len(all_objects()))
_GROUNDS = np.array([GROUND[name] for name in BACKGROUNDS], np.float64)


def parse(pictures: Sequence[Image], grid: int) -> list[Scene]:
    """Scenes of a batch of pictures; what cannot be read is UNREADABLE in its place.

    All sums are sums of integers that floats hold exactly, so a result never depends on the batch around it.

    Args:
        pictures: uint8 [H, W, 3] each, all of one square size; ValueError where one is not.
        grid: cells a side.
    """
    if not len(pictures):
        return []
    size = len(pictures[0])
    for number, picture in enumerate(pictures):
        if picture.dtype != np.uint8 or picture.shape != (size, size, 3):
            came = f"{picture.dtype} {picture.shape}"
            raise ValueError(f"picture {number} is {came}, expected uint8 ({size}, {size}, 3)")
    batch = np.asarray(pictures)
    cell = size // grid
    start, covered = (size - grid * cell) // 2, grid * cell
    inner = batch[:, start : start + covered, start : start + covered]
    cells = inner.reshape(-1, grid, cell, grid, cell, 3).swapaxes(2, 3).reshape(len(batch), grid**2, -1)
    margin = batch[:, _outside(size, start, covered)] if covered < size else batch[:, :0, 0]
    codes, drawn = _read_drawn(cells, margin, cell)
    if not drawn.all():
        rest = np.flatnonzero(~drawn)
        codes[rest] = _read_near(cells[rest], margin[rest], cell)
    return [scene_from_codes(row) for row in codes.tolist()]


@lru_cache(maxsize=16)
def _outside(size: int, start: int, covered: int) -> Mask:
    """The pixels [size, size] that no cell covers."""
    outside = np.ones((size, size), bool)
    outside[start : start + covered, start : start + covered] = False
    return outside


def _read_drawn(cells: Bytes, margin: Bytes, cell: int) -> tuple[Codes, Mask]:
    """Looks up pictures that are to the last bit as they are drawn, so that nothing has to be compared.

    Args:
        cells: [B, cells, values].
        margin: pixels [B, pixels, 3] that no cell covers.
        cell: side of a cell in pixels.

    Returns:
        Codes [B, 1 + cells] as `_read_near` would find them, and which rows [B] hold them.
    """
    grounds = (cells[:, 0, None, :3] == _GROUNDS).all(-1)
    drawn = grounds.any(1)
    codes = np.zeros((len(cells), 1 + cells.shape[1]), np.int64)
    codes[:, 0] = grounds.argmax(1)
    if margin.shape[1]:
        drawn &= (margin == _GROUNDS[codes[:, 0], None]).all((1, 2))
    if not drawn.any():
        return codes, drawn
    bare = cell_pictures(cell)[codes[:, 0], 0].reshape(len(cells), 1, -1)
    wide = np.uint64 if cells.shape[-1] % 8 == 0 else np.uint8  # fewer values to compare
    rows, places = np.nonzero((cells.view(wide) != bare.view(wide)).any(-1) & drawn[:, None])
    known = [_drawn(cell, background) for background in codes[rows, 0].tolist()]
    faces = zip(known, cells[rows, places], strict=True)
    found = np.array([codes_of.get(face.tobytes(), -1) for codes_of, face in faces], np.int64)
    codes[rows, 1 + places] = found
    drawn[rows[found < 0]] = False
    return codes, drawn


@lru_cache(maxsize=128)
def _drawn(cell: int, background: int) -> dict[bytes, int]:
    """What is read where a cell shows just one of the known pictures: codes by the picture's bytes."""
    pictures = _rows(background, cell)[None]
    codes = _read_cells(pictures, np.array([background]), cell)[0]
    return {face.tobytes(): code for face, code in zip(pictures[0], codes.tolist(), strict=True)}


def _read_near(cells: Bytes, margin: Bytes, cell: int) -> Codes:
    """Codes [B, 1 + cells] of the backgrounds and objects that are near, -1 where none is.

    A picture's background is the one that most of the rings around its cells show. Where not more than half of them
    do, no cell can be read: a tint may bring a ground so close to another background that objects of the tint's own
    colour would look right.
    """
    rings = cells.take(_ring(cell), axis=2).astype(np.float64)
    values = rings.shape[2]
    bare = np.tile(_GROUNDS, values // 3)
    own = np.einsum("bcv,bcv->bc", rings, rings)
    distance = own[..., None] - 2 * (rings @ bare.T) + (bare**2).sum(1)
    showing = (distance <= values * TOLERANCE**2).sum(1)
    found, rows = showing.argmax(1), np.arange(len(cells))
    near = (distance[rows, :, found] <= values * SPOT**2).all(1)
    if margin.shape[1]:
        off = margin - _GROUNDS[found, None]
        near &= (np.abs(off).max((1, 2)) <= PIXEL) & ((off**2).mean((1, 2)) <= SPOT**2)
    known = 2 * showing[rows, found] > cells.shape[1]
    codes = np.empty((len(cells), 1 + cells.shape[1]), np.int64)
    codes[:, 0] = np.where(near & known, found, -1)
    codes[:, 1:] = np.where(known[:, None], _read_cells(cells, found, cell), -1)
    return codes


def _read_cells(cells: Bytes, backgrounds: Codes, cell: int) -> Codes:
    """Codes [B, cells] of cells [B, cells, values] over known backgrounds; -1 where nothing known is near.

    Most cells are empty to the last bit, which is quickly seen; the others are compared with every picture of a shape,
    and what is near to none with those of signs: no two pictures are near to one cell, so the order decides nothing.
    """
    bare = cell_pictures(cell)[backgrounds, 0].reshape(len(cells), 1, -1)
    shown = (cells != bare).any(-1)
    codes = np.zeros(cells.shape[:2], np.int64)
    for number in np.flatnonzero(np.bincount(backgrounds)).tolist():
        where = np.flatnonzero(shown & (backgrounds == number)[:, None])
        faces = cells.reshape(-1, cells.shape[-1])[where]
        found = _nearest(faces, number, cell, _SHAPES)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            signs = _nearest(faces[unknown], number, cell, _SIGNS)
            found[unknown] = np.where(signs < 0, -1, signs + _SHAPES.stop)
        near = np.flatnonzero(found >= 0)
        found[near[~within_tolerance(faces[near], found[near], number, cell)]] = -1
        codes.flat[where] = found
    return codes


def _nearest(cells: Bytes, background: int, cell: int, part: slice) -> Codes:
    """Places [N], in a part of the known pictures, of what cells [N, values] show, -1 if none is near."""
    known, squares = _templates(background, cell, part.start, part.stop)
    values = cells.astype(known.dtype) - known.dtype.type(_CENTRE)
    own = np.einsum("nd,nd->n", values, values).astype(np.float64)
    distance = own[:, None] - 2.0 * (values @ known).astype(np.float64) + squares
    nearest = distance.argmin(1)
    near = distance[np.arange(len(nearest)), nearest] <= cells.shape[-1] * cell_tolerance(cell) ** 2
    return np.where(near, nearest, -1)


@lru_cache(maxsize=16)
def _ring(cell: int) -> Codes:
    """Places of the outermost pixels' values among a cell's values."""
    ring = np.ones((cell, cell, 3), bool)
    ring[1:-1, 1:-1] = False
    return np.flatnonzero(ring)


@lru_cache(maxsize=128)
def _templates(background: int, cell: int, start: int, stop: int) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    """Known pictures from code `start` on as columns, in floats that add without rounding; their squared lengths."""
    flat = _rows(background, cell)[start:stop].astype(np.int64) - _CENTRE
    exact = np.float32 if 3 * cell**2 * _CENTRE**2 < 2**24 else np.float64
    return np.ascontiguousarray(flat.T.astype(exact)), (flat**2).sum(1).astype(np.float64)


@lru_cache(maxsize=16)
def cell_tolerance(cell: int) -> float:
    """Largest distance at which a cell this many pixels wide is read, at most TOLERANCE."""
    closest = min(_between(background, cell).min() for background in range(len(BACKGROUNDS)))
    return min(TOLERANCE, _APART * float(np.sqrt(closest / (3 * cell**2))))


def within_tolerance(cells: Bytes, codes: Codes, background: int, cell: int) -> Mask:
    """Which cells [N, values] show the objects [N] over a background; bool [N]."""
    pictures, squares = _rows(background, cell), _between(background, cell)
    off = cells.astype(np.float64) - pictures[codes]
    worst = np.abs(off).max(1, initial=0)
    energy = np.einsum("nd,nd->n", off, off)
    found = (worst <= PIXEL) & (energy <= off.shape[1] * cell_tolerance(cell) ** 2)
    # No mean is further off than the worst pixel.
    doubtful = np.flatnonzero(found & (worst > WINDOW))
    total = np.pad(off[doubtful].reshape(-1, cell, cell, 3), ((0, 0), (1, 0), (1, 0), (0, 0))).cumsum(1).cumsum(2)
    rows = total[:, _SIDE:] - total[:, :-_SIDE]
    windows = np.abs(rows[:, :, _SIDE:] - rows[:, :, :-_SIDE]).max((1, 2, 3), initial=0)
    found[doubtful] = windows <= WINDOW * _SIDE**2
    # No share is larger than the difference, compared with the way to the closest picture.
    left = np.flatnonzero(found & (energy > SHARE**2 * squares.min(1)[codes]))
    along = off[left] @ pictures.T.astype(np.float64)
    along -= np.take_along_axis(along, codes[left, None], 1)
    found[left] = (along <= SHARE * squares[codes[left]]).all(1)
    return found


def _rows(background: int, cell: int) -> Bytes:
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
