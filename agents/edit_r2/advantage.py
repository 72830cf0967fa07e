"""Advantages: how much better a turn went than its group did. All functions share one signature."""

from typing import Protocol

import torch
from torch import Tensor


class Advantage(Protocol):
    """(rewards [spec, rollout, turn], valid) -> advantages [spec, rollout, turn]."""

    def __call__(
        self, rewards: Tensor, valid: Tensor | None = None, *, clip: float = 5.0, eps: float = 1e-4
    ) -> Tensor:
        """Return advantages; see `pooled` for the arguments."""


def pooled(rewards: Tensor, valid: Tensor | None = None, *, clip: float = 5.0, eps: float = 1e-4) -> Tensor:
    """Published advantage of Edit-R2 (arXiv 2606.05950): one baseline for all rollouts and turns of a group.

    A = (R - mean of the group's rewards over rollouts and turns) / (std of the whole batch + eps), within
    +-clip

    Pooling over turns makes easy first turns look good and hard later ones bad; `per_turn` does not.

    Args:
        rewards: [spec, rollout, turn]; NaN marks a turn that was not scored.
        valid: bool in the same shape; False leaves a turn out of mean and std. None: every scored turn is
            valid.
        clip: bound of the advantage, above 0.
        eps: added to the population std (ddof 0).

    Returns:
        Advantages in the shape of rewards, float64; 0 where a turn was left out.

    Raises:
        ValueError: rewards that are not three-dimensional or infinite, or a `valid` of another shape.
    """
    return _standardised(rewards, valid, dims=(1, 2), clip=clip, eps=eps)


def per_turn(rewards: Tensor, valid: Tensor | None = None, *, clip: float = 5.0, eps: float = 1e-4) -> Tensor:
    """Advantage with a baseline of its own for each turn: the mean of the group's rollouts at that turn.

    A = (R - mean of the group's rewards at the same turn) / (std of the whole batch + eps), within +-clip

    Args:
        rewards: [spec, rollout, turn]; NaN marks a turn that was not scored.
        valid: bool in the same shape; False leaves a turn out of mean and std. None: every scored turn is
            valid.
        clip: bound of the advantage, above 0.
        eps: added to the population std (ddof 0).

    Returns:
        Advantages in the shape of rewards, float64; 0 where a turn was left out.

    Raises:
        ValueError: rewards that are not three-dimensional or infinite, or a `valid` of another shape.
    """
    return _standardised(rewards, valid, dims=(1,), clip=clip, eps=eps)


def constant_groups(rewards: Tensor, valid: Tensor | None = None, tolerance: float = 1e-6) -> float:
    """Share of groups that teach nothing, because all their rewards are equal.

    Equality is a spread (largest minus smallest) within the tolerance: the float32 std of 18 equal rewards of
    0.85 is 6e-8 and not 0. A group without any valid turn teaches nothing either and counts.

    Args:
        rewards: [spec, rollout, turn]; NaN marks a turn that was not scored.
        valid: bool in the same shape, or None.
        tolerance: largest spread of a constant group, in units of reward.

    Returns:
        Constant groups divided by all groups, 0 to 1.
    """
    values, counted = _scored(rewards, valid)
    largest = values.masked_fill(~counted, -torch.inf).amax(dim=(1, 2))
    smallest = values.masked_fill(~counted, torch.inf).amin(dim=(1, 2))
    return float((largest - smallest <= tolerance).double().mean())


def _scored(rewards: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    if rewards.ndim != 3 or rewards.numel() == 0:
        raise ValueError(f"rewards: got shape {tuple(rewards.shape)}, expected [spec, rollout, turn]")
    if valid is not None and valid.shape != rewards.shape:
        raise ValueError(f"valid: got shape {tuple(valid.shape)}, expected {tuple(rewards.shape)} as rewards")
    values = rewards.detach().double()
    counted = ~values.isnan() if valid is None else valid.bool() & ~values.isnan()
    if bool(values[counted].isinf().any()):
        raise ValueError("rewards: got an infinite number, expected finite or NaN (not scored)")
    return values.masked_fill(~counted, 0.0), counted


def _standardised(
    rewards: Tensor, valid: Tensor | None, dims: tuple[int, ...], clip: float, eps: float
) -> Tensor:
    values, counted = _scored(rewards, valid)
    group_size = counted.sum(dim=dims, keepdim=True).clamp(min=1)
    centred = values - values.sum(dim=dims, keepdim=True) / group_size
    std = values[counted].std(correction=0) if bool(counted.any()) else values.new_zeros(())
    return (centred / (std + eps)).clamp(-clip, clip).masked_fill(~counted, 0.0)


ADVANTAGES: dict[str, Advantage] = {"pooled": pooled, "turn": per_turn}
