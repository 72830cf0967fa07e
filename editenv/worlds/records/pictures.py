"""Source pictures of records: looked at before they are decoded, turned upright, fitted to one size."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from editenv.picturefile import MAX_PIXELS, file_inside
from editenv.types import Image

if TYPE_CHECKING:
    from PIL import Image as PILImage

FORMATS = ("PNG", "JPEG", "WEBP")
MARGIN = (128, 128, 128)
"""Colour beside a picture that does not fill its canvas."""

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)


def picture_size(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of a picture in `folder` once it stands upright, from the file's head alone.

    Raises:
        ValueError: as `load_picture`, as far as the head tells.
    """
    with _opened(folder, name, max_pixels) as image:
        width, height = image.size
        return (width, height) if image.getexif().get(_ORIENTATION) in _ON_THEIR_SIDE else (height, width)


def load_picture(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Decodes a picture in `folder`, upright, what is transparent on white.

    Args:
        folder: which the picture may not lie outside of, links followed.
        name: its path below the folder.
        max_pixels: largest height times width that is decoded.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: there is no such file inside of the folder, it is damaged, none of FORMATS, has more than
            8 bits a channel or more than max_pixels pixels.
    """
    from PIL import Image as PILImage
    from PIL import ImageOps

    with _opened(folder, name, max_pixels) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            clear = upright.convert("RGBA")
            upright = PILImage.alpha_composite(PILImage.new("RGBA", clear.size, "white"), clear)
        return np.array(upright.convert("RGB"))


def fit_picture(picture: Image, size: int) -> Image:
    """The whole picture on a square canvas, scaled (LANCZOS) until it touches two sides, MARGIN beside it.

    Args:
        picture: uint8 [H, W, 3].
        size: side of the canvas in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    from PIL import Image as PILImage

    height, width = picture.shape[:2]
    if height == width == size:
        return picture
    longer = max(height, width)
    height, width = (max(1, round(side * size / longer)) for side in (height, width))
    scaled = np.array(PILImage.fromarray(picture).resize((width, height), PILImage.Resampling.LANCZOS))
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = MARGIN
    top, left = (size - height) // 2, (size - width) // 2
    canvas[top : top + height, left : left + width] = scaled
    return canvas


@contextmanager
def _opened(folder: Path, name: str, max_pixels: int) -> Iterator[PILImage.Image]:
    """The image, not yet decoded; what Pillow raises over a damaged file becomes a ValueError."""
    path = file_inside(folder, name)
    try:
        with _open(path) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(f"it has {width} x {height} pixels, expected {max_pixels} at most")
            if image.mode not in _MODES:
                raise ValueError(f"it has mode {image.mode}, expected 8 bits a channel")
            yield image
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise ValueError(f"{name!r} is no picture that can be used: {error}") from error


def _open(path: Path) -> PILImage.Image:
    """Opens a picture; what Pillow says of one that is far too large becomes a ValueError."""
    from PIL import Image as PILImage

    with warnings.catch_warnings():
        warnings.simplefilter("error", PILImage.DecompressionBombWarning)
        try:
            return PILImage.open(path, formats=FORMATS)
        except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning) as error:
            raise ValueError(str(error)) from error
