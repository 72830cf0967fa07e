"""How much memory parallel sessions take, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from editenv.bench.play import Sessions, right_answers

_STATUS = Path("/proc/self/statm")
_PAGE = 4096


def sessions_mb(count: int) -> float | None:
    """Megabytes (10^6 bytes) by which a fresh process grows; None where the system does not tell.

    Args:
        count: sessions side by side, each of three turns with its four pictures.
    """
    if not _STATUS.exists():
        return None
    program = f"from editenv.bench.memory import grown_mb; print(grown_mb({count}))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(run.stdout)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(_STATUS.read_text().split()[1]) * _PAGE


def grown_mb(count: int) -> float:
    """Plays sessions side by side, leaving each picture as it is; this process's growth in megabytes."""
    sessions = Sessions()
    # Tables and imports that are there once, however many sessions are played, are no part of it.
    small = sessions.env(8)
    small.reset(seed=1)
    for pictures in right_answers(sessions, 1, 8)[0]:
        small.step({"image": pictures, "intent": ("",) * 8})
    before = _resident()
    env = sessions.env(count)
    seen, _ = env.reset(seed=0)
    most = _resident()
    for _ in range(env.engine.world.max_turns):
        seen, *_ = env.step({"image": seen["image"], "intent": ("",) * count})
        most = max(most, _resident())
    return (most - before) / 1e6
