"""What all advantages share: their signature, which turns count, and standardising against a group."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from editenv.registry import lookup


class Parts(NamedTuple):
    """The scores that a reward is the weighted sum of.

    Attributes:
        scores: [spec, rollout, turn, score]; NaN where a score does not apply.
        weights: of the scores in the reward, [score].
    """

    scores: Tensor
    weights: Tensor


class Advantage(Protocol):
    """(rewards [spec, rollout, turn], valid) -> advantages [spec, rollout, turn]."""

    def __call__(
        self,
        rewards: Tensor,
        valid: Tensor | None = None,
        *,
        clip: float = 5.0,
        eps: float = 1e-4,
        std: str = "batch",
        parts: Parts | None = None,
    ) -> Tensor:
        """How much better each turn is than its group; 0 where a turn is left out.

        Args:
            rewards: [spec, rollout, turn]; NaN marks a turn whose judge gave no answer.
            valid: bool in the same shape; False leaves a turn out of mean and std. None: every scored turn is
                valid.
            clip: bound of the advantage, above 0.
            eps: added to the population std (ddof 0).
            std: a name in SPREADS.
            parts: what the rewards were summed up from; only `fused` needs them.

        Returns:
            Advantages in the shape of rewards, float64.

        Raises:
            ValueError: rewards that are not three-dimensional or infinite, a `valid` of another shape, or an
                `std` that is not known.
        """


def scored(rewards: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rewards in float64 with 0 where they do not count, and where they do.

    Raises:
        ValueError: rewards that are not three-dimensional or infinite, or a `valid` of another shape.
    """
    if rewards.ndim != 3 or rewards.numel() == 0:
        raise ValueError(f"rewards: got shape {tuple(rewards.shape)}, expected [spec, rollout, turn]")
    if valid is not None and valid.shape != rewards.shape:
        raise ValueError(f"valid: got shape {tuple(valid.shape)}, expected {tuple(rewards.shape)} as rewards")
    values = rewards.detach().double()
    counted = ~values.isnan() if valid is None else valid.bool() & ~values.isnan()
    if bool(values[counted].isinf().any()):
        raise ValueError("rewards: got an infinite number, expected finite or NaN (not scored)")
    return values.masked_fill(~counted, 0.0), counted


def batch_std(values: Tensor, counted: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Population std of all that counts in the batch, as published; a scalar."""
    return values[counted].std(correction=0) if bool(counted.any()) else values.new_zeros(())


def group_std(values: Tensor, counted: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Population std of each group over `dims`, which keep size 1."""
    size = counted.sum(dim=dims, keepdim=True).clamp(min=1)
    mean = values.masked_fill(~counted, 0.0).sum(dim=dims, keepdim=True) / size
    squared = (values - mean).square().masked_fill(~counted, 0.0)
    return (squared.sum(dim=dims, keepdim=True) / size).sqrt()


SPREADS = {"batch": batch_std, "group": group_std}


def standardised(
    values: Tensor, counted: Tensor, dims: tuple[int, ...], clip: float, eps: float, std: str
) -> Tensor:
    """(value - mean of its group) / (std + eps) within +-clip, 0 where nothing counts.

    Args:
        values: float64, 0 where they do not count.
        counted: bool in the same shape.
        dims: dimensions that a group spans.
        clip: bound on both sides.
        eps: added to the std.
        std: a name in SPREADS.
    """
    group_size = counted.sum(dim=dims, keepdim=True).clamp(min=1)
    centred = values - values.sum(dim=dims, keepdim=True) / group_size
    spread = lookup("advantage_std", std, SPREADS)(values, counted, dims)
    return (centred / (spread + eps)).clamp(-clip, clip).masked_fill(~counted, 0.0)


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
    values, counted = scored(rewards, valid)
    largest = values.masked_fill(~counted, -torch.inf).amax(dim=(1, 2))
    smallest = values.masked_fill(~counted, torch.inf).amin(dim=(1, 2))
    return float((largest - smallest <= tolerance).double().mean())
