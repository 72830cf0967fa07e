"""How many threads torch takes."""

from __future__ import annotations

import os


def use_threads(count: int | None) -> None:
    """Sets torch's threads for work inside of operations.

    Args:
        count: how many; None leaves them as they are, but for no more than the cores this process may use:
            in containers torch counts the whole machine's.

    Raises:
        ValueError: count is below 1.
    """
    import torch

    if count is not None and count < 1:
        raise ValueError(f"threads is {count}, expected 1 or more")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(count or min(torch.get_num_threads(), cores))
