"""What every command can be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class CommandConfig:
    """What every command has.

    Attributes:
        seed: of everything drawn at random.
        out: folder for all that is written.
    """

    seed: int
    out: str
