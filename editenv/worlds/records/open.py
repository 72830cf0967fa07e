"""Opens a sessions file as the world that its lines are for."""

from __future__ import annotations

from pathlib import Path

from editenv.worlds.records.lines import EXTRA, at_line, read_sessions_file
from editenv.worlds.records.scenes import StudioRecordsWorld
from editenv.worlds.records.world import RecordsWorld


def open_sessions(path: str | Path, size: int | None = None) -> RecordsWorld | StudioRecordsWorld:
    """The world of a sessions file: studio scenes where its lines have the key "editenv", else any pictures.

    Args:
        path: JSON Lines in the format of Edit-R2's MICE-Bench; pictures lie below its folder.
        size: side of the pictures shown, in pixels; None for the files' own.

    Raises:
        ValueError: a line or a picture cannot be used, or only some lines have the key; names line and key.
    """
    file = read_sessions_file(path)
    first = file.lines[0]
    for line in file.lines:
        if (line.extra is None) != (first.extra is None):
            has = "is missing" if line.extra is None else "stands here"
            with at_line(file.path, line.number, EXTRA):
                raise ValueError(f"it {has} unlike in line {first.number}, expected all lines alike")
    return RecordsWorld(file, size) if first.extra is None else StudioRecordsWorld(file, size)
