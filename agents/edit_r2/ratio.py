"""Log-ratios of a stochastic step under the policy and under the one that sampled it."""

from typing import Protocol

from torch import Tensor

from editenv.agents.flow.transition import in_full_precision


class LogRatio(Protocol):
    """Log-ratio of each step, [...]; see `plain_log_ratio` for the arguments."""

    def __call__(
        self, log_prob: Tensor, old_log_prob: Tensor, mean: Tensor, old_mean: Tensor, std: Tensor
    ) -> Tensor:
        """Return the log-ratios."""


def plain_log_ratio(
    log_prob: Tensor, old_log_prob: Tensor, mean: Tensor, old_mean: Tensor, std: Tensor
) -> Tensor:
    """Published: log_prob - old_log_prob, both means over latent dimensions.

    With a mean that moved by d, sampled noise eps and std s it is mean(eps d / s - d^2 / (2 s^2)): below 0 on
    average, and the more so the smaller s is, so that one clip range does not suit all steps.

    Args:
        log_prob: under the policy, [...]; gradients flow through it.
        old_log_prob: under the policy that sampled, in the same shape; detached.
        mean: of the policy's transition, [..., N, C].
        old_mean: of the transition that was sampled from, in the same shape.
        std: of both, [...].
    """
    log_prob, old_log_prob = in_full_precision(log_prob, old_log_prob.detach())
    return log_prob - old_log_prob


def guarded_log_ratio(
    log_prob: Tensor, old_log_prob: Tensor, mean: Tensor, old_mean: Tensor, std: Tensor
) -> Tensor:
    """Ratio normalisation of GRPO-Guard (arXiv 2510.22319): centred on 1 and of one scale at every step.

    s (log_prob - old_log_prob + mean((mean - old_mean)^2) / (2 s^2)), which is mean(eps d): with expectation
    0, and a spread that depends on how far the mean moved alone. Arguments as `plain_log_ratio`.
    """
    log_ratio = plain_log_ratio(log_prob, old_log_prob, mean, old_mean, std)
    mean, old_mean, std = in_full_precision(mean, old_mean.detach(), std)
    moved = (mean - old_mean).square().mean(dim=(-2, -1))
    return std * (log_ratio + moved / (2 * std.square()))


RATIOS: dict[str, LogRatio] = {"plain": plain_log_ratio, "guard": guarded_log_ratio}
