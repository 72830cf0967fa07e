"""Runs a function in gloo processes of its own, as many as asked for, and reads what each has kept."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def join_others(rank: int, processes: int, port: int) -> None:
    """Tells this process which of how many it is, and where they meet."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def in_processes(work: Callable[[Path, int, int, int], None], folder: Path, count: int, limit: float) -> list[Any]:
    """Calls `work(folder, rank, count, port)` in each process; what each wrote into RANK.pt, in order.

    Fails where one of them ends with another status than 0 or after `limit` seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tiny_editor"])
    port = free_port()
    running = [context.Process(target=work, args=(folder, rank, count, port)) for rank in range(count)]
    for one in running:
        one.start()
    for one in running:
        one.join(limit)
    exits = [one.exitcode for one in running]
    for one in running:
        one.kill()
    assert exits == [0] * count
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]
