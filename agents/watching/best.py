"""The weights that held-out sessions liked best, in a folder that is whole whenever a run is killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = "best"
"""Below a run's folder: loadable as a model, like the run's last one."""
FACTS = "best.json"
"""In that folder: which iteration, its scores and who judged."""


def write_best(save: Callable[[Path], None], facts: dict[str, Any], out: Path) -> None:
    """Puts weights into a run's `best` folder, in place of those that lie there.

    The new ones are written whole beside the old ones, which then make room; what a kill in between leaves,
    `recover` puts right.

    Args:
        save: writes the weights into a folder.
        facts: JSON values about them.
        out: the run's folder.
    """
    best, new, old = _places(out)
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    new.mkdir(parents=True)
    save(new)
    (new / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if best.exists():
        best.replace(old)
    new.replace(best)
    shutil.rmtree(old, ignore_errors=True)


def recover(out: Path) -> None:
    """Takes back the last best weights where a run was killed just before new ones took their place."""
    best, new, old = _places(out)
    if old.is_dir() and not best.exists():
        old.replace(best)
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)


def read_best(out: Path) -> dict[str, Any] | None:
    """What is known of a run's best weights; None where there are none."""
    path = out / FOLDER / FACTS
    if not path.is_file():
        return None
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _places(out: Path) -> tuple[Path, Path, Path]:
    return out / FOLDER, out / f"{FOLDER}.part", out / f"{FOLDER}.old"
