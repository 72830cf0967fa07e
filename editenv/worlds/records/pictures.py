"""Source pictures of records: looked at before they are decoded, turned upright, fitted to one size."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from editenv.pictures import MAX_PIXELS, file_inside, opened, png_exif
from editenv.types import Image

FORMATS = ("PNG", "JPEG", "WEBP")
MARGIN = (128, 128, 128)
"""Colour beside a picture that does not fill its canvas."""

_ORIENTATION = 0x0112
_TURNS = PILImage.Transpose
_UPRIGHT = (
    None, _TURNS.FLIP_LEFT_RIGHT, _TURNS.ROTATE_180, _TURNS.FLIP_TOP_BOTTOM,
    _TURNS.TRANSPOSE, _TURNS.ROTATE_270, _TURNS.TRANSVERSE, _TURNS.ROTATE_90,
)  # fmt: skip
"""What stands a picture upright, by EXIF's orientation from 1."""


def picture_size(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of a picture in `folder` once it stands upright, from the file's head alone.

    Raises:
        ValueError: as `load_picture`, as far as the head tells.
    """
    path = file_inside(folder, name)
    with opened(path, repr(name), FORMATS, max_pixels, head_only=True) as image:
        width, height = image.size
        return (width, height) if _orientation(path, image) >= 5 else (height, width)


def load_picture(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Decodes a picture in `folder`, upright, what is transparent on white: uint8 [H, W, 3].

    Raises:
        ValueError: there is no such file inside of the folder, links followed; it is damaged, none of FORMATS,
            has more than 8 bits a channel or more than max_pixels pixels.
    """
    path = file_inside(folder, name)
    with opened(path, repr(name), FORMATS, max_pixels) as image:
        how = _UPRIGHT[_orientation(path, image) - 1]
        if image.has_transparency_data:
            clear = image.convert("RGBA")
            white = PILImage.new("RGBA", clear.size, "white")
            shown = PILImage.alpha_composite(white, clear).convert("RGB")
        else:
            shown = image.convert("RGB")
        return np.array(shown if how is None else shown.transpose(how))


def fit_picture(picture: Image, size: int) -> Image:
    """The whole picture on a canvas uint8 [size, size, 3], scaled until it touches two sides, MARGIN beside it."""
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


def _orientation(path: Path, image: PILImage.Image) -> int:
    """The orientation, 1 (upright) to 8, in a picture's EXIF; 1 where that is missing or unreadable."""
    # Pillow warns and raises in all kinds of ways over EXIF that is damaged.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exif = PILImage.Exif()
            if image.format == "PNG":
                exif.load(png_exif(path))
            else:
                exif = image.getexif()
            found = exif.get(_ORIENTATION, 1)
            return found if isinstance(found, int) and 1 <= found <= 8 else 1
        except Exception:
            return 1
