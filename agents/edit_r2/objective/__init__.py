"""Objectives: what a model learns from a rollout; one signature for all."""

from editenv.agents.edit_r2.objective.forward import with_noise, with_old_velocity
from editenv.agents.edit_r2.objective.imitation import rejection_loss, supervised_loss
from editenv.agents.edit_r2.objective.nft import nft_loss
from editenv.agents.edit_r2.objective.policy import policy_gradient
from editenv.agents.edit_r2.objective.protocol import Objective, Policies, nothing_more

__all__ = ["OBJECTIVES", "Objective", "Policies"]

OBJECTIVES: dict[str, Objective] = {
    "policy": Objective(nothing_more, policy_gradient, behaviour="policy", window=True),
    "nft": Objective(with_old_velocity, nft_loss, behaviour="policy"),
    "rft": Objective(with_noise, rejection_loss, behaviour="policy"),
    "supervised": Objective(with_noise, supervised_loss, behaviour="oracle"),
}
