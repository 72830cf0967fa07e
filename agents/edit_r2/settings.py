"""Everything about a training but the model and the environment, checked before either is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from editenv.agents.distributed import check_precision
from editenv.agents.edit_r2.credit import CreditSettings, check_spending
from editenv.agents.edit_r2.objective import OBJECTIVES, check_behaviour
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.update import UpdateSettings
from editenv.registry import lookup

SCHEDULES = dict.fromkeys(("constant", "linear", "cosine"))
"""Learning rates over a run, as transformers calls them; all but the first fall to zero."""


@dataclass(frozen=True)
class TrainingSettings:
    """Everything about a training but the model and the environment.

    Attributes:
        out: folder of checkpoints.
        seed: of sessions, noise and minibatches.
        iterations: how many.
        specs: session scripts an iteration.
        save_every: iterations between checkpoints.
        schedule: of the learning rates, one of SCHEDULES.
        rollout, credit, update: how sessions are sampled, turns paid and the policy updated.
        lora_rank, lora_alpha: of the adapters; rank 0 trains the weights themselves.
        report_to: trackers, as TRL names them.
        precision: of the network's arithmetic, a name in PRECISIONS; log-probs and losses are float32 in any.

    Raises:
        ValueError: a name is not known, or numbers do not fit together.
    """

    out: Path
    seed: int = 0
    iterations: int = 60
    specs: int = 16
    save_every: int = 10
    schedule: str = "constant"
    rollout: RolloutSettings = RolloutSettings()  # noqa: RUF009 - frozen
    credit: CreditSettings = CreditSettings()  # noqa: RUF009 - frozen
    update: UpdateSettings = UpdateSettings()  # noqa: RUF009 - frozen
    lora_rank: int = 0
    lora_alpha: float = 128
    report_to: tuple[str, ...] = ()
    precision: str = "float32"

    def __post_init__(self) -> None:
        lookup("schedule", self.schedule, SCHEDULES)
        check_precision(self.precision)
        objective = lookup("objective", self.update.objective, OBJECTIVES)
        check_behaviour(objective, self.rollout, self.update)
        if objective.window and self.update.flow_weight and not self.rollout.window:
            raise ValueError("window is 0, expected 1 or more for objective 'policy'")
        update = self.update
        if not objective.window and (update.text_kl or update.flow_kl or update.recompute):
            raise ValueError(
                f"objective is {update.objective!r}, expected 'policy' where text_kl, flow_kl or recompute "
                "is set"
            )
        if update.nft_decay and update.objective != "nft":
            raise ValueError(
                f"nft_decay is {update.nft_decay}, expected 0 for objective {update.objective!r}"
            )
        if update.kl == "published" and self.rollout.sampler == "cps":
            raise ValueError(
                "kl is 'published' with sampler 'cps', expected 'gaussian': there the published distance "
                "leaves no step size out"
            )
        check_spending(self.rollout, self.credit)
        for name in ("iterations", "specs", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        updates, sessions = self.update.updates_per_iteration, self.specs * self.rollout.rollouts
        if updates < 1 or sessions % updates:
            raise ValueError(
                f"updates_per_iteration is {updates}, expected a divisor of specs * rollouts = {sessions}"
            )
