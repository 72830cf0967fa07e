"""Seconds and peak memory of the phases of an iteration."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up the seconds of named phases until they are taken."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time spent inside for a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start

    def peek(self) -> dict[str, float]:
        """Seconds of each phase so far, by name."""
        return dict(self._seconds)

    def take(self) -> dict[str, float]:
        """Seconds of each phase since the last call, under "seconds/NAME", and the peak memory in MiB."""
        taken = {f"seconds/{name}": seconds for name, seconds in self._seconds.items()}
        self._seconds.clear()
        return taken | {"peak_memory_mib": peak_memory_mib()}


def peak_memory_mib() -> float:
    """The most memory used so far: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
