"""Choosing a function by its name in a registry."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def chosen(setting: str, name: str, registry: Mapping[str, T]) -> T:
    """What a registry holds under a name.

    Args:
        setting: what the name is given for, such as "advantage".
        name: as it was given.
        registry: all there are.

    Raises:
        ValueError: there is none of that name; the message gives the nearest ones.
    """
    if name not in registry:
        near = get_close_matches(str(name), registry) or sorted(registry)
        raise ValueError(f"{setting} is {name!r}, expected {' or '.join(near)}")
    return registry[name]
