"""A sessions file: its lines as records, every error with file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editenv.jsonread import read_object, read_value
from editenv.worlds.records.session import RecordSpec, record_from_json

EXTRA = "editenv"
"""The one extra key, which exported studio sessions have."""


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
    """

    path: Path
    lines: tuple[Line, ...]

    @property
    def folder(self) -> Path:
        """Where the records' picture paths begin."""
        return self.path.parent

    @property
    def longest_instruction(self) -> int:
        """Characters of the longest instruction."""
        return max(len(text) for line in self.lines for text in line.record.instruction)


def read_sessions_file(path: str | Path) -> SessionsFile:
    """The records of a file; pictures are not looked at. The last line may lack its newline.

    Raises:
        ValueError: there is no such file, it holds no session, or a line is no record; names line and key.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"sessions file is {str(path)!r}, which is no file, expected JSON Lines")
    lines = []
    with open(path, "rb") as file:
        for number, text in enumerate(file, start=1):
            with at_line(path, number):
                lines.append(_read_line(number, text))
    if not lines:
        raise ValueError(f"{path} is empty, expected one session a line")
    return SessionsFile(path, tuple(lines))


@contextmanager
def at_line(path: Path, number: int, key: str | None = None) -> Iterator[None]:
    """Puts file, line and, where given, key in front of every ValueError from inside."""
    try:
        yield
    except ValueError as error:
        place = f"key {key!r}: " if key else ""
        raise ValueError(f"{path}, line {number}: {place}{error}") from error


def _read_line(number: int, text: bytes) -> Line:
    """One line, its extra key set apart."""
    if not text.strip():
        raise ValueError("the line is blank, expected a JSON object")
    data = read_object(text)
    extra = read_value(data, EXTRA, dict) if EXTRA in data else None
    record = record_from_json({key: value for key, value in data.items() if key != EXTRA})
    return Line(number, record, extra)
