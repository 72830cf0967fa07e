"""Picture files: named for their content, and opened with limits on all that others can make large."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING

import numpy as np

from editenv.types import Image

if TYPE_CHECKING:
    from PIL import Image as PILImage

MAX_PIXELS = 4096 * 4096
"""Height times width above which a picture is not decoded, where nothing else is asked for."""

MAX_BYTES = 64 << 20
"""Length above which a picture's file is not read: more than MAX_PIXELS uncompressed in RGB."""

MAX_FRAMES = 100
"""Frames above which an animation is refused; the first one is shown."""

MAX_SCANS = 32
"""Scans of a progressive JPEG that are decoded: each takes time for all pixels, and encoders write ten."""

FOLDER = "pictures"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def atomic_write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file beside its place and renames it when it is whole; an error leaves nothing behind."""
    with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            write(file)
            file.flush()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


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
        image = PILImage.fromarray(picture)
        atomic_write(path, lambda file: image.save(file, format="PNG", compress_level=6))
    return name


def read_png(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Reads a picture that lies in `folder`; its size is looked at before anything is decoded.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: the path leaves the folder or names no file; the file is no RGB PNG, is damaged, or has
            more than max_pixels pixels.
    """
    path = file_inside(folder, name)
    with opened(path, repr(name), ("PNG",), max_pixels) as image:
        if image.mode != "RGB":
            raise ValueError(f"it has mode {image.mode}, expected RGB of 8 bits a channel")
        return np.array(image)


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


@contextmanager
def opened(
    source: Path | BytesIO, name: str, formats: tuple[str, ...], max_pixels: int = MAX_PIXELS, head_only: bool = False
) -> Iterator[PILImage.Image]:
    """A picture, opened but not yet decoded; what Pillow raises until it is closed becomes a ValueError.

    Args:
        source: the file, or its bytes.
        name: how errors call it.
        formats: Pillow's names of the formats that may be met.
        max_pixels: largest height times width.
        head_only: nothing is going to be decoded, so the file need not be read.

    Raises:
        ValueError: it is damaged, of another format, has more than 8 bits a channel, MAX_FRAMES frames or
            max_pixels pixels.
    """
    from PIL import Image as PILImage

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd EXIF and the like
            warnings.simplefilter("error", PILImage.DecompressionBombWarning)
            if isinstance(source, Path) and "JPEG" in formats and not head_only:
                image = PILImage.open(_few_scans(source), formats=formats)
            else:
                image = PILImage.open(source, formats=formats)
        with image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(f"it has {width} x {height} pixels, expected {max_pixels} at most")
            if image.mode not in _MODES:
                raise ValueError(f"it has mode {image.mode}, expected 8 bits a channel")
            if image.format == "PNG" and _png_depth(source) > 8:
                raise ValueError("it has 16 bits a channel, expected 8")
            if (frames := getattr(image, "n_frames", 1)) > MAX_FRAMES:
                raise ValueError(f"it has {frames} frames, expected {MAX_FRAMES} at most")
            yield image
    except Exception as error:  # Pillow's readers raise all kinds of errors over damaged files.
        raise ValueError(f"{name} is no picture that can be used: {error}") from error


def _png_depth(source: Path | BytesIO) -> int:
    """Bits a channel, which stand in the 25th byte of a PNG; Pillow's mode does not tell of RGB with 16."""
    if isinstance(source, BytesIO):
        return source.getvalue()[24]
    with open(source, "rb") as file:
        return file.read(25)[24]


# What begins a segment or scan within the data of a scan: no stuffed byte, restart mark or filling.
_MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _few_scans(path: Path) -> Path | BytesIO:
    """A JPEG's bytes without the scans after MAX_SCANS, where it has more; anything else as it is."""
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            return path
        data = b"\xff\xd8" + file.read(MAX_BYTES)
    place, scans = 2, 0
    while mark := _MARK.search(data, place):
        place, kind = mark.end(), data[mark.end() - 1]
        if kind == 0xD9:
            break
        scans += kind == 0xDA
        if scans > MAX_SCANS:
            return BytesIO(data[: mark.start()] + b"\xff\xd9")
        place += int.from_bytes(data[place : place + 2], "big")
    return path
