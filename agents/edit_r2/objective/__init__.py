"""Objectives: what a model learns from a rollout; one signature for all."""

from editenv.agents.edit_r2.objective.forward import with_noise, with_old_velocity
from editenv.agents.edit_r2.objective.imitation import accepted, every_scored, rejection_loss, supervised_loss
from editenv.agents.edit_r2.objective.nft import nft_loss
from editenv.agents.edit_r2.objective.policy import measured_kl, policy_gradient
from editenv.agents.edit_r2.objective.protocol import (
    Objective,
    Policies,
    check_behaviour,
    nothing_measured,
    nothing_more,
)
from editenv.agents.edit_r2.update import policy_trains

__all__ = ["OBJECTIVES", "Objective", "Policies", "check_behaviour"]

TRIES = ("policy", "right_intents", "exact_pictures")
"""Behaviours in which the model tries something."""

OBJECTIVES: dict[str, Objective] = {
    "policy": Objective(nothing_more, policy_gradient, policy_trains, TRIES, measured_kl, window=True),
    "nft": Objective(with_old_velocity, nft_loss, policy_trains, TRIES, measured_kl),
    "rft": Objective(with_noise, rejection_loss, accepted, TRIES, nothing_measured),
    "supervised": Objective(with_noise, supervised_loss, every_scored, ("oracle",), nothing_measured),
}
