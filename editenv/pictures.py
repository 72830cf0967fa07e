"""Picture files: named for their content, and opened with limits on all that others can make large."""

from __future__ import annotations

import re
import struct
import warnings
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from editenv.files import atomic_write
from editenv.types import Image

MAX_PIXELS = 4096 * 4096
"""Height times width above which a picture is not decoded, where nothing else is asked for."""

MAX_BYTES = 64 << 20
"""Length above which a picture's file is not read: more than MAX_PIXELS uncompressed in RGB."""

MAX_FRAMES = 100
"""Frames above which an animation is refused; the first one is shown."""

MAX_CHUNKS = 20_000
"""Chunks of a PNG above which it is refused: Pillow takes a second for so many, encoders write 64 KiB into one."""

MAX_SCANS = 16
"""Scans of a progressive JPEG that are decoded: each takes time for all pixels, and encoders write ten."""

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def write_png(folder: Path, picture: Image) -> str:
    """Writes a picture below `folder` unless it is there; returns its path there, made from its content."""
    content = blake2b(repr(picture.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(picture).data)
    name = f"pictures/{content.hexdigest()}.png"
    if not (folder / name).exists():
        (folder / name).parent.mkdir(exist_ok=True)
        save_png(folder / name, picture)
    return name


def save_png(path: Path, picture: Image) -> None:
    """Writes a PNG, whole or not at all."""
    image = PILImage.fromarray(picture)
    atomic_write(path, lambda unfinished: image.save(unfinished, format="PNG", compress_level=6))


def read_png(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Reads a picture that `write_png` wrote, uint8 [H, W, 3].

    Raises:
        ValueError: as `load_picture`, or the file is no RGB PNG.
    """
    with opened(file_inside(folder, name), repr(name), ("PNG",), max_pixels) as image:
        if image.mode != "RGB":
            raise ValueError(f"it has mode {image.mode}, expected RGB of 8 bits a channel")
        return np.array(image)


_PREFIX = "data:image/png;base64,"


def data_url(picture: Image) -> str:
    """A picture, uint8 [H, W, 3], as a PNG data URL; nothing is lost."""
    file = BytesIO()
    PILImage.fromarray(picture).save(file, format="PNG")
    return _PREFIX + b64encode(file.getvalue()).decode()


def picture_from_url(url: str) -> Image:
    """The inverse of data_url.

    Raises:
        ValueError: the URL holds no PNG picture of at most MAX_BYTES and MAX_PIXELS.
    """
    if not url.startswith(_PREFIX):
        raise ValueError(f"picture's URL begins with {url[:30]!r}, expected {_PREFIX!r}")
    data = url[len(_PREFIX) :]
    if len(data) > MAX_BYTES * 4 // 3:
        raise ValueError(f"picture's URL has {len(data)} characters, expected {MAX_BYTES * 4 // 3} at most")
    try:
        content = BytesIO(b64decode(data, validate=True))
    except Base64Error as error:
        raise ValueError(f"picture's URL holds no readable PNG: {error}") from error
    with opened(content, "picture's URL", ("PNG",)) as image:
        return np.array(image.convert("RGB"))


def file_inside(folder: Path, name: str) -> Path:
    """The path of a plain file of at most MAX_BYTES inside of the folder, links followed; ValueError if none is."""
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd EXIF and the like
            warnings.simplefilter("error", PILImage.DecompressionBombWarning)
            png_exif(source)  # refuses too many chunks
            if "JPEG" in formats and not head_only:
                image = PILImage.open(_few_scans(source), formats=formats)
            else:
                image = PILImage.open(source, formats=formats)
        with image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(f"it has {width} x {height} pixels, expected {max_pixels} at most")
            if image.mode not in _MODES:
                raise ValueError(f"it has mode {image.mode}, expected 8 bits a channel")
            # Pillow's mode does not tell of RGB with 16 bits a channel.
            if image.format == "PNG" and _head(source, 25)[24] > 8:
                raise ValueError("it has 16 bits a channel, expected 8")
            if (frames := getattr(image, "n_frames", 1)) > MAX_FRAMES:
                raise ValueError(f"it has {frames} frames, expected {MAX_FRAMES} at most")
            yield image
    except Exception as error:  # Pillow's readers raise all kinds of errors over damaged files.
        raise ValueError(f"{name} is no picture that can be used: {error}") from error


def _head(source: Path | BytesIO, length: int) -> bytes:
    if isinstance(source, BytesIO):
        return source.getvalue()[:length]
    with open(source, "rb") as file:
        return file.read(length)


# What begins a segment or scan within the data of a scan: no stuffed byte, restart mark or filling.
_MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _few_scans(path: Path | BytesIO) -> Path | BytesIO:
    """A JPEG's bytes without the scans after MAX_SCANS, where it has more; anything else as it is."""
    if _head(path, 2) != b"\xff\xd8":
        return path
    data, place, scans = _head(path, MAX_BYTES), 2, 0
    while mark := _MARK.search(data, place):
        place, kind = mark.end(), data[mark.end() - 1]
        if kind == 0xD9:
            break
        scans += kind == 0xDA
        if scans > MAX_SCANS:
            return BytesIO(data[: mark.start()] + b"\xff\xd9")
        if kind not in (0x01, 0xD8):  # these two have no length
            place += int.from_bytes(data[place : place + 2], "big")
    return path


def png_exif(source: Path | BytesIO) -> bytes:
    """The EXIF of a PNG, empty where it has none or is no PNG; ValueError for one of too many chunks.

    Pillow would decode the whole picture to look for it behind the pixels.
    """
    with open(source, "rb") if isinstance(source, Path) else BytesIO(source.getbuffer()) as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return b""
        for _ in range(MAX_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                return b""
            length, name = struct.unpack(">I4s", head)
            if name == b"eXIf":
                return file.read(length)
            file.seek(length + 4, 1)
    raise ValueError(f"it has more than {MAX_CHUNKS} chunks")
