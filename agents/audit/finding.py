"""What a check found: one number beside the number it should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_TITLES = ("check", "what", "value", "expected", "tolerance", "")


@dataclass(frozen=True)
class Finding:
    """One number of a trainer.

    Attributes:
        check: which check found it.
        what: it is.
        value: as measured; NaN where the check could not be made.
        expected: by theory.
        tolerance: largest difference that passes.
        note: what the number means, or why the check could not be made.
        skipped: whether the trainer does not offer what the check needs; such a finding does not fail.
    """

    check: str
    what: str
    value: float
    expected: float = 0.0
    tolerance: float = 0.0
    note: str = ""
    skipped: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance; a NaN never is."""
        return bool(self.skipped or abs(self.value - self.expected) <= self.tolerance)

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values; a value that is no finite number as None."""
        numbers = {name: float(getattr(self, name)) for name in ("value", "expected", "tolerance")}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return asdict(self) | finite | {"passed": self.passed}


def table(findings: Sequence[Finding]) -> str:
    """All findings, a line each, then how many failed."""
    rows = [_TITLES, *map(_row, findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    failed = sum(not finding.passed for finding in findings)
    skipped = sum(finding.skipped for finding in findings)
    lines.append(f"{len(findings) - failed - skipped} passed, {failed} failed, {skipped} not offered")
    return "\n".join(lines)


def _row(finding: Finding) -> tuple[str, ...]:
    verdict = "not offered" if finding.skipped else "pass" if finding.passed else "FAIL"
    numbers = ("",) * 3 if finding.skipped else _numbers(finding)
    remark = f"{verdict}: {finding.note}" if finding.note and verdict != "pass" else verdict
    return finding.check, finding.what, *numbers, remark


def _numbers(finding: Finding) -> tuple[str, str, str]:
    return f"{finding.value:.6g}", f"{finding.expected:.6g}", f"{finding.tolerance:.1e}"
