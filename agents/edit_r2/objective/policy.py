"""Edit-R2's objective: the clipped policy gradient of intents and stochastic steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editenv.agents.edit_r2.objective.protocol import Batch, Policies
from editenv.agents.edit_r2.padding import single_turns
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.update import (
    Forward,
    UpdateSettings,
    check_ratio,
    judge,
    policy_loss,
    policy_trains,
    ratio_errors,
    trained_turns,
)

_MEASURED_SESSIONS = 8
_REPLACEABLE, _REPLACEABLE_HALF = 1e-2, 1.0
"""Ratios farther off 1 are no rounding: what is recomputed is not what was sampled.

Neighbouring bfloat16 numbers between 16 and 32, where logits of large models lie, are 1/8 apart: log-probs
of single tokens may be off by several tenths where other kernels work them out.
"""


def policy_gradient(
    policies: Policies, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings, first: bool
) -> tuple[Tensor, dict[str, float]]:
    """`policy_loss` of the turns that train; before an iteration's first update it also checks the ratio.

    Raises:
        RuntimeError: training computes other log-probs than the rollout did.
    """
    turns = single_turns(sessions)
    batch, share = trained_turns(turns, policy_trains(turns, update))
    now, then = judge(policies.model, batch, rollout, update), None
    if update.text_kl or update.flow_kl:
        with torch.no_grad(), policies.reference() as reference:
            then = judge(reference, batch, rollout, update)
    loss = policy_loss(now, then, batch, update)
    numbers = {name: float(value) for name, value in loss.parts.items()}
    if first:
        errors = ratio_errors(now, batch)
        numbers |= {f"{space}_ratio_error": error for space, error in errors.items()}
        check_ratio(errors, update)
    return loss.total * share, numbers


@torch.no_grad()
def recompute(
    model: Forward, minibatches: Sequence[Batch], rollout: RolloutSettings, update: UpdateSettings
) -> dict[str, float]:
    """Replaces the rollout's log-probs and means, in place, by those of the training forward.

    Kernels and batch shapes then are those of the update, so that ratios are 1 before the first one, however
    tight the clip.

    Returns:
        `text_rollout_error` and `flow_rollout_error`, the largest |ratio - 1| there was to be replaced.

    Raises:
        RuntimeError: rollout and training differ by more than rounding.
    """
    largest: dict[str, float] = {}
    for sessions in minibatches:
        turns = single_turns(sessions)
        trains = policy_trains(turns, update)
        if not trains.any():
            continue
        batch, _ = trained_turns(turns, trains)
        now = judge(model, batch, rollout, update)
        for space, error in ratio_errors(now, batch).items():
            largest[space] = max(largest.get(space, 0.0), error)
            check_rounding(space, error)
        where = trains.reshape(sessions["keep"].shape)
        for name in ("text_log_prob", "flow_log_prob_mean", "flow_mean"):
            value = getattr(now, name)
            if value is not None:
                sessions[name][where] = value.to(sessions[name].dtype)
    return {f"{space}_rollout_error": error for space, error in largest.items()}


def check_rounding(space: str, error: float) -> None:
    """Stops a run whose ratio before an update is off 1 by more than rounding.

    Raises:
        RuntimeError: names the space and the error.
    """
    most = _REPLACEABLE_HALF if torch.is_autocast_enabled("cuda") else _REPLACEABLE
    if not error <= most:
        raise RuntimeError(
            f"the {space} ratio between rollout and training differs from 1 by {error:.2e}, expected at most "
            f"{most:.0e}: they do not compute the same thing"
        )


@torch.no_grad()
def measured_kl(
    policies: Policies, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings
) -> dict[str, float]:
    """Distances to the reference on a few sessions, for the log, where the loss does not hold them."""
    if update.text_kl or update.flow_kl or not (update.text_weight or rollout.window):
        return {}
    few = single_turns({name: value[:_MEASURED_SESSIONS] for name, value in sessions.items()})
    now = judge(policies.plain, few, rollout, update)
    with policies.reference() as reference:
        then = judge(reference, few, rollout, update)
    parts = policy_loss(now, then, few, update).parts
    return {name: float(value) for name, value in parts.items() if name.endswith("_kl")}
