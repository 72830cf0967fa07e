"""Texts as numbers of the studio's words, in arrays of a fixed length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editenv.worlds.studio.language import tokens, vocabulary

PADDING, UNKNOWN = 0, 1
"""Ids of what stands behind a text's end, and of a word that no sentence of the training split holds."""

_SPECIAL = ("", "?")


class WordIds:
    """Numbers words and marks; the same vocabulary gives the same numbers.

    Args:
        length: words a text may have; longer texts lose their end.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"token count is {length}, expected 1 or more")
        self.length = length
        self.words = _SPECIAL + vocabulary()
        self._ids = {word: number for number, word in enumerate(self.words) if word not in _SPECIAL}

    def encode(self, text: str) -> NDArray[np.int32]:
        """A text as int32 [length]: ids from 1, then PADDING."""
        ids = np.full(self.length, PADDING, np.int32)
        known = [self._ids.get(word, UNKNOWN) for word in tokens(text)[: self.length]]
        ids[: len(known)] = known
        return ids

    def encode_all(self, texts: Sequence[str], rows: int) -> NDArray[np.int32]:
        """Texts one after another as int32 [rows * length], `length` ids each; missing ones padded.

        Raises:
            ValueError: there are more texts than rows.
        """
        if len(texts) > rows:
            raise ValueError(f"there are {len(texts)} texts, expected at most {rows}")
        ids = np.full((rows, self.length), PADDING, np.int32)
        for row, text in enumerate(texts):
            ids[row] = self.encode(text)
        return ids.reshape(-1)

    def decode(self, ids: Sequence[int] | NDArray[np.int32]) -> str:
        """The words of a text with blanks between them, "?" for unknown ones."""
        return " ".join(self.words[number] for number in ids if number != PADDING)
