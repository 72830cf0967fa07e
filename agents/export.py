"""Writes sessions of a suite to files, in the format of Edit-R2's MICE-Bench."""

from __future__ import annotations

from pathlib import Path

from editenv.configs.schema import ExportConfig
from editenv.worlds.records.export import export_sessions
from editenv.worlds.studio.world import StudioWorld


def export(config: ExportConfig) -> Path:
    """`editenv export`: writes `out`/sessions.jsonl and the pictures, and prints where.

    Raises:
        ValueError: a setting is not in its range.
    """
    world = StudioWorld(config.suite, config.size, config.grid)
    path = export_sessions(world, config.split, config.seed, config.sessions, config.out)
    print(f"{config.sessions} sessions of {config.suite}, {config.split}: {path}")
    return path
