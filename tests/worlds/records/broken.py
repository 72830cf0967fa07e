"""A list of broken sessions files: how each is made from a good one, and what its error has to say."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.worlds.records.handmade import MEMORY, SINGLE, records

BAD = "source_image/bad.png"
GOOD = json.dumps(SINGLE).encode()


def png(width: int, height: int, data: bytes = b"", depth: int = 8, kind: int = 2, more: bytes = b"") -> bytes:
    """A PNG whose head promises width x height pixels, whatever its data holds."""
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND")


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def saved(kind: str, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> bytes:
    """A small picture's bytes in a format of Pillow's."""
    data = BytesIO()
    Image.new(mode, size).save(data, kind)
    return data.getvalue()


def line(text: bytes | str) -> Callable[[Path], bytes]:
    """A file whose second line is this."""
    raw = text if isinstance(text, bytes) else text.encode()
    return lambda folder: GOOD + b"\n" + raw + b"\n" + GOOD


def whole(text: bytes) -> Callable[[Path], bytes]:
    """A file of nothing but this."""
    return lambda folder: text


def key(name: str, value: Any, base: dict[str, Any] = MEMORY) -> Callable[[Path], bytes]:
    """A second record with another value of a key."""
    return line(json.dumps(base | {name: value}))


def lacking(name: str) -> Callable[[Path], bytes]:
    """A second record without a key."""
    return line(json.dumps({k: v for k, v in MEMORY.items() if k != name}))


def picture(content: bytes) -> Callable[[Path], bytes]:
    """A second record whose picture's file holds this."""

    def build(folder: Path) -> bytes:
        (folder / BAD).write_bytes(content)
        return line(json.dumps(SINGLE | {"image": BAD}))(folder)

    return build


def place(make: Callable[[Path], Any], image: str = BAD) -> Callable[[Path], bytes]:
    """A second record whose picture's place is made by a function of it."""

    def build(folder: Path) -> bytes:
        (folder / BAD).parent.mkdir(exist_ok=True)
        make(folder / BAD)
        return line(json.dumps(SINGLE | {"image": image}))(folder)

    return build


def long_file(path: Path) -> None:
    """A file longer than any picture, which takes no room on the disk."""
    with open(path, "wb") as file:
        file.truncate(65 << 20)


TEXT = json.dumps(records()[0])
NO_JSON, NO_PICTURE = "line 2: no valid JSON", "is no picture that can be used"

