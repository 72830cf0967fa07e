"""What a check is given and what it returns: the trainer under audit, and numbers beside those they should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.protocol import Auditable, Turns

ITERATIONS = 6
"""Iterations whose rollouts are pooled where shares and moments are measured."""


class Subject:
    """A trainer under audit, what it says of itself, the known policy, and rollouts that are made once."""

    def __init__(self, trainer: Auditable, seed: int = 0) -> None:
        self.trainer, self.facts, self.seed = trainer, trainer.facts, seed
        self.policy = KnownPolicy(trainer.dimensions)
        self._rollouts: dict[int, Turns] = {}

    def rollout(self, iteration: int) -> Turns:
        """The rollout of an iteration, made once."""
        if iteration not in self._rollouts:
            self._rollouts[iteration] = self.trainer.rollout(self.policy, self.seed, iteration)
        return self._rollouts[iteration]

    def rollouts(self, trainer: Auditable | None = None) -> list[Turns]:
        """Rollouts of the first iterations, of the trainer or of a variant of it."""
        if trainer is None or trainer is self.trainer:
            return [self.rollout(iteration) for iteration in range(ITERATIONS)]
        return [trainer.rollout(self.policy, self.seed, iteration) for iteration in range(ITERATIONS)]

    @cached_property
    def scored(self) -> tuple[Turns, Tensor, Tensor]:
        """The first rollout, with its advantages and what the filter keeps."""
        turns = self.rollout(0)
        advantage = self.trainer.advantages(turns.reward, turns.following)
        return turns, advantage, self.trainer.keep(turns.following)


@dataclass(frozen=True)
class CheckResult:
    """One number of a trainer."""

    what: str  # what was measured
    value: float  # as measured; NaN where the check could not be made
    expected: float = 0.0  # in closed form
    tolerance: float = 0.0  # largest difference that passes
    note: str = ""  # what a wrong number means, or why the check could not be made
    skipped: bool = False  # whether the trainer does not offer what the check needs; such a result does not fail
    check: str = ""  # name of the check, filled in by `run_audit`

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance; a NaN never is."""
        return bool(self.skipped or abs(self.value - self.expected) <= self.tolerance)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values; a value that is no finite number as None."""
        numbers = {name: float(getattr(self, name)) for name in ("value", "expected", "tolerance")}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return asdict(self) | finite | {"passed": self.passed}


def table(results: Sequence[CheckResult]) -> str:
    """All results, a line each, then how many failed."""
    rows: list[tuple[str, ...]] = [("check", "what", "value", "expected", "tolerance", "")]
    for one in results:
        status = "not offered" if one.skipped else "pass" if one.passed else "FAIL"
        remark = f"{status}: {one.note}" if one.note and status != "pass" else status
        numbers = f"{one.value:.6g}", f"{one.expected:.6g}", f"{one.tolerance:.1e}"
        rows.append((one.check, one.what, *(("", "", "") if one.skipped else numbers), remark))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    failed = sum(not result.passed for result in results)
    skipped = sum(result.skipped for result in results)
    return "\n".join([*lines, f"{len(results) - failed - skipped} passed, {failed} failed, {skipped} not offered"])
