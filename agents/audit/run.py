"""The checks by name, and running them on a trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from editenv.agents.audit.protocol import Auditable, NotOffered
from editenv.agents.audit.results import CheckResult
from editenv.agents.audit.sampling_checks import check_density, check_marginals, check_ratio, check_seeds, check_window
from editenv.agents.audit.subject import Subject
from editenv.agents.audit.update_checks import (
    check_advantage,
    check_branching,
    check_filter,
    check_gradient,
    check_kl,
    check_resume,
)
from editenv.registry import lookup

CHECKS: dict[str, Callable[[Subject], list[CheckResult]]] = {
    "ratio": check_ratio,
    "density": check_density,
    "marginals": check_marginals,
    "window": check_window,
    "gradient": check_gradient,
    "kl": check_kl,
    "advantage": check_advantage,
    "filter": check_filter,
    "branching": check_branching,
    "seeds": check_seeds,
    "resume": check_resume,
}


def run_audit(trainer: Auditable, checks: Sequence[str] | None = None, seed: int = 0) -> list[CheckResult]:
    """All results of the checks.

    Args:
        trainer: whose code is audited.
        checks: names in CHECKS, or "package.module:function" for one from outside; None for all in CHECKS.
        seed: of what is sampled.

    Raises:
        ValueError: there is no such check; the message gives the nearest name.
    """
    subject, results = Subject(trainer, seed), list[CheckResult]()
    for name in checks or CHECKS:
        check = lookup("check", name, CHECKS)
        try:
            found = check(subject)
        except NotOffered as error:
            found = [CheckResult(str(error) or "not offered", math.nan, skipped=True)]
        except Exception as error:
            # A trainer under audit may fail in any way; that it did is a result like another.
            found = [CheckResult("an error", math.nan, note=f"{type(error).__name__}: {error}")]
        results += [replace(result, check=name) for result in found]
    return results
