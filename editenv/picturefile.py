"""PNG files of pictures: named for their content, and read with care."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from editenv.types import Image

MAX_PIXELS = 4096 * 4096
"""Height times width above which a picture is not decoded, where nothing else is asked for."""

MAX_BYTES = 64 << 20
"""Length above which a picture's file is not read: more than MAX_PIXELS uncompressed in RGB."""

FOLDER = "pictures"


def write_png(folder: Path, picture: Image) -> str:
    """Writes a picture under `folder` unless it is there already.

    Args:
        folder: where the records lie.
        picture: uint8 [H, W, 3].

    Returns:
        Its path relative to `folder`, made from shape and pixels alone.
    """
    from PIL import Image as PILImage

    content = blake2b(repr(picture.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(picture).data)
    name = f"{FOLDER}/{content.hexdigest()}.png"
    path = folder / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        # Renamed into place, so that a reader or a second writer never meets half a file.
        with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            PILImage.fromarray(picture).save(file, format="PNG", compress_level=6)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    return name


def read_png(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Reads a picture that lies in `folder`; its size is looked at before anything is decoded.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: the path leaves the folder or names no file; the file is no RGB PNG, is damaged, or has
            more than max_pixels pixels.
    """
    from PIL import Image as PILImage

    path = file_inside(folder, name)
    try:
        with PILImage.open(path, formats=["PNG"]) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(f"{name!r} has {width} x {height} pixels, expected {max_pixels} at most")
            if image.mode != "RGB":
                raise ValueError(f"{name!r} has mode {image.mode}, expected RGB of 8 bits a channel")
            return np.array(image)
    except (OSError, SyntaxError, PILImage.DecompressionBombError) as error:
        raise ValueError(f"{name!r} is no readable PNG picture: {error}") from error


def file_inside(folder: Path, name: str) -> Path:
    """The path of a plain file of at most MAX_BYTES inside of the folder, links followed.

    Raises:
        ValueError: the path leaves the folder, names no file, or the file is too long.
    """
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"{name!r} lies outside of the records' folder")
        if not path.is_file():
            raise ValueError(f"{name!r} is no file in the records' folder")
        if (length := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"{name!r} has {length} bytes, expected {MAX_BYTES} at most")
    except (OSError, RuntimeError) as error:
        # RuntimeError is what pathlib makes of a link that leads to itself.
        raise ValueError(f"{name!r} is no usable path: {error}") from error
    return path
