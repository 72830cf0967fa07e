"""Filters: which turns train, and which count in the statistics of the advantages."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Filtered(NamedTuple):
    """What a filter says of each turn.

    Attributes:
        keep: bool [spec, rollout, turn]; False gives neither text nor flow loss.
        counts: bool in the same shape; False leaves a turn's reward out of means, stds and returns.
    """

    keep: Tensor
    counts: Tensor

    def counted(self, rewards: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
        """What an advantage is worked out from: rewards, and which of them are in its statistics.

        A turn that does not count need not have been scored: its reward is 0 then, and no return misses it.

        Args:
            rewards: in the shape of `counts`, NaN where not known.
            scored: bool, where a judge has given a reward.
        """
        return rewards.masked_fill(~self.counts, 0.0), scored & self.counts


class Filter(Protocol):
    """(instruction_following [spec, rollout, turn], valid) -> Filtered, bools in the same shape."""

    def __call__(
        self, instruction_following: Tensor, valid: Tensor | None = None, *, threshold: float = 0.5
    ) -> Filtered:
        """What trains and what counts.

        Args:
            instruction_following: [..., turn], scores 0 to 1; NaN (not scored) is no failure.
            valid: bool in the same shape; a turn that is not valid is no failure. None: all are valid.
            threshold: for `threshold`, the score below which a turn has failed.
        """


def first_failure(
    instruction_following: Tensor, valid: Tensor | None = None, *, threshold: float = 0.5
) -> Filtered:
    """Published filter of Edit-R2 (arXiv 2606.05950): nothing after a session's first failed turn trains.

    The failed turn itself (instruction following of exactly 0) still trains. What follows started from a
    wrong picture; both its losses, text and flow, are masked, while its rewards still count in mean and std.
    Arguments as `Filter`.
    """
    keep = _until_first(instruction_following == 0, valid)
    return Filtered(keep, torch.ones_like(keep))


def exclude(
    instruction_following: Tensor, valid: Tensor | None = None, *, threshold: float = 0.5
) -> Filtered:
    """`first_failure` whose filtered turns leave the statistics too: baselines are those of clean starts."""
    keep = _until_first(instruction_following == 0, valid)
    return Filtered(keep, keep)


def resample(
    instruction_following: Tensor, valid: Tensor | None = None, *, threshold: float = 0.5
) -> Filtered:
    """`exclude` for sessions that are left at their first failure: no turn of theirs comes after it.

    In the turns that they leave, rollouts try again what siblings have reached cleanly (`course.Branches`).
    These tries belong to no session; all of them train, paid by `again.same_state`.
    """
    return exclude(instruction_following, valid)


def below_threshold(
    instruction_following: Tensor, valid: Tensor | None = None, *, threshold: float = 0.5
) -> Filtered:
    """`first_failure` for graded judges: a turn has failed whose score lies below the threshold."""
    keep = _until_first(instruction_following < threshold, valid)
    return Filtered(keep, torch.ones_like(keep))


def none(instruction_following: Tensor, valid: Tensor | None = None, *, threshold: float = 0.5) -> Filtered:
    """No filter: every turn trains and counts; only the shape of the scores is used."""
    everything = torch.ones_like(instruction_following, dtype=torch.bool)
    return Filtered(everything, everything)


def _until_first(failed: Tensor, valid: Tensor | None) -> Tensor:
    """True up to and including the first failure."""
    if valid is not None:
        failed = failed & valid.bool()
    failures_before = failed.long().cumsum(dim=-1) - failed.long()
    return failures_before == 0


FILTERS: dict[str, Filter] = {
    "first_failure": first_failure,
    "exclude": exclude,
    "threshold": below_threshold,
    "resample": resample,
    "none": none,
}
