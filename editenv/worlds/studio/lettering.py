"""Signs: a panel with a word on it, drawn in whole numbers from a small bitmap font of our own (font.txt)."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

SUPERSAMPLING = 8
"""Sub-pixels a side of each pixel."""

_ROWS = 5
_HALF_WIDTH, _HALF_HEIGHT = 42, 34  # of a panel, in hundredths of a cell


def shrink(fine: NDArray[np.bool_], cell: int) -> NDArray[np.int64]:
    """How many sub-pixels of each pixel are True, int64 [cell, cell, 1], 0 to SUPERSAMPLING squared."""
    return fine.reshape(cell, SUPERSAMPLING, cell, SUPERSAMPLING).sum(axis=(1, 3))[..., None]


def lettering(text: str, cell: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A sign's panel and its letters.

    The word is as wide as the panel, a pixel of the font at each side left out, so short words have wide
    letters.

    Args:
        text: letters a to z.
        cell: side of the cell in pixels, at least 8.

    Returns:
        Sub-pixels of each pixel that the panel covers and that letters cover, int64 [cell, cell, 1] each; the
        outermost ring of pixels is bare.

    Raises:
        ValueError: the font lacks a letter.
    """
    fine = cell * SUPERSAMPLING
    half = [min(fine * share // 100, fine // 2 - SUPERSAMPLING) for share in (_HALF_HEIGHT, _HALF_WIDTH)]
    rows, columns = (slice(fine // 2 - width, fine // 2 + width) for width in half)
    bitmap = np.pad(word(text), 1)
    panel, inked = np.zeros((2, fine, fine), bool)
    panel[rows, columns] = True
    down, across = (np.arange(2 * w) * n // (2 * w) for w, n in zip(half, bitmap.shape, strict=True))
    inked[rows, columns] = bitmap[np.ix_(down, across)]
    return shrink(panel, cell), shrink(inked, cell)


def word(text: str) -> NDArray[np.bool_]:
    """A word's pixels, bool [5, columns], a bare column between letters."""
    font = _font()
    missing = sorted(set(text) - set(font))
    if missing or not text:
        raise ValueError(f"text is {text!r}, expected letters of the font, which has {''.join(font)}")
    gap = np.zeros((_ROWS, 1), bool)
    parts = [part for letter in text for part in (font[letter], gap)]
    return np.concatenate(parts[:-1], axis=1)


@lru_cache(maxsize=1)
def _font() -> dict[str, NDArray[np.bool_]]:
    """Each letter's pixels, bool [5, 3]."""
    lines = files(__package__).joinpath("font.txt").read_text(encoding="ascii").splitlines()[2:]
    letters = {name: rows for name, *rows in (line.split() for line in lines)}
    return {name: np.array([[mark == "#" for mark in row] for row in rows]) for name, rows in letters.items()}
