"""A tiny training as one of several processes; run as a file, as `accelerate launch` runs it, without a GPU.

    training_processes.py OUT LORA_RANK [dies]

accelerate gives FSDP to accelerators alone: it is talked out of it here. All else that it does is its own.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed.fsdp
from accelerate import PartialState
from accelerate.utils import DistributedType

from editenv.agents.distributed import process
from editenv.agents.heldout import training_reward
from editenv.agents.resume import newest_checkpoint
from editenv.agents.trainer import EditR2Trainer, RolloutCallback
from tests.tiny_editor import brightness_envs, tiny_policy, tiny_settings, weights

SPECS, ROLLOUTS, ITERATIONS = 3, 2, 2
"""Of six sessions each of two processes plays three: the second group is divided between them."""


class Rewards(RolloutCallback):
    """Keeps the training reward of an iteration, of all processes and of this one's own sessions."""

    def __init__(self) -> None:
        self.everyones: list[float] = []
        self.own: list[float] = []

    def on_rollout(self, iteration: int, rollout: Any, advantages: Any, sessions: Any) -> None:
        for found, played in ((self.everyones, sessions), (self.own, rollout.sessions)):
            paid_out = training_reward(played)
            assert paid_out is not None
            found += [paid_out.mean, paid_out.error]


class Kept(EditR2Trainer):
    """Keeps what it was paid and its losses; the first process may die as it begins its last rollout."""

    dies = False

    def _rollout(self, iteration: int, *others: Any) -> Any:
        if self.dies and iteration == ITERATIONS - 1 and self.accelerator.is_main_process:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._rollout(iteration, *others)

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        total = super()._compute_loss(model, inputs)
        names = ("group_id", "latents", "advantage", "loss_mask")
        self.kept.append({name: inputs[name].clone() for name in names} | {"loss": total.detach()})
        return total


def train_and_keep(out: Path, dies: bool = False, **changes: Any) -> dict[str, Any]:
    """A training from the newest whole checkpoint on: what this process had, and of which kind it was."""
    settings = tiny_settings(
        out,
        groups=SPECS,
        group_size=ROLLOUTS,
        iterations=ITERATIONS,
        updates_per_iteration=1,
        save_every=1,
        filter="none",
        advantage_std="group",
        text_kl=0.5,
        flow_kl=0.5,
        **changes,
    )
    envs = brightness_envs(SPECS * ROLLOUTS // process().num_processes)
    # Adapters begin at random.
    torch.manual_seed(0)
    rewards = Rewards()
    trainer = Kept(tiny_policy(), envs, settings, [rewards])
    trainer.kept, trainer.dies = [], dies
    found = newest_checkpoint(out)
    trainer.train(resume_from_checkpoint=str(found) if found else None)
    norms = [log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log]
    kind = trainer.accelerator.distributed_type.value
    return {
        "steps": trainer.kept,
        "weights": weights(trainer.merged_model()),
        "norms": norms,
        "kind": kind,
        "rewards": rewards.everyones,
        "own_rewards": rewards.own,
    }


def _shard_without_a_gpu() -> None:
    """Has accelerate take processes on CPUs for ones on GPUs, and FSDP2 add up, as gloo cannot average."""
    join, shard = PartialState.__init__, torch.distributed.fsdp.fully_shard

    def as_gpus(self: PartialState, *args: Any, **kwargs: Any) -> None:
        join(self, *args, **kwargs)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    def summed(modules: Any, **kwargs: Any) -> Any:
        sharded = shard(modules, **kwargs)
        for module in modules if isinstance(modules, tuple | list) else (modules,):
            module.set_force_sum_reduction_for_comms(True)
        return sharded

    PartialState.__init__, torch.distributed.fsdp.fully_shard = as_gpus, summed


def main(out: Path, lora_rank: int, dies: bool) -> None:
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        _shard_without_a_gpu()
    # Halves of three sessions: gradients of the first are kept apart from the other process's.
    changes = {"max_grad_norm": 0.05, "schedule": "linear", "chunk_sessions": 2, "lora_rank": lora_rank}
    changes["lora_alpha"] = 128
    found = train_and_keep(out, dies, **changes)
    torch.save(found, out / f"{process().process_index}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), "dies" in sys.argv[3:])
