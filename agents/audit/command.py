"""`editenv audit [--json] [KEY=VALUE ...]`: checks a trainer, exit status 1 where not all does."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import torch
import transformers

from editenv.agents.audit.edit_r2 import EditR2Audit
from editenv.agents.audit.protocol import Auditable
from editenv.agents.audit.results import table
from editenv.agents.audit.run import run_audit
from editenv.agents.train import training_settings
from editenv.configs.compose import compose
from editenv.configs.schema import AuditConfig
from editenv.registry import build


def audit(config: AuditConfig) -> int:
    """Runs the checks, prints what came out, and leaves `audit.json` in the folder `out`.

    Returns:
        The exit status: 0, or 1 where a check failed.

    Raises:
        ValueError: the settings name no trainer or check.
    """
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        transformers.utils.logging.disable_progress_bar()
        results = run_audit(_trainer(config), config.checks, config.seed)
    passed = all(result.passed for result in results)
    report = {"passed": passed, "results": [result.to_json() for result in results]}
    Path(config.out).mkdir(parents=True, exist_ok=True)
    Path(config.out, "audit.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report) if config.json else table(results))
    return 0 if passed else 1


def _trainer(config: AuditConfig) -> Auditable:
    if config.trainer is None:
        train = replace(compose("train", out=config.out), algorithm=config.algorithm, seed=config.seed)
        return EditR2Audit(training_settings(train))
    trainer: Auditable = build("trainer", config.trainer, {}, None)
    return trainer
