"""Runs the checks on a trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches

from editenv.agents.audit.bench import Bench
from editenv.agents.audit.checks import CHECKS
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.protocol import Auditable, NotOffered


def run_audit(trainer: Auditable, checks: Sequence[str] | None = None, seed: int = 0) -> list[Finding]:
    """All that was found.

    Args:
        trainer: whose code is audited.
        checks: names in CHECKS; None for all.
        seed: of what is sampled.

    Raises:
        ValueError: there is no such check.
    """
    bench, findings = Bench(trainer, seed), list[Finding]()
    for name in checks or CHECKS:
        if name not in CHECKS:
            near = get_close_matches(name, CHECKS, n=1) or list(CHECKS)
            raise ValueError(f"checks holds {name!r}, expected {' or '.join(near)}")
        try:
            findings += CHECKS[name](bench)
        except NotOffered as error:
            findings.append(Finding(name, str(error) or "not offered", math.nan, skipped=True))
        except Exception as error:
            # A trainer under audit may fail in any way; that it did is a finding like another.
            findings.append(Finding(name, "an error", math.nan, note=f"{type(error).__name__}: {error}"))
    return findings
