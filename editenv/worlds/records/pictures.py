"""Source pictures of records: looked at before they are decoded, turned upright, fitted to one size."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from editenv.picturefile import MAX_PIXELS, file_inside, opened
from editenv.types import Image

if TYPE_CHECKING:
    from PIL import Image as PILImage

FORMATS = ("PNG", "JPEG", "WEBP")
MARGIN = (128, 128, 128)
"""Colour beside a picture that does not fill its canvas."""

_ORIENTATION = 0x0112


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

    turns = PILImage.Transpose
    upright = (
        None, turns.FLIP_LEFT_RIGHT, turns.ROTATE_180, turns.FLIP_TOP_BOTTOM,
        turns.TRANSPOSE, turns.ROTATE_270, turns.TRANSVERSE, turns.ROTATE_90,
    )  # fmt: skip
    path = file_inside(folder, name)
    with opened(path, repr(name), FORMATS, max_pixels) as image:
        how = upright[_orientation(path, image) - 1]
        if image.has_transparency_data:
            clear = image.convert("RGBA")
            white = PILImage.new("RGBA", clear.size, "white")
            shown = PILImage.alpha_composite(white, clear).convert("RGB")
        else:
            shown = image.convert("RGB")
        return np.array(shown if how is None else shown.transpose(how))


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


def _orientation(path: Path, image: PILImage.Image) -> int:
    """The orientation, 1 (upright) to 8, in a picture's EXIF; 1 where that is missing or unreadable."""
    from PIL import Image as PILImage

    # Pillow warns and raises in all kinds of ways over EXIF that is damaged.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if image.format == "PNG":  # which Pillow decodes whole, to look for EXIF behind the pixels
                exif = PILImage.Exif()
                with open(path, "rb") as file:
                    exif.load(_png_chunk(file, b"eXIf"))
            else:
                exif = image.getexif()
            found = exif.get(_ORIENTATION, 1)
            return found if found in range(1, 9) else 1
        except Exception:
            return 1


def _png_chunk(file: BinaryIO, wanted: bytes) -> bytes:
    """What a PNG's chunk of a name holds, empty where it has none."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == wanted:
            return file.read(length)
        file.seek(length + 4, 1)
    return b""
