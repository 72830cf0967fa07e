"""The command `python -m editenv.agents.unified.parity`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from editenv.agents.unified.parity.compare import Report, check_fixture


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a fixture, print the table; 0 when everything holds, 1 when not, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m editenv.agents.unified.parity",
        description="Recompute the outputs of a parity fixture and compare them with what it stores.",
    )
    parser.add_argument("fixture", type=Path, help="NAME.safetensors, with NAME.json beside it")
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="PREFIX", help="check these outputs only"
    )
    options = parser.parse_args(arguments)
    try:
        report = check_fixture(options.fixture, options.only)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(report))
    return 0 if report.holds else 1


def table(report: Report) -> str:
    """The report as text: a line an output, the count, and what was not covered."""
    width = max(len(row.name) for row in report.rows)
    lines = [f"{'output':<{width}}  {'error':>9}  {'tolerance':>9}"]
    for row in report.rows:
        verdict = "" if row.holds else "  FAILS"
        lines.append(f"{row.name:<{width}}  {row.error:9.2e}  {row.tolerance:9.2e}{verdict}")
    failed = sum(not row.holds for row in report.rows)
    lines.append(f"{len(report.rows) - failed} of {len(report.rows)} outputs hold")
    if report.uncovered:
        kinds = Counter(".".join(name.split(".")[:2]) for name in report.uncovered)
        listed = ", ".join(f"{kind}.* ({count})" for kind, count in kinds.items())
        lines.append(f"not covered ({len(report.uncovered)}): {listed}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
