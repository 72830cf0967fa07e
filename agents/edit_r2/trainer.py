"""Edit-R2's trainer: TRL's GRPOTrainer with sessions for completions and the joint loss of text and flow.

One row of TRL's batches is one session. An iteration samples `specs * rollouts` of them, scores them and
makes `updates_per_iteration` optimiser steps, each on its share. Launching, checkpoints, logging and LoRA are
TRL's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from editenv.agents.edit_r2.choice import chosen
from editenv.agents.edit_r2.credit import CreditSettings, credit, score_weights
from editenv.agents.edit_r2.experts import clip_gradients, freeze_experts, parameter_groups
from editenv.agents.edit_r2.resume import keep_newest, mark_complete
from editenv.agents.edit_r2.rollout import Rollout, RolloutSettings, collect
from editenv.agents.edit_r2.stopwatch import Stopwatch
from editenv.agents.edit_r2.update import (
    Judgement,
    UpdateSettings,
    check_ratio,
    judge,
    policy_loss,
    ratio_errors,
    trained_turns,
)
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.unified import UnifiedModel
from editenv.vector import MICEEditVectorEnv

SCHEDULES = {"constant": "constant", "linear": "linear", "cosine": "cosine"}
"""Learning rates over a run by name, as transformers calls them; all but the first fall to zero."""

_KL_SESSIONS = 8
_KEPT = 2
_BATCH_WIDE = ("group_id",)
_SCORES = ("reward", "instruction_following")


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

    def __post_init__(self) -> None:
        chosen("schedule", self.schedule, SCHEDULES)
        for name in ("iterations", "specs", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        updates, sessions = self.update.updates_per_iteration, self.specs * self.rollout.rollouts
        if updates < 1 or sessions % updates:
            raise ValueError(
                f"updates_per_iteration is {updates}, expected a divisor of specs * rollouts = {sessions}"
            )


class EditR2Trainer(GRPOTrainer):
    """Trains a checkpoint's model on sessions of an environment.

    Args:
        checkpoint: its model is trained in place.
        envs: `specs * rollouts` environments side by side, autoreset disabled.
        settings: see TrainingSettings.
        watch: called in each iteration with its number and rollout, before the update; what it returns is
            logged.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        envs: MICEEditVectorEnv,
        settings: TrainingSettings,
        watch: Callable[[int, Rollout], dict[str, float]] | None = None,
    ) -> None:
        self.checkpoint, self.envs, self.settings = checkpoint, envs, settings
        self.watch, self.stopwatch = watch, Stopwatch()
        update = settings.update
        if settings.lora_rank == 0:
            freeze_experts(checkpoint.model, text=update.text_weight > 0, flow=update.flow_weight > 0)
            self.reference = copy.deepcopy(checkpoint.model).requires_grad_(False)
        rows = Dataset.from_dict(
            {"prompt": [str(spec) for spec in range(settings.specs * settings.iterations)]}
        )
        super().__init__(
            model=checkpoint.model,
            reward_funcs=_unused_reward,
            args=_arguments(settings),
            train_dataset=rows,
            processing_class=checkpoint.tokenizer,
            peft_config=_adapters(settings) if settings.lora_rank else None,
        )
        checkpoint.autoencoder.to(self.accelerator.device)
        if settings.lora_rank == 0:
            self.reference.to(self.accelerator.device)
        else:
            freeze_experts(self.model, text=update.text_weight > 0, flow=update.flow_weight > 0)
        self.model_accepts_loss_kwargs = False

    @property
    def iteration(self) -> int:
        """Number of the iteration being made, from 0."""
        return int(self.state.global_step) // self.settings.update.updates_per_iteration

    def merged_model(self) -> UnifiedModel:
        """The trained model; adapters are added into the weights."""
        trained = self.accelerator.unwrap_model(self.model)
        if isinstance(trained, PeftModel):
            return copy.deepcopy(trained).merge_and_unload().eval()
        return self.checkpoint.model.eval()

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """AdamW with a group for each expert."""
        if self.optimizer is None:  # type: ignore[has-type]
            update = self.settings.update
            groups = parameter_groups(self.model, update.text_rate, update.flow_rate, weight_decay=1e-4)
            self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
        return self.optimizer

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A rollout with advantages and filter, one session a row."""
        settings, iteration = self.settings, self.iteration
        self.checkpoint.model.eval()
        rollout = collect(
            self.checkpoint,
            self.envs,
            settings.rollout,
            settings.seed,
            iteration,
            settings.specs,
            self.stopwatch,
        )
        paid, numbers = credit(rollout, settings.rollout.rollouts, settings.credit, score_weights(self.envs))
        self._record(numbers)
        batch = rollout.tensors | paid
        for name in _SCORES:
            del batch[name]
        if self.watch:
            with self.stopwatch.phase("held_out"):
                self._record(self.watch(iteration, rollout))
        self.checkpoint.model.train()
        # TRL shuffles the rows by torch's global generator, whose state a resumed run does not get back.
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, iteration)).generate_state(1)[0]))
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The joint loss of one minibatch; before an iteration's first update it also checks the ratio."""
        settings = self.settings
        first = self._step % settings.update.updates_per_iteration == 0
        with self.stopwatch.phase("update"):
            batch, share = trained_turns(_turns(inputs), settings.update)
            now = judge(model, batch, settings.rollout, settings.update)
            loss = policy_loss(now, self._reference_of(batch), batch, settings.update)
            self._record({name: float(value) for name, value in loss.parts.items()})
            if first:
                errors = ratio_errors(now, batch)
                self._record({f"{space}_ratio_error": error for space, error in errors.items()})
                check_ratio(errors, settings.update)
                self._record(self._measured_kl(inputs))
        return loss.total * share

    def _reference_of(self, batch: dict[str, Tensor]) -> Judgement | None:
        """What the reference thinks of a minibatch, where a distance to it is part of the loss."""
        update = self.settings.update
        if not (update.text_kl or update.flow_kl):
            return None
        with torch.no_grad(), self._as_reference() as reference:
            return judge(reference, batch, self.settings.rollout, update)

    def _measured_kl(self, inputs: dict[str, Tensor]) -> dict[str, float]:
        """Distances to the reference on a few sessions, for the log, where the loss does not hold them."""
        update = self.settings.update
        if update.text_kl or update.flow_kl:
            return {}
        few = _turns({name: value[:_KL_SESSIONS] for name, value in inputs.items()})
        with torch.no_grad():
            now = judge(self.checkpoint.model, few, self.settings.rollout, update)
            with self._as_reference() as reference:
                then = judge(reference, few, self.settings.rollout, update)
            parts = policy_loss(now, then, few, update).parts
        return {name: float(value) for name, value in parts.items() if name.endswith("_kl")}

    def _as_reference(self) -> AbstractContextManager[Any]:
        """The reference's forward: the policy with its adapters switched off, or a frozen copy."""
        if isinstance(self.model, PeftModel):
            return _without_adapters(self.model)
        return nullcontext(self.reference)

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Bounds each expert's gradient norm, so that one cannot shrink the other's step."""
        assert self.optimizer is not None
        groups = [group for group in self.optimizer.param_groups if "name" in group]
        norms = clip_gradients(groups, self.settings.update.max_grad_norm)
        self._record({f"{name}_grad_norm": norm for name, norm in norms.items()})
        return torch.tensor(sum(norm**2 for norm in norms.values()) ** 0.5)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a checkpoint, then the mark that it is complete, and only then removes older ones."""
        super()._save_checkpoint(model, trial)
        mark_complete(
            self.settings.out / f"checkpoint-{self.state.global_step}", {"iteration": self.iteration}
        )
        keep_newest(self.settings.out, _KEPT)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: a run's folder tells how it was made."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the seconds of the phases to what TRL logs."""
        self._record(self.stopwatch.take())
        super().log(logs, start_time)

    def _record(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._metrics["train"][name].append(value)


def _turns(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sessions [S, K, ...] as single turns [S * K, ...], a session's turns side by side."""
    return {name: value.flatten(0, 1) for name, value in inputs.items() if name not in _BATCH_WIDE}


def _arguments(settings: TrainingSettings) -> GRPOConfig:
    updates, sessions = settings.update.updates_per_iteration, settings.specs * settings.rollout.rollouts
    return GRPOConfig(
        output_dir=str(settings.out),
        seed=settings.seed,
        per_device_train_batch_size=sessions // updates,
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


def _adapters(settings: TrainingSettings) -> LoraConfig:
    """Adapters on attention and MLP of the experts that train."""
    names = r"(q|k|v|o)_proj", r"(gate|up|down)_proj"
    text = [rf"self_attn\.{names[0]}", rf"mlp\.{names[1]}"] if settings.update.text_weight else []
    flow = (
        [rf"self_attn\.{names[0]}_moe_gen", rf"mlp_moe_gen\.{names[1]}"]
        if settings.update.flow_weight
        else []
    )
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        init_lora_weights="gaussian",
        target_modules=rf".*\.({'|'.join(text + flow)})",
    )


class _without_adapters(AbstractContextManager[Any]):
    def __init__(self, model: PeftModel) -> None:
        self.model, self.off = model, model.disable_adapter()

    def __enter__(self) -> PeftModel:
        self.off.__enter__()
        return self.model

    def __exit__(self, *error: Any) -> None:
        self.off.__exit__(*error)


def _unused_reward(**_: Any) -> list[float]:
    raise AssertionError("rewards come from the environment, TRL asks for none")
