"""`editenv export`: writes sessions of a suite or of a file in the format of Edit-R2's MICE-Bench."""

from __future__ import annotations

from pathlib import Path

from editenv.configs.schema import ExportConfig
from editenv.records import read_sessions_file
from editenv.worlds.records.export import export_sessions
from editenv.worlds.records.world import open_sessions
from editenv.worlds.studio.world import StudioWorld


def export(config: ExportConfig) -> Path:
    """Writes `out`/sessions.jsonl and the pictures, and prints where; ValueError where a setting cannot be used."""
    if config.sessions_file is None:
        world, count = (
            StudioWorld(config.suite, config.size, config.grid),
            64 if config.sessions is None else config.sessions,
        )
        name = f"{config.suite}, {config.split}"
    else:
        world, name = open_sessions(config.sessions_file), config.sessions_file
        there = len(read_sessions_file(config.sessions_file).lines)
        count = min(there, config.sessions or there)
    path = export_sessions(world, config.split, config.seed, count, config.out)
    print(f"{count} sessions of {name}: {path}")
    return path
