"""How long the fuzzers of this folder go on, and where they begin: EDITENV_FUZZ_SECONDS a test, EDITENV_FUZZ_FIRST."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

FIRST = int(os.environ.get("EDITENV_FUZZ_FIRST", 0))
SECONDS = float(os.environ.get("EDITENV_FUZZ_SECONDS", 0))


def rounds(least: int) -> Iterator[int]:
    """FIRST, FIRST + 1, ...: so many, which are seeds, and more while EDITENV_FUZZ_SECONDS are not over."""
    began, numbers = time.monotonic(), itertools.count(FIRST)
    return itertools.takewhile(lambda n: n - FIRST < least or time.monotonic() - began < SECONDS, numbers)
