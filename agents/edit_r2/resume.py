"""Checkpoints of a run that may be killed at any moment: which are whole, which go.

A folder is whole once it holds a mark, which is written after everything else and removed before everything
else.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

COMPLETE = "complete.json"
"""The mark: without it a checkpoint is half written, or half removed."""


def mark_complete(folder: Path, values: dict[str, Any]) -> None:
    """Marks a checkpoint as whole, in one step; the mark holds the values as JSON."""
    unfinished = folder / f"{COMPLETE}.part"
    unfinished.write_text(json.dumps(values), encoding="utf-8")
    unfinished.replace(folder / COMPLETE)


def whole_checkpoints(out: Path) -> list[Path]:
    """The whole checkpoints of a run's folder, oldest first."""
    return sorted((mark.parent for mark in out.glob(f"checkpoint-*/{COMPLETE}")), key=_step)


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
    found = [folder for folder in out.glob("checkpoint-*") if not (folder / COMPLETE).is_file()]
    for folder in found:
        _remove(folder)
    return found


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _remove(folder: Path) -> None:
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder)
