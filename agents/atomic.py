"""Files that are whole whenever somebody reads them, though writers are killed and disks are full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file beside its place and moves it there in one step.

    What cannot be written whole leaves the old file as it was, and nothing beside it.

    Args:
        path: of the file; its folder exists.
        write: writes the file that it is given.

    Raises:
        OSError: or whatever else `write` raises.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        write(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """`write_whole` of a text in UTF-8."""
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
