"""Parity with the reference code: recompute what it computed and compare.

`python -m editenv.agents.unified.parity FIXTURE.safetensors` checks a small fixture (`parity_fixture.py`),
`... FOLDER EXPECTED.npz` a folder in BAGEL's layout (`parity_folder.py`); both take `--only PREFIX ...`. It prints
each output's error and tolerance, lists what it does not cover and exits 0 only when every output holds.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.unified.parity_fixture import OUTPUTS, Fixture
from editenv.agents.unified.parity_folder import INPUTS, Expected

_FLIPPED = 0.005  # share of a generated image's bytes that may differ, by one


class Row(NamedTuple):
    """One output: its largest deviation (infinite for another shape) and the largest allowed."""

    name: str
    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the deviation is allowed; one that is not a number never is."""
        return self.error <= self.tolerance


@torch.no_grad()
def check_fixture(path: Path, only: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    """Recomputes and compares a fixture's outputs.

    Args:
        path: the safetensors file, with its JSON beside it.
        only: prefixes of output names, with or without `out.`; empty for everything that can be recomputed.

    Returns:
        A row for each output, and the names of the outputs that nothing recomputes; none of these with `only`.

    Raises:
        ValueError: if a prefix matches nothing that can be recomputed; the message names the known ones.
    """
    fixture = Fixture(path)
    prefixes = tuple(prefix if prefix.startswith("out") else f"out.{prefix}" for prefix in only)
    found = {
        name: (recompute, match.groups())
        for name in fixture.outputs
        for pattern, recompute in OUTPUTS.items()
        if (match := re.fullmatch(rf"out\.{pattern}", name))
    }
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in found):
            known = ", ".join(sorted({".".join(name.split(".")[:2]) for name in found}))
            raise ValueError(f"--only {prefix} matches no output that can be recomputed; known prefixes: {known}")
    rows = [
        Row(name, deviation(recompute(fixture, *groups), fixture.tensors[name]), fixture.tolerance(name))
        for name, (recompute, groups) in found.items()
        if not prefixes or name.startswith(prefixes)
    ]
    return rows, [] if prefixes else [name for name in fixture.outputs if name not in found]


def check_folder(folder: Path, path: Path, only: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    """Plays the stored sessions with a folder's model in float32 and compares every array of EXPECTED.npz.

    Arguments and results as `check_fixture`; what the JSON says beside the arrays has names with `json.`. The bytes
    of generated images may differ by one in few places, whose share is their error.
    """
    expected = Expected(folder, path)
    expected.recompute()
    rows = [Row(name, wrong, 0.0) for name, wrong in expected.mismatches().items()]
    for name, entry in expected.arrays.items():
        if name in expected.found:
            value, stored = expected.found[name], expected.stored[name]
            if re.fullmatch(r"turn\d+\.image_u8", name):
                flips = deviation(value, stored) <= 1
                rows.append(Row(name, float((value != stored).float().mean()) if flips else math.inf, _FLIPPED))
            else:
                rows.append(Row(name, deviation(value, stored), entry.get("tolerance", 0.0)))
    uncovered = [n for n in expected.arrays if n not in expected.found and not re.fullmatch(INPUTS, n)]
    if not only:
        return rows, uncovered
    rows = [row for row in rows if row.name.startswith(tuple(only))]
    if not rows:
        raise ValueError(f"--only {' '.join(only)} matches no array of {path}")
    return rows, []


def deviation(value: Tensor, expected: Tensor) -> float:
    """Largest absolute difference in float64; infinite for another shape, not a number if one is none."""
    return float((value.double() - expected.double()).abs().max()) if value.shape == expected.shape else math.inf


def table(rows: Sequence[Row], uncovered: Sequence[str]) -> str:
    """A line an output, the count, and what was not covered."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'output':<{width}}  {'error':>9}  {'tolerance':>9}"]
    for row in rows:
        verdict = "" if row.holds else "  FAILS"
        lines.append(f"{row.name:<{width}}  {row.error:9.2e}  {row.tolerance:9.2e}{verdict}")
    lines.append(f"{sum(row.holds for row in rows)} of {len(rows)} outputs hold")
    if uncovered:
        kinds = Counter(".".join(name.split(".")[:2]) for name in uncovered)
        listed = ", ".join(f"{kind}.* ({count})" for kind, count in kinds.items())
        lines.append(f"not covered ({len(uncovered)}): {listed}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a fixture, print the table; 0 when everything holds, 1 when not, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m editenv.agents.unified.parity",
        description="Recompute the outputs of a parity fixture and compare them with what it stores.",
    )
    parser.add_argument("fixture", type=Path, help="NAME.safetensors, with NAME.json beside it, or a model's folder")
    parser.add_argument("expected", type=Path, nargs="?", help="of a folder: NAME.npz, with NAME.json beside it")
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="PREFIX", help="check these outputs only"
    )
    options = parser.parse_args(arguments)
    try:
        if options.fixture.is_dir() != (options.expected is not None):
            raise ValueError("expected FIXTURE.safetensors alone, or FOLDER EXPECTED.npz")
        if options.expected is None:
            rows, uncovered = check_fixture(options.fixture, options.only)
        else:
            rows, uncovered = check_folder(options.fixture, options.expected, options.only)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(rows, uncovered))
    return 0 if all(row.holds for row in rows) and not uncovered else 1


if __name__ == "__main__":
    sys.exit(main())
