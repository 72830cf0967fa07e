"""A run that was stopped and started again is the run that never stopped."""

from __future__ import annotations

import tempfile
from pathlib import Path

from editenv.agents.audit.bench import Bench
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.known import KnownPolicy

_ITERATIONS = 3


def check_resume(bench: Bench) -> list[Finding]:
    """Three iterations at once against two, a stop, and one more.

    The run that goes on is handed another policy than the one it stopped with, so that one that starts at
    zero again in silence ends elsewhere.
    """
    trainer, seed = bench.trainer, bench.seed
    with tempfile.TemporaryDirectory() as folder:
        unbroken, broken = _fresh(bench), _fresh(bench)
        trainer.train(unbroken, Path(folder, "unbroken"), _ITERATIONS, seed)
        trainer.train(broken, Path(folder, "broken"), _ITERATIONS - 1, seed)
        stopped = _apart(broken, unbroken)
        resumed = bench.policy.moved()
        trainer.train(resumed, Path(folder, "broken"), _ITERATIONS, seed)
    learnt = _apart(unbroken, bench.policy)
    return [
        Finding("resume", "weights apart after stop and resume", _apart(resumed, unbroken)),
        Finding("resume", "iterations that moved the weights", float((learnt > 0) + (stopped > 0)), 2.0),
    ]


def _fresh(bench: Bench) -> KnownPolicy:
    return bench.policy.moved(0.0, 0.0, 0.0)


def _apart(one: KnownPolicy, other: KnownPolicy) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)
