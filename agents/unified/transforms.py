"""How BAGEL's code resizes pictures before its two encoders; a square of 512 pixels stays as it is for the latents."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from editenv.types import Image

MAX_PIXELS = 14 * 14 * 9 * 1024
"""A picture with more pixels is shrunk once more, in area."""


class Resize(NamedTuple):
    """Sides that are multiples of a stride, the longer at most `longest`, the shorter mostly `shortest` or more."""

    longest: int
    shortest: int
    stride: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing.

        Sides are rounded twice, to pixels and to the stride, half to even; the bound on pixels scales sides by the
        ratio of areas, not by its root; after the last shrinking the shorter side may be below `shortest`.
        """
        scale = max(min(self.longest / max(width, height), 1.0), self.shortest / min(width, height))
        width, height = self._scaled(width, height, scale)
        if width * height > MAX_PIXELS:
            width, height = self._scaled(width, height, MAX_PIXELS / (width * height))
        if max(width, height) > self.longest:
            width, height = self._scaled(width, height, self.longest / max(width, height))
        return width, height

    def _scaled(self, width: int, height: int, scale: float) -> tuple[int, int]:
        sides = (round(round(side * scale) / self.stride) * self.stride for side in (width, height))
        width, height = (max(self.stride, side) for side in sides)
        return width, height

    def __call__(self, image: Image) -> Image:
        """A picture [H, W, 3] uint8 at its new size, antialiased bicubic."""
        size = self.size(image.shape[1], image.shape[0])
        return resized(image, size)


class Transforms(NamedTuple):
    """Of both encoders: pictures are resized for the latents first, and the result for the vision encoder."""

    vae: Resize
    vit: Resize

    def vision_pixels(self, images: Tensor) -> Tensor:
        """Pictures as the autoencoder sees them, uint8 [B, H, W, 3], as the vision encoder does, [B, 3, h, w]."""
        from editenv.agents.unified.flux_autoencoder import normalised

        pictures = np.stack([self.vit(image) for image in images.cpu().numpy()])
        return normalised(torch.from_numpy(pictures).to(images.device))


def resized(image: Image, size: tuple[int, int]) -> Image:
    """A picture [H, W, 3] uint8 at a width and height, antialiased bicubic; the same one where nothing changes."""
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.array(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC))


def as_rgb(picture: PIL.Image.Image) -> Image:
    """uint8 [H, W, 3]: what is transparent lies on white, grey is repeated."""
    if picture.mode == "RGBA" or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        white = PIL.Image.new("RGB", clear.size, (255, 255, 255))
        white.paste(clear, mask=clear.getchannel("A"))
        return np.array(white)
    return np.array(picture.convert("RGB"))
