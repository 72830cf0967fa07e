"""What a context is made of: blocks of text, of image latents and of vision tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextBlock:
    """A block of text, the same length in every row; rows differ by padding.

    Attributes:
        ids: token ids, [B, L] int64.
        mask: True at real tokens, [B, L]; None when there is no padding. Padding may be on either side.
    """

    ids: Tensor
    mask: Tensor | None = None

    def to(self, device: torch.device | str) -> TextBlock:
        """The block on a device."""
        return TextBlock(self.ids.to(device), None if self.mask is None else self.mask.to(device))


@dataclass(frozen=True)
class ImageBlock:
    """A clean image, as latent tokens in row-major order.

    Attributes:
        latents: [B, N, C].
        grid: rows and columns with rows * columns = N; None for a square.
        present: False in rows that have no image here, [B]; None for all. Their tokens are never attended to
            and do not advance rope.
    """

    latents: Tensor
    grid: tuple[int, int] | None = None
    present: Tensor | None = None


@dataclass(frozen=True)
class VitBlock:
    """An image as vision tokens, already embedded in the model's width.

    Attributes:
        tokens: [B, N, H].
    """

    tokens: Tensor


Block = TextBlock | ImageBlock | VitBlock
