"""Advantages that pay each turn for its own reward alone."""

from torch import Tensor

from editenv.agents.edit_r2.advantage.standard import Parts, scored, standardised


def pooled(
    rewards: Tensor,
    valid: Tensor | None = None,
    *,
    clip: float = 5.0,
    eps: float = 1e-4,
    std: str = "batch",
    parts: Parts | None = None,
) -> Tensor:
    """Published advantage of Edit-R2 (arXiv 2606.05950): one baseline for all rollouts and turns of a group.

    A = (R - mean of the group's rewards over rollouts and turns) / (std of the whole batch + eps), within
    +-clip

    Pooling over turns makes easy first turns look good and hard later ones bad; `per_turn` does not.
    Arguments as `Advantage`.
    """
    values, counted = scored(rewards, valid)
    return standardised(values, counted, (1, 2), clip, eps, std)


def per_turn(
    rewards: Tensor,
    valid: Tensor | None = None,
    *,
    clip: float = 5.0,
    eps: float = 1e-4,
    std: str = "batch",
    parts: Parts | None = None,
) -> Tensor:
    """Advantage with a baseline of its own for each turn: the mean of the group's rollouts at that turn.

    A = (R - mean of the group's rewards at the same turn) / (std of the whole batch + eps), within +-clip

    Arguments as `Advantage`.
    """
    values, counted = scored(rewards, valid)
    return standardised(values, counted, (1,), clip, eps, std)
