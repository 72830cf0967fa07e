"""The checks by name, and `editenv audit [--json] [KEY=VALUE ...]`, which runs them on a trainer."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from editenv.agents.audit.checks import CHECKS
from editenv.agents.audit.protocol import Auditable, NotOffered
from editenv.agents.audit.subject import CheckResult, Subject, table
from editenv.files import atomic_write_text
from editenv.registry import build, lookup

if TYPE_CHECKING:
    from editenv.configs.schema import AuditConfig


def run_audit(trainer: Auditable, checks: Sequence[str] | None = None, seed: int = 0) -> list[CheckResult]:
    """All results of the checks.

    Args:
        trainer: whose code is audited.
        checks: names in CHECKS, or "package.module:function" for one from outside; None for all in CHECKS.
        seed: of what is sampled.
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


def audit(config: AuditConfig) -> int:
    """Runs the checks, prints what came out, and leaves `audit.json` in the folder `out`.

    Returns:
        The exit status: 0, or 1 where a check failed.
    """
    # Here, so that other people's trainers can be audited without this package's.
    import transformers

    from editenv.agents.audit.edit_r2 import EditR2Audit
    from editenv.agents.train import training_settings
    from editenv.configs.compose import compose

    torch.set_num_threads(1)
    Path(config.out).mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        transformers.utils.logging.disable_progress_bar()
        if config.trainer is None:
            train = replace(compose("train", out=config.out), algorithm=config.algorithm, seed=config.seed)
            trainer: Auditable = EditR2Audit(training_settings(train))
        else:
            trainer = build("trainer", config.trainer, {}, None)
        results = run_audit(trainer, config.checks, config.seed)
    passed = all(result.passed for result in results)
    report = {"passed": passed, "results": [result.to_json() for result in results]}
    atomic_write_text(Path(config.out, "audit.json"), json.dumps(report, indent=2) + "\n")
    print(json.dumps(report) if config.json else table(results))
    return 0 if passed else 1
