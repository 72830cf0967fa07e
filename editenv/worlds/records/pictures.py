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


FITS = ("letterbox", "squash")
"""How a picture fits another shape: whole with MARGIN beside it, or stretched."""


def fit_picture(picture: Image, shape: tuple[int, int], fit: str = "letterbox") -> Image:
    """The whole picture as uint8 [*shape, 3], by Pillow's LANCZOS.

    Args:
        picture: uint8 [H, W, 3].
        shape: height and width.
        fit: one of FITS: scaled until it touches two sides, or both sides scaled, each by itself.
    """
    height, width = shape
    tall, wide = picture.shape[:2]
    if (tall, wide) == shape:
        return picture
    inner = shape
    if fit == "letterbox":
        by_width = tall * width <= wide * height
        inner = (
            (max(1, round(tall * width / wide)), width) if by_width else (height, max(1, round(wide * height / tall)))
        )
    scaled = np.array(PILImage.fromarray(picture).resize((inner[1], inner[0]), PILImage.Resampling.LANCZOS))
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = MARGIN
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = scaled
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
