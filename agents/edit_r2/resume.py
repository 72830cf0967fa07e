"""Checkpoints of a run that may be killed at any moment: which are whole, which go.

A folder is whole once it holds a mark, which is written after everything else and removed before everything
else, and as long as all files that the mark lists are there in full.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

COMPLETE = "complete.json"
"""The mark: without it a checkpoint is half written, or half removed."""


def mark_complete(folder: Path, values: dict[str, Any]) -> None:
    """Marks a checkpoint as whole, in one step; the mark holds the values and all files' sizes as JSON."""
    unfinished = folder / f"{COMPLETE}.part"
    unfinished.unlink(missing_ok=True)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    unfinished.write_text(json.dumps(values | {"files": sizes}), encoding="utf-8")
    unfinished.replace(folder / COMPLETE)


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
    sizes = json.loads(mark.read_text(encoding="utf-8")).get("files", {})
    paths = {mark.with_name(name): size for name, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _remove(folder: Path) -> None:
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder)
