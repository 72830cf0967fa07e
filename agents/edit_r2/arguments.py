"""What TRL's trainer is told of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from trl import GRPOConfig

from editenv.agents.edit_r2.ranks import process

if TYPE_CHECKING:
    from editenv.agents.edit_r2.settings import TrainingSettings

SCHEDULES = {"constant": "constant", "linear": "linear", "cosine": "cosine"}
"""Learning rates over a run by name, as transformers calls them; all but the first fall to zero."""


def trainer_arguments(settings: TrainingSettings) -> GRPOConfig:
    """Everything that TRL, transformers and accelerate do is as these say.

    Raises:
        ValueError: an update's sessions cannot be shared out over the processes.
    """
    updates, sessions = settings.update.updates_per_iteration, settings.specs * settings.rollout.rollouts
    processes = process().num_processes
    if sessions % (updates * processes):
        raise ValueError(
            f"updates_per_iteration is {updates} on {processes} processes, expected their product to divide "
            f"specs * rollouts = {sessions}"
        )
    return GRPOConfig(
        output_dir=str(settings.out),
        seed=settings.seed,
        per_device_train_batch_size=sessions // updates // processes,
        steps_per_generation=updates,
        gradient_accumulation_steps=1,
        num_generations=settings.rollout.rollouts,
        max_steps=settings.iterations * updates,
        learning_rate=settings.update.text_rate,
        lr_scheduler_type=SCHEDULES[settings.schedule],
        beta=0.0,
        temperature=settings.rollout.turn.temperature or 1.0,
        bf16=False,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        ignore_data_skip=True,
        logging_steps=updates,
        logging_strategy="steps",
        save_strategy="steps",
        save_steps=settings.save_every * updates,
        report_to=list(settings.report_to),
        disable_tqdm=True,
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
    )
