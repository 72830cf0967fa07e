"""A sessions file: its lines as records, every error with file and line."""

from __future__ import annotations

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editenv.jsonread import read_object, read_value
from editenv.worlds.records.session import RecordSpec, record_from_json

EXTRA = "editenv"
"""The one extra key, which exported studio sessions have."""

MAX_LINE_BYTES = 4 << 20
"""Length above which a line is not read: a thousand times a published one."""

PUBLISHED = "source_image"
"""Folder that all picture paths of the published files begin with."""

_LONGEST_MESSAGE = 2000
_MARKS = {BOM_UTF8: "a byte order mark", BOM_UTF16_LE: "UTF-16's mark", BOM_UTF16_BE: "UTF-16's mark"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sessions file.

    Attributes:
        number: of the line, from 1.
        record: the session.
        extra: the JSON object under the key "editenv", None where the line has none.
    """

    number: int
    record: RecordSpec
    extra: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SessionsFile:
    """A sessions file that was read; pictures lie below its folder.

    Attributes:
        path: of the file.
        lines: one or more, in order.
        folder: where the records' picture paths begin.
    """

    path: Path
    lines: tuple[Line, ...]
    folder: Path

    @property
    def longest_instruction(self) -> int:
        """Characters of the longest instruction."""
        return max(len(text) for line in self.lines for text in line.record.instruction)


def read_sessions_file(path: str | Path) -> SessionsFile:
    """The records of a file; pictures are not looked at. The last line may lack its newline.

    Raises:
        ValueError: there is no such file, it holds no session, or a line is no record; names line and key.
    """
    lines = []
    for line in scan_lines(path):
        if isinstance(line, ValueError):
            raise line
        lines.append(line)
    if not lines:
        raise ValueError(f"{path} is empty, expected one session a line")
    return SessionsFile(Path(path), tuple(lines), pictures_folder(Path(path), lines))


def scan_lines(path: str | Path) -> Iterator[Line | ValueError]:
    """Each line of a file, or, in its place, the error that says why it is no record; file and line named.

    Raises:
        ValueError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"sessions file is {str(path)!r}, which is no file, expected JSON Lines")
    with open(path, "rb") as file:
        number = 0
        while text := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            try:
                with at_line(path, number):
                    line = _read_line(number, text)
            except ValueError as error:
                yield error
                if len(text) > MAX_LINE_BYTES:
                    return
            else:
                yield line


def pictures_folder(path: Path, lines: Sequence[Line]) -> Path:
    """Where the picture paths of a file begin: its own folder, or the one above in the published layout.

    The published files lie at cm/test_metadata.jsonl and cu/test_metadata.jsonl with one source_image beside
    both folders. The folder above is chosen where all paths begin with source_image, the file's own folder
    has none and the one above has.
    """
    published = all(line.record.image.startswith(f"{PUBLISHED}/") for line in lines)
    own, above = path.parent, path.absolute().parent.parent
    if published and not os.path.lexists(own / PUBLISHED) and (above / PUBLISHED).is_dir():
        return above
    return own


@contextmanager
def at_line(path: Path, number: int, key: str | None = None) -> Iterator[None]:
    """Puts file, line and, where given, key in front of every ValueError from inside."""
    try:
        yield
    except ValueError as error:
        place = f"key {key!r}: " if key else ""
        raise ValueError(f"{path}, line {number}: {place}{_shortened(str(error))}") from error


def _shortened(message: str) -> str:
    """A message that stays readable where a file's keys or values are long."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."


def _read_line(number: int, text: bytes) -> Line:
    """One line, its extra key set apart."""
    if len(text) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES} bytes, expected one session")
    for mark, name in _MARKS.items():
        if number == 1 and text.startswith(mark):
            raise ValueError(f"the file begins with {name}, expected UTF-8 without one")
    if not text.strip():
        raise ValueError("the line is blank, expected a JSON object")
    data = read_object(_decoded(text))
    extra = read_value(data, EXTRA, dict) if EXTRA in data else None
    record = record_from_json({key: value for key, value in data.items() if key != EXTRA})
    return Line(number, record, extra)


def _decoded(text: bytes) -> str:
    """The line as text."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the line is no UTF-8: byte {error.start} is {error.reason}") from error
