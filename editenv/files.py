"""Files that are whole or absent, and that hold no password."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import get_native_id

_LOGIN = re.compile(r'(?<=://)[^\s/?#"]*@')
_QUERY = re.compile(r"""(?<=://)([^\s?#"']*)\?[^\s#"']*""")


def hide_logins(text: str) -> str:
    """The text without user names, passwords and parameters in its URLs."""
    return _QUERY.sub(r"\1", _LOGIN.sub("", text))


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file beside its place and moves it there in one step.

    What cannot be written whole leaves the old file as it was, and nothing beside it.

    Args:
        path: of the file; its folder exists.
        write: writes the file that it is given; what it raises is raised here.
    """
    unfinished = path.with_name(f"{path.name}.{get_native_id()}.part")
    try:
        write(unfinished)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def atomic_write_text(path: Path, text: str) -> None:
    """`atomic_write` of a text in UTF-8, what is secret in its URLs left out."""
    atomic_write(path, lambda unfinished: unfinished.write_text(hide_logins(text), encoding="utf-8"))


def append_line(path: Path, line: bytes) -> None:
    """Appends a line to a file, or leaves the file as it was; half a line at its end is taken away before.

    Several processes may append to one file, except on Windows.
    """
    with open(path, "ab+", buffering=0) as file:
        with suppress(ImportError):
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # until the file is closed
        end = position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - 65536)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                position = start + found + 1
                break
            position = start
        if position < end:
            file.truncate(position)
        try:
            left = memoryview(line)
            while left:
                left = left[file.write(left) or 0 :]
        except BaseException:
            file.truncate(position)
            raise
