"""`editenv audit [--json] [KEY=VALUE ...]`: what holds of a trainer, exit status 1 where not all does."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path

import torch
import transformers

from editenv.agents.audit.edit_r2 import EditR2Audit
from editenv.agents.audit.finding import Finding, table
from editenv.agents.audit.protocol import Auditable
from editenv.agents.audit.run import run_audit
from editenv.agents.limits import check_limits
from editenv.agents.train import training_settings
from editenv.configs.compose import compose
from editenv.configs.schema import AuditConfig


def audit(words: Sequence[str]) -> int:
    """Runs the command, and leaves `audit.json` in the folder `out`.

    Args:
        words: what is typed after `editenv audit`.

    Returns:
        The exit status: 0, or 1 where a check failed.

    Raises:
        ValueError: the words are not KEY=VALUE or --json, or name no trainer or check.
    """
    overrides = [word for word in words if word != "--json"]
    wrong = [word for word in overrides if "=" not in word]
    if wrong:
        raise ValueError(f"audit got {wrong[0]!r}, expected `editenv audit [--json] [KEY=VALUE ...]`")
    config = compose("audit", overrides)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        transformers.utils.logging.disable_progress_bar()
        findings = run_audit(_trainer(config), config.checks, config.seed)
    report = _report(findings)
    Path(config.out).mkdir(parents=True, exist_ok=True)
    Path(config.out, "audit.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report) if "--json" in words else table(findings))
    return 0 if report["passed"] else 1


def _trainer(config: AuditConfig) -> Auditable:
    if config.trainer is None:
        train = replace(compose("train", out=config.out), algorithm=config.algorithm, seed=config.seed)
        check_limits(train)
        return EditR2Audit(training_settings(train))
    module, _, name = config.trainer.partition(":")
    try:
        make = getattr(import_module(module), name)
        signature(make).bind()
    except (ModuleNotFoundError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(
            f"trainer is {config.trainer!r}, expected MODULE:FUNCTION that returns an Auditable ({error})"
        ) from error
    made: Auditable = make()
    return made


def _report(findings: Sequence[Finding]) -> dict[str, object]:
    passed = all(finding.passed for finding in findings)
    return {"passed": passed, "findings": [finding.to_json() for finding in findings]}
