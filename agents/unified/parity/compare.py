"""Runs the checks on a fixture and compares what they recompute with what it stores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from editenv.agents.unified.parity.fixture import Fixture, load_fixture
from editenv.agents.unified.parity.registry import CHECKS


@dataclass(frozen=True)
class Row:
    """One output: its largest deviation (infinite for another shape) and the largest allowed."""

    name: str
    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the deviation is allowed; one that is not a number never is."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Report:
    """All rows that were asked for, and the fixture's outputs that no check recomputes."""

    rows: tuple[Row, ...]
    uncovered: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every row holds."""
        return all(row.holds for row in self.rows)


@torch.no_grad()
def check_fixture(path: Path, only: Sequence[str] = ()) -> Report:
    """Recompute and compare a fixture's outputs.

    Args:
        path: the safetensors file, with its JSON beside it.
        only: prefixes of output names, with or without `out.`; empty for everything that can be recomputed.

    Raises:
        ValueError: if a prefix matches nothing that can be recomputed; the message names the known ones.
    """
    prefixes = [prefix if prefix.startswith("out") else f"out.{prefix}" for prefix in only]
    for prefix in prefixes:
        if not any(_related(prefix, known) for known in CHECKS):
            raise ValueError(_unknown(prefix))
    fixture = load_fixture(path)
    rows, covered = _rows(fixture, prefixes)
    for prefix in prefixes:
        if not any(row.name.startswith(prefix) for row in rows):
            raise ValueError(_unknown(prefix))
    return Report(tuple(rows), tuple(sorted(set(fixture.outputs) - covered)) if not prefixes else ())


def _rows(fixture: Fixture, prefixes: Sequence[str]) -> tuple[list[Row], set[str]]:
    rows, covered = [], set()
    for known, check in CHECKS.items():
        wanted = not prefixes or any(_related(prefix, known) for prefix in prefixes)
        if not wanted or not any(name.startswith(known) for name in fixture.outputs):
            continue
        for name, value in check(fixture).items():
            if name not in fixture.outputs:
                continue
            covered.add(name)
            if not prefixes or name.startswith(tuple(prefixes)):
                rows.append(Row(name, deviation(value, fixture.tensors[name]), fixture.tolerance(name)))
    return rows, covered


def deviation(value: Tensor, expected: Tensor) -> float:
    """Largest absolute difference in float64; infinite for another shape, not a number if one is none."""
    if value.shape != expected.shape:
        return math.inf
    return float((value.double() - expected.double()).abs().max())


def _related(prefix: str, known: str) -> bool:
    return known.startswith(prefix) or prefix.startswith(known)


def _unknown(prefix: str) -> str:
    return f"--only {prefix} matches no output that can be recomputed; known prefixes: {', '.join(CHECKS)}"
