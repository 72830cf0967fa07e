"""Filters: which turns train. The others give neither text nor flow loss, yet count in the statistics."""

from typing import Protocol

import torch
from torch import Tensor


class Filter(Protocol):
    """(instruction_following [spec, rollout, turn], valid) -> keep, bool in the same shape."""

    def __call__(self, instruction_following: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return which turns train; see `first_failure` for the arguments."""


def first_failure(instruction_following: Tensor, valid: Tensor | None = None) -> Tensor:
    """Published filter of Edit-R2 (arXiv 2606.05950): nothing after a session's first failed turn trains.

    The failed turn itself (instruction following of exactly 0) still trains. What follows started from a
    wrong picture; both its losses, text and flow, are masked, while its rewards still count in mean and std.

    Args:
        instruction_following: [..., turn], scores 0 to 1; NaN (not scored) is no failure.
        valid: bool in the same shape; a turn that is not valid is no failure. None: all are valid.

    Returns:
        Bool in the same shape: True up to and including the first failure.
    """
    failed = instruction_following == 0
    if valid is not None:
        failed = failed & valid.bool()
    failures_before = failed.long().cumsum(dim=-1) - failed.long()
    return failures_before == 0


def none(instruction_following: Tensor, valid: Tensor | None = None) -> Tensor:
    """No filter: every turn trains.

    Args:
        instruction_following: [..., turn]; only its shape is used.
        valid: not needed here; part of the signature that all filters share.

    Returns:
        True in the shape of `instruction_following`.
    """
    return torch.ones_like(instruction_following, dtype=torch.bool)


FILTERS: dict[str, Filter] = {"first_failure": first_failure, "none": none}
