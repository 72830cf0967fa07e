"""What a check measures: one number beside the number it should be, and a table of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_TITLES = ("check", "what", "value", "expected", "tolerance", "")


@dataclass(frozen=True)
class CheckResult:
    """One number of a trainer.

    Attributes:
        what: what was measured.
        value: as measured; NaN where the check could not be made.
        expected: in closed form.
        tolerance: largest difference that passes.
        note: what a wrong number means, or why the check could not be made.
        skipped: whether the trainer does not offer what the check needs; such a result does not fail.
        check: name of the check, filled in by `run_audit`.
    """

    what: str
    value: float
    expected: float = 0.0
    tolerance: float = 0.0
    note: str = ""
    skipped: bool = False
    check: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance; a NaN never is."""
        return bool(self.skipped or abs(self.value - self.expected) <= self.tolerance)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values; a value that is no finite number as None."""
        numbers = {name: float(getattr(self, name)) for name in ("value", "expected", "tolerance")}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return asdict(self) | finite | {"passed": self.passed}

    def row(self) -> tuple[str, ...]:
        """The cells of its line in the table."""
        status = "not offered" if self.skipped else "pass" if self.passed else "FAIL"
        numbers = f"{self.value:.6g}", f"{self.expected:.6g}", f"{self.tolerance:.1e}"
        remark = f"{status}: {self.note}" if self.note and status != "pass" else status
        return self.check, self.what, *(("",) * 3 if self.skipped else numbers), remark


def table(results: Sequence[CheckResult]) -> str:
    """All results, a line each, then how many failed."""
    rows = [_TITLES, *(result.row() for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    failed = sum(not result.passed for result in results)
    skipped = sum(result.skipped for result in results)
    lines.append(f"{len(results) - failed - skipped} passed, {failed} failed, {skipped} not offered")
    return "\n".join(lines)
