"""Trainings in a process of their own, which can be killed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

LIMIT = 600.0
"""Seconds a process may take: many, as it may have to share its core; it is there to end a hung test."""


def begin(train: Callable[[Any], object], config: Any) -> BaseProcess:
    """A process that trains; it starts with everything imported, and nothing drawn."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tiny_editor"])
    process = context.Process(target=train, args=(config,))
    process.start()
    return process


def finish(train: Callable[[Any], object], config: Any) -> None:
    """Trains to the end, which has to be a good one."""
    process = begin(train, config)
    process.join(LIMIT)
    process.kill()
    assert process.exitcode == 0
