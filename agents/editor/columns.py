"""A context that grows by a column a turn, and whose rows may go on from what other rows have read."""

from __future__ import annotations

import torch
from torch import Tensor

from editenv.agents.unified import Context


class Columns:
    """What B rows have read in each column, all of them as many tokens.

    What a row has read in a column depends on what it followed there and stays as it is. So a row that goes
    on elsewhere takes the columns that it follows, of whichever rows, and no token is read again.

    Args:
        empty: a context that has read nothing.
    """

    def __init__(self, empty: Context) -> None:
        self.now = self._own = empty
        self._lengths: list[int] = []
        self._advances: list[Tensor] = []
        self._begun = (0, empty.position)

    def begin(self, rows: Tensor) -> None:
        """Begins a column, which `now` is to be grown by.

        Args:
            rows: int64 [B, columns so far], whose column each row follows; -1 where it follows none.
        """
        self._close(rows.shape[1])
        rows = rows.to(self._own.valid.device)
        if torch.equal(rows, torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows)):
            self.now = self._own
        else:
            self.now = self._taken(rows)
        self._begun = (self.now.length, self.now.position)

    def _close(self, columns: int) -> None:
        """Keeps the column that is over."""
        if len(self._lengths) == columns:
            return
        start, position = self._begun
        self._lengths.append(self.now.length - start)
        self._advances.append(self.now.position - position)
        if self.now is not self._own:
            self._own.append_from(self.now, start, self._advances[-1])

    def _taken(self, rows: Tensor) -> Context:
        own = torch.arange(len(rows), device=rows.device)[:, None]
        there = rows >= 0
        rows = rows.where(there, own)
        advances = torch.stack(self._advances, 1)
        position = (advances.gather(0, rows) * there).sum(1)
        lengths = torch.tensor(self._lengths, device=rows.device)
        of_tokens, known = (value.repeat_interleave(lengths, dim=1) for value in (rows, there))
        return self._own.regroup(of_tokens, known, position)