LINES = {
    "empty file": (whole(b""), "is empty, expected one session a line"),
    "one blank line": (whole(b"\n"), "line 1: the line is blank"),
    "blank line between": (line(""), "line 2: the line is blank"),
    "blanks between": (line(" \t "), "line 2: the line is blank"),
    "half a record": (line(TEXT[:90]), NO_JSON),
    "two records in a line": (line(TEXT + TEXT), NO_JSON),
    "comma after a record": (line(TEXT + ","), NO_JSON),
    "no quotation marks": (line("{image: 1}"), NO_JSON),
    "single quotation marks": (line(str(SINGLE)), NO_JSON),
    "a comment": (line("// session"), NO_JSON),
    "a list": (line(f"[{TEXT}]"), "line 2: JSON is a list, expected an object"),
    "a text": (line('"session"'), "line 2: JSON is a str, expected an object"),
    "a number": (line("7"), "line 2: JSON is a int, expected an object"),
    "null": (line("null"), "line 2: JSON is a NoneType, expected an object"),
    "an empty object": (line("{}"), "line 2: key 'image' is missing"),
    "an array of records in one file": (whole(json.dumps(records(), indent=1).encode()), "line 1: no valid JSON"),
    "not a number": (line('{"turns": NaN}'), "'NaN' is no JSON number"),
    "infinity": (line('{"turns": -Infinity}'), "'-Infinity' is no JSON number"),
    "a float without end": (line('{"turns": 1e999}'), "'1e999' is no JSON number"),
    "a number of 5000 digits": (line('{"turns": ' + "9" * 5000 + "}"), NO_JSON),
    "deep lists": (line("[" * 200_000), NO_JSON),
    "deep objects": (line('{"a":' * 200_000), NO_JSON),
    "deep lists in a key": (line('{"image": ' + "[" * 5000 + "]" * 5000 + "}"), "line 2: "),
    "a key twice": (line('{"turns": 3, "turns": 2}'), "key 'turns' is given twice"),
    "a NUL byte": (line(b'{"image": "a\0b"}'), NO_JSON),
    "NUL bytes alone": (line(b"\0" * 99), NO_JSON),
    "a line break in a text": (line(TEXT.replace("Remove", "Re\nmove")), NO_JSON),
    "latin-1": (line('{"image": "caf\xe9"}'.encode("latin-1")), "line 2: the line is no UTF-8: byte 14"),
    "a cut character": (line('{"image": "街'.encode()[:-1]), "line 2: the line is no UTF-8"),
    "an encoded surrogate": (line(b'{"image": "\xed\xa0\x80"}'), "line 2: the line is no UTF-8"),
    "an overlong slash": (line(b'{"image": "\xc0\xaf"}'), "line 2: the line is no UTF-8"),
    "UTF-8 with a mark": (whole(b"\xef\xbb\xbf" + GOOD), "line 1: the file begins with a byte order mark"),
    "UTF-16": (whole(GOOD.decode().encode("utf-16")), "line 1: the file begins with UTF-16's mark"),
    "UTF-16 without a mark": (whole(GOOD.decode().encode("utf-16-le")), "line 1: no valid JSON"),
    "UTF-32": (whole(GOOD.decode().encode("utf-32-be")), "line 1: no valid JSON"),
    "compressed": (whole(b"\x1f\x8b\x08\x00" + zlib.compress(GOOD)), "line 1: the line is no UTF-8"),
    "a picture": (whole(png(8, 8)), "line 1: the line is no UTF-8"),
    "a very long line": (line(b" " * (5 << 20)), "line 2: the line is longer than 4194304 bytes"),
    "a long unknown key": (line('{"' + "k" * 100_000 + '": 1}'), "line 2: key 'image' is missing"),
}
KEYS = {
    **{f"no {name}": (lacking(name), f"line 2: key '{name}' is missing") for name in MEMORY},
    "an unknown key": (key("caption", "x"), "key 'caption' is not known"),
    "a long unknown key more": (key("k" * 9000, "x"), "is not known"),
    "turns as text": (key("turns", "3"), "key 'turns' is '3', expected a whole number"),
    "turns as float": (key("turns", 3.0), "key 'turns' is 3.0, expected a whole number"),
    "turns true": (key("turns", True), "key 'turns' is True, expected a whole number"),
    "turns null": (key("turns", None), "key 'turns' is None, expected a whole number"),
    "no turns at all": (key("turns", 0), "key 'turns' is 0, expected 1 or more"),
    "negative turns": (key("turns", -3), "key 'turns' is -3, expected 1 or more"),
    "too many turns": (key("turns", 10**12), "key 'turns' is 1000000000000, expected 1000 at most"),
    "one turn less": (key("turns", 2), "key 'instruction' has 3 entries, expected 2"),
    "instruction null": (key("instruction", None), "key 'instruction' is None, expected a list"),
    "instruction of numbers": (key("instruction", [1, 2, 3]), "key 'instruction[0]' is 1, expected a text"),
    "instruction of lists": (key("instruction", [["a"]] * 3), "key 'instruction[0]' is ['a'], expected a text"),
    "a blank instruction": (key("instruction", ["a", "\u3000", "c"]), "key 'instruction[1]' is blank"),
    "half a surrogate pair": (key("instruction", ["a", "\udc80", "c"]), "key 'instruction[1]' is no text that UTF-8"),
    "an unknown task": (key("task_type", ["add"] * 3), "key 'task_type[0]' is 'add', expected one of subject_add"),
    "a task in capitals": (key("task_type", ["SUBJECT_ADD"] * 3), "key 'task_type[0]' is 'SUBJECT_ADD'"),
    "tasks missing": (key("task_type", []), "key 'task_type' has 0 entries, expected 3"),
    "a formatted number": (key("formatted_instruction", ["a", 4, "c"]), "key 'formatted_instruction[1]' is 4"),
    "background as number": (key("bg_consistency", [1, 0, 1]), "key 'bg_consistency[0]' is 1, expected true or false"),
    "background as text": (key("bg_consistency", ["true"] * 3), "key 'bg_consistency[0]' is 'true'"),
    "objects not nested": (key("all_objects", ["a", "b", "c"]), "key 'all_objects[0]' is 'a', expected a list"),
    "objects nested twice": (key("all_objects", [[["a"]]] * 3), "key 'all_objects[0][0]' is ['a'], expected a text"),
    "objects as object": (key("all_objects", {"0": []}), "key 'all_objects' is {'0': []}, expected a list"),
    "an object blank": (key("unchanged_objects", [[""], [], []]), "key 'unchanged_objects[0][0]' is blank"),
    "an object null": (key("available_objects", [[None], [], []]), "key 'available_objects[0][0]' is None"),
    "single turn with turns": (key("turns", 1, SINGLE), "key 'turns' stands beside an instruction that is a text"),
    "single turn in a list": (key("task_type", ["color_alter"], SINGLE), "key 'task_type[0]' is ['color_alter']"),
    "a meaning that is none": (key("editenv", 5), "key 'editenv' is 5, expected an object"),
    "a meaning in one line only": (key("editenv", {}), "key 'editenv': "),
}
PLACES = {
    "image a number": (key("image", 5), "key 'image' is 5, expected a text"),
    "image blank": (key("image", "  "), "key 'image' is blank"),
    "image a list": (key("image", ["a.png"]), "key 'image' is ['a.png'], expected a text"),
    "an absolute path": (key("image", "/etc/passwd"), "expected a relative path without '..'"),
    "a path upwards": (key("image", "../x.png"), "expected a relative path without '..'"),
    "a path down and up": (key("image", "source_image/../../x.png"), "expected a relative path without '..'"),
    "a path with backslashes": (key("image", "source_image\\..\\..\\x.png"), "expected a relative path without"),
    "a drive": (key("image", "C:/x.png"), "expected a relative path without '..'"),
    "a share": (key("image", "\\\\host\\x.png"), "expected a relative path without '..'"),
    "a NUL in a path": (key("image", "a\0.png"), "expected a relative path without '..'"),
    "a web address": (key("image", "https://example.org/x.png", SINGLE), "is no file in the records' folder"),
    "nothing there": (key("image", "source_image/none.png", SINGLE), "is no file in the records' folder"),
    "a folder": (place(Path.mkdir), "is no file in the records' folder"),
    "the folder itself": (key("image", ".", SINGLE), "is no file in the records' folder"),
    "a pipe": (place(os.mkfifo), "is no file in the records' folder"),
    "a link outwards": (place(lambda path: path.symlink_to("/etc/hostname")), "lies outside of the records' folder"),
    "a link to a device": (place(lambda path: path.symlink_to("/dev/zero")), "lies outside of the records' folder"),
    "a folder linked outwards": (
        place(lambda path: path.symlink_to("/etc"), f"{BAD}/hostname"),
        "lies outside of the records' folder",
    ),
    "a link to itself": (place(lambda path: path.symlink_to(path.name)), "is no usable path"),
    "a link to nothing": (place(lambda path: path.symlink_to("gone.png")), "is no file in the records' folder"),
    "a name too long": (key("image", "x" * 5000, SINGLE), "key 'image': "),
    "a path too deep": (key("image", "x/" * 3000 + "x", SINGLE), "key 'image': "),
    "a file as a folder": (key("image", f"{SINGLE['image']}/x.png", SINGLE), "key 'image': "),
    "a file too long": (place(long_file), "has 68157440 bytes, expected 67108864 at most"),
}
PICTURES = {
    "no bytes": (picture(b""), NO_PICTURE),
    "a web page": (picture(b"<html>404</html>"), NO_PICTURE),
    "text of a large file's pointer": (picture(b"version https://git-lfs.github.com/spec/v1\n"), NO_PICTURE),
    "a GIF": (picture(saved("GIF", "P")), NO_PICTURE),
    "a BMP": (picture(saved("BMP")), NO_PICTURE),
    "a TIFF": (picture(saved("TIFF")), NO_PICTURE),
    "an icon": (picture(saved("ICO", size=(16, 16))), NO_PICTURE),
    "a PPM": (picture(saved("PPM")), NO_PICTURE),
    "an SVG": (picture(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"), NO_PICTURE),
    "16 bits a channel": (picture(saved("PNG", "I;16")), "it has mode I;16, expected 8 bits a channel"),
    "a truncated PNG": (picture(saved("PNG")[:-30]), NO_PICTURE),
    "a PNG cut in its head": (picture(saved("PNG")[:20]), NO_PICTURE),
    "a PNG with a wrong sum": (picture(saved("PNG")[:50] + b"\0" + saved("PNG")[51:]), NO_PICTURE),
    "a PNG without data": (picture(png(8, 8)), NO_PICTURE),
    "a PNG of no width": (picture(png(0, 8)), NO_PICTURE),
    "a PNG of 25 megapixels": (picture(png(5000, 5000)), "pixels, expected 16777216 at most"),
    "a PNG of 100 megapixels": (picture(png(10_000, 10_000)), NO_PICTURE),
    "a PNG of ten gigapixels": (picture(png(100_000, 100_000)), NO_PICTURE),
    "a PNG of 2^31 pixels a side": (picture(png(2**31 - 1, 2**31 - 1)), NO_PICTURE),
    "a PNG a pixel high": (picture(png(2**31 - 1, 1)), NO_PICTURE),
    "a bomb of a profile": (
        picture(png(8, 8, bytes(200), more=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(64 << 20))))),
        NO_PICTURE,
    ),
    "a bomb of a comment": (
        picture(png(8, 8, bytes(200), more=chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(64 << 20))))),
        NO_PICTURE,
    ),
    "a truncated JPEG": (picture(saved("JPEG", size=(64, 64))[:-200]), NO_PICTURE),
    "a JPEG's first bytes": (picture(b"\xff\xd8\xff\xe0"), NO_PICTURE),
    "a truncated WebP": (picture(saved("WEBP")[:-8]), NO_PICTURE),
    "a WebP's first bytes": (picture(b"RIFF\xff\xff\xff\xffWEBPVP8L"), NO_PICTURE),
    "an archive": (picture(b"PK\x03\x04" + bytes(60)), NO_PICTURE),
}
FILES: dict[str, tuple[Callable[[Path], bytes], str]] = {**LINES, **KEYS, **PLACES, **PICTURES}
"""What each file holds, made from an empty folder's path, and what its error has to say."""
