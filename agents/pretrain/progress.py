"""Progress bars for long work, silent where nobody looks."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import TypeVar

from rich.progress import track as _track

T = TypeVar("T")


def track(steps: Iterable[T], name: str) -> Iterable[T]:
    """The steps, with a bar and the time left while they are taken."""
    total = len(steps) if isinstance(steps, Sized) else None
    return _track(steps, description=name, total=total, transient=True)
