"""Checkpoints of a run that may be killed at any moment: which are whole, which go.

A folder is whole once it holds a mark, which is written after everything else and removed before everything
else, and as long as all files that the mark lists are there in full.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from editenv.agents.atomic import write_text_atomically

COMPLETE = "complete.json"
"""The mark: without it a checkpoint is half written, or half removed."""
FIRST = "saved.json"
"""In a run's folder: which checkpoint was its first whole one; a run without it may begin at zero again."""


def mark_complete(folder: Path, values: dict[str, Any]) -> None:
    """Marks a checkpoint as whole, in one step; the mark holds the values and all files' sizes as JSON."""
    unfinished = folder / f"{COMPLETE}.part"
    unfinished.unlink(missing_ok=True)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    unfinished.write_text(json.dumps(values | {"files": sizes}), encoding="utf-8")
    unfinished.replace(folder / COMPLETE)


def note_first(folder: Path) -> None:
    """Notes that a run has had a whole checkpoint, once; on a full disk the next one is noted."""
    note = folder.parent / FIRST
    if not note.exists():
        with suppress(OSError):
            write_text_atomically(note, json.dumps({"checkpoint": folder.name}) + "\n")


def check_not_lost(out: Path) -> None:
    """Refuses to begin at zero again where there has been a whole checkpoint that is whole no longer.

    Where the first one was never finished, nothing but time is lost, and the same command begins anew.

    Raises:
        ValueError: the run's folder has no whole checkpoint but had one; nothing was removed or changed.
    """
    marked = [mark.parent.name for mark in out.glob(f"checkpoint-*/{COMPLETE}")]
    if whole_checkpoints(out) or not (marked or (out / FIRST).is_file()):
        return
    found = ", ".join(sorted(folder.name for folder in out.glob("checkpoint-*"))) or "none"
    raise ValueError(
        f"out is {str(out)!r}, a run whose checkpoints are gone or damaged (found: {found}), expected a "
        "whole one: put it back, or remove the folder or name another to begin at zero"
    )


def whole_checkpoints(out: Path) -> list[Path]:
    """The whole checkpoints of a run's folder, oldest first."""
    return sorted(
        (mark.parent for mark in out.glob(f"checkpoint-*/{COMPLETE}") if _is_whole(mark)), key=_step
    )


def newest_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint of a run's folder; half-written ones are passed over."""
    whole = whole_checkpoints(out)
    return whole[-1] if whole else None


def keep_newest(out: Path, count: int) -> None:
    """Removes all whole checkpoints but the newest ones."""
    for folder in whole_checkpoints(out)[:-count]:
        _remove(folder)


def drop_half_written(out: Path) -> list[Path]:
    """Removes what a killed run left half written, and says which folders these were."""
    whole = whole_checkpoints(out)
    found = [folder for folder in out.glob("checkpoint-*") if folder not in whole]
    for folder in found:
        _remove(folder)
    return found


def _is_whole(mark: Path) -> bool:
    """Whether every file that was there when the mark was made still is, and in its full length."""
    try:
        sizes = json.loads(mark.read_text(encoding="utf-8")).get("files", {})
    except ValueError:
        # A machine that lost power may keep a file's name and not what was in it.
        return False
    paths = {mark.parent / name: size for name, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _remove(folder: Path) -> None:
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder)
