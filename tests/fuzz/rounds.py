"""How long the fuzzers of this folder go on."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

SECONDS = float(os.environ.get("EDITENV_FUZZ_SECONDS", 0))


def rounds(least: int) -> Iterator[int]:
    """0, 1, ...: so many, which are seeds, and more while EDITENV_FUZZ_SECONDS are not over."""
    began = time.monotonic()
    return itertools.takewhile(lambda n: n < least or time.monotonic() - began < SECONDS, itertools.count())
