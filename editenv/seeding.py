"""Which session comes next: seeds and session numbers, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_SEED_LIMIT = 2**63


def check_seed(seed: int | None) -> None:
    """Refuses seeds that no int64 array holds.

    Raises:
        ValueError: the seed is 2**63 or more.
    """
    if seed is not None and seed >= _SEED_LIMIT:
        raise ValueError(f"seed is {seed}, expected less than 2**63")


def check_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The options, empty for None.

    Raises:
        ValueError: a key is not known.
    """
    for name in options or {}:
        if name not in known:
            raise ValueError(f"reset option {name!r} is not known, expected {' or '.join(known)}")
    return options or {}


def check_session(number: Any, name: str) -> int:
    """The number of a session, as a plain int.

    Raises:
        ValueError: it is no whole number of 0 or more.
    """
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
        raise ValueError(f"{name} is {number!r}, expected a whole number of 0 or more")
    return int(number)
