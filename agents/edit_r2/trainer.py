"""Edit-R2's trainer: TRL's GRPOTrainer with sessions for completions and the joint loss of text and flow.

One row of TRL's batches is one session. An iteration samples `specs * rollouts` of them, scores them and
makes `updates_per_iteration` optimiser steps, each on its share. Launching, checkpoints, logging and LoRA are
TRL's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from torch import Tensor
from trl import GRPOTrainer

from editenv.agents.edit_r2.adapters import WithoutAdapters, adapters, blank_like
from editenv.agents.edit_r2.arguments import trainer_arguments
from editenv.agents.edit_r2.chunks import accumulated, chunks, prepared
from editenv.agents.edit_r2.credit import credit, score_weights
from editenv.agents.edit_r2.experts import clip_gradients, freeze_experts, parameter_groups
from editenv.agents.edit_r2.faults import SAVE_ERRORS, UpdateGuard, mark_or_drop, stopped, warn_of_unscored
from editenv.agents.edit_r2.objective import OBJECTIVES, Policies
from editenv.agents.edit_r2.objective.policy import recompute
from editenv.agents.edit_r2.precision import computing, masters_in_float32
from editenv.agents.edit_r2.ranks import (
    Failed,
    ProcessFailed,
    gathered,
    of_all,
    of_all_or_none,
    own_part,
    own_rows,
    process,
)
from editenv.agents.edit_r2.resume import keep_newest, newest_checkpoint, whole_checkpoints
from editenv.agents.edit_r2.rollout import Rollout, collect
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.edit_r2.sharding import check_sharding, gather, is_sharded, whole_copy, whole_weights
from editenv.agents.edit_r2.slow_average import SlowAverage
from editenv.agents.edit_r2.spending import check_surroundings
from editenv.agents.edit_r2.stopwatch import Stopwatch
from editenv.agents.edit_r2.watched import Watch
from editenv.agents.edit_r2.zero import clip_pieces, step_apart
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.unified import UnifiedModel
from editenv.vector import MICEEditVectorEnv

_KEPT = 2
_SCORES = ("reward", "instruction_following")


class EditR2Trainer(GRPOTrainer):
    """Trains a checkpoint's model on sessions of an environment.

    Args:
        checkpoint: its model is trained in place.
        envs: `specs * rollouts` environments side by side, autoreset disabled; this process's share of them
            where several processes train together.
        settings: see TrainingSettings.
        watch: called in each iteration before the update, and once after the last one; see Watch.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        envs: MICEEditVectorEnv,
        settings: TrainingSettings,
        watch: Watch | None = None,
    ) -> None:
        self.checkpoint, self.envs, self.settings = checkpoint, envs, settings
        self.watch, self.stopwatch = watch, Stopwatch()
        self.guard = UpdateGuard()
        self.average: SlowAverage | None = None
        deferred = envs.engine.queue is not None
        check_surroundings(settings.rollout.spending, settings.specs, process().num_processes, deferred)
        self.rows, self.turn_share = own_rows(settings.specs * settings.rollout.rollouts), 1.0
        update = settings.update
        if settings.lora_rank == 0:
            freeze_experts(
                checkpoint.model, update.text_weight > 0, update.flow_weight > 0, update.text_scope
            )
            self.reference = copy.deepcopy(checkpoint.model).requires_grad_(False)
        rows = Dataset.from_dict(
            {"prompt": [str(spec) for spec in range(settings.specs * settings.iterations)]}
        )
        super().__init__(
            model=checkpoint.model,
            reward_funcs=_unused_reward,
            args=trainer_arguments(settings),
            train_dataset=rows,
            processing_class=checkpoint.tokenizer,
            peft_config=_adapters_of(settings) if settings.lora_rank else None,
        )
        if self.is_fsdp_enabled:
            check_sharding(
                update.context_gradient and settings.rollout.turn.interleaved, update.nft_decay > 0
            )
        checkpoint.autoencoder.to(self.accelerator.device)
        if settings.lora_rank == 0:
            self.reference.to(self.accelerator.device)
        else:
            freeze_experts(self.model, update.text_weight > 0, update.flow_weight > 0, update.text_scope)
        masters_in_float32(self.model)
        checkpoint.model.language_model.model.gradient_checkpointing = update.gradient_checkpointing
        self.model_accepts_loss_kwargs = False

    @property
    def iteration(self) -> int:
        """Number of the iteration being made, from 0."""
        return int(self.state.global_step) // self.settings.update.updates_per_iteration

    def merged_model(self) -> UnifiedModel:
        """The trained model; adapters are added into the weights."""
        trained = self.accelerator.unwrap_model(self.model)
        if is_sharded(trained):
            trained = whole_copy(trained, blank_like(trained))
        if isinstance(trained, PeftModel):
            return copy.deepcopy(trained).merge_and_unload().eval()
        return trained.eval()

    def _for_one_process(self) -> Callable[[], UnifiedModel]:
        """`merged_model` for a process that asks alone: what all have to put together is put together now."""
        if is_sharded(self.model):
            model = self.merged_model()
            gather(self.model)
            return lambda: model
        return self.merged_model

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """AdamW with a group for each expert."""
        if self.optimizer is None:  # type: ignore[has-type]
            update = self.settings.update
            groups = parameter_groups(self.model, update.text_rate, update.flow_rate, weight_decay=1e-4)
            self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
        return self.optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """A rollout where one is due, loss and gradients of a minibatch."""
        with whole_weights(self.model):
            return super().training_step(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A rollout with advantages and filter, one session a row."""
        settings, iteration = self.settings, self.iteration
        self.checkpoint.model.eval()
        player = self._player(iteration)
        rollout = self._played(iteration, player)
        everyones, weights = gathered(rollout), score_weights(self.envs)
        objective = OBJECTIVES[settings.update.objective]
        paid, numbers = credit(
            everyones,
            settings.rollout.rollouts,
            settings.credit,
            weights,
            lambda turns: objective.trains(turns, settings.update),
        )
        paid, self.turn_share = own_part(paid, self.rows, rollout.tensors["reward"].shape[1])
        self._record(numbers)
        batch = rollout.tensors | paid
        for name in _SCORES:
            del batch[name]
        with player(), computing(settings.precision), self.stopwatch.phase("update"):
            prepare = partial(objective.prepare, self.checkpoint.model)
            pieces = chunks(batch, settings.update.chunk_sessions)
            batch |= prepared(pieces, lambda piece: prepare(piece, self.settings.rollout, settings.update))
        merged = self._for_one_process()
        if self.watch and self.accelerator.is_main_process:
            with self.stopwatch.phase("held_out"):
                self._record(self.watch(iteration, rollout, paid, merged, everyones.sessions))
        self.checkpoint.model.train()
        # TRL shuffles the rows by torch's global generator, whose state a resumed run does not get back.
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, iteration)).generate_state(1)[0]))
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def _player(self, iteration: int) -> Callable[[], AbstractContextManager[Any]]:
        """Inside what it makes, the model has the weights that play: its own, or a slow average's."""
        update = self.settings.update
        if not update.nft_decay:
            return nullcontext
        if self.average is None:
            self.average = SlowAverage(self.checkpoint.model, update.nft_decay_rise, update.nft_decay)
            if self.state.global_step:
                self.average.load(self.settings.out / f"checkpoint-{self.state.global_step}")
        self.average.follow(iteration)
        return self.average.playing

    def _played(self, iteration: int, player: Callable[[], AbstractContextManager[Any]]) -> Rollout:
        """The iteration's sessions; where they cannot be played, everything before them is kept first."""
        settings, where = self.settings, (self.checkpoint, self.envs)
        when = (settings.seed, iteration, settings.specs)
        try:
            with player(), computing(settings.precision):
                rollout = collect(*where, settings.rollout, *when, self.stopwatch, self.rows)
            of_all_or_none(None)
        except ProcessFailed as error:
            raise stopped(iteration, error, self._kept()) from error
        except Exception as error:
            # The others wait for what this process has played.
            of_all(Failed(f"{type(error).__name__}: {error}"))
            raise stopped(iteration, error, self._kept()) from error
        warn_of_unscored(iteration, rollout.sessions)
        return rollout

    def _kept(self) -> Path | None:
        """A whole checkpoint of this very step, saved now where there is none; None at the beginning."""
        folder = self.settings.out / f"checkpoint-{self.state.global_step}"
        if self.state.global_step and folder not in whole_checkpoints(self.settings.out):
            self._save_checkpoint(self.model, None)
        return newest_checkpoint(self.settings.out)

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The objective's loss of one minibatch, whose chunks but the last have gone backward already."""
        settings, update = self.settings, self.settings.update
        first = self._step % update.updates_per_iteration == 0
        objective, plain = OBJECTIVES[update.objective], self.checkpoint.model
        policies = Policies(model, plain, self._as_reference)

        def loss_of(piece: dict[str, Tensor], leading: bool) -> tuple[Tensor, dict[str, float]]:
            with computing(settings.precision):
                loss, numbers = objective.loss(policies, piece, self.settings.rollout, update, first)
                if first and leading:
                    numbers |= objective.measure(policies, piece, self.settings.rollout, update)
            return loss * self.turn_share, numbers

        with self.stopwatch.phase("update"):
            if first and update.recompute:
                whole = self._buffered_inputs or [inputs]
                pieces = [piece for minibatch in whole for piece in chunks(minibatch, update.chunk_sessions)]
                with computing(settings.precision):
                    self._record(recompute(plain, pieces, self.settings.rollout, update))
            apart: Callable[[], AbstractContextManager[Any]] = partial(self.accelerator.no_sync, model)
            if self.is_deepspeed_enabled:
                apart = step_apart(self.accelerator).more_follows
            pieces = chunks(inputs, update.chunk_sessions)
            loss, numbers = accumulated(pieces, loss_of, self.accelerator.backward, apart)
            self._record(numbers)
        return loss

    def _as_reference(self) -> AbstractContextManager[Any]:
        """The reference's forward: the policy with its adapters switched off, or a frozen copy."""
        if isinstance(self.model, PeftModel):
            return WithoutAdapters(self.model)
        return nullcontext(self.reference)

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Bounds each expert's gradient norm, so that one cannot shrink the other's step.

        Under DeepSpeed the step is made here too: the optimiser that accelerate hands over makes none.
        """
        assert self.optimizer is not None
        most = self.settings.update.max_grad_norm
        if self.is_deepspeed_enabled:
            norms = clip_pieces(self.deepspeed.optimizer, most)
        else:
            groups = [group for group in self.optimizer.param_groups if "name" in group]
            norms = clip_gradients(groups, most)
        made = self.guard.check(norms, self.model.parameters())
        if self.is_deepspeed_enabled:
            self.deepspeed.step()
        self._record(
            {f"{name}_grad_norm": norm for name, norm in norms.items()} | {"skipped_updates": 1.0 - made}
        )
        return torch.tensor(sum(norm**2 for norm in norms.values()) ** 0.5)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a checkpoint, then the mark that it is complete, and only then removes older ones."""
        folder, failed = self.settings.out / f"checkpoint-{self.state.global_step}", None
        try:
            super()._save_checkpoint(model, trial)
            if self.average and self.accelerator.is_main_process:
                self.average.save(folder)
        except SAVE_ERRORS as error:
            failed = error
        # Before anybody may stop: the others wait here.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            mark_or_drop(folder, {"iteration": self.iteration}, failed)
            keep_newest(self.settings.out, _KEPT)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: a run's folder tells how it was made."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds seconds of the phases to what TRL logs, and what `watch` sees after the last update."""
        over = "loss" in logs and self.iteration == self.settings.iterations
        merged = self._for_one_process() if over else self.merged_model
        if over and self.watch and self.accelerator.is_main_process:
            with self.stopwatch.phase("held_out"):
                self._record(self.watch.last(self.iteration, merged))
            # TRL logs other numbers while the model is not in training.
            self.checkpoint.model.train()
        self._record(self.stopwatch.take())
        super().log(logs, start_time)

    def _record(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._metrics["train"][name].append(value)


def _adapters_of(settings: TrainingSettings) -> LoraConfig:
    update = settings.update
    return adapters(settings.lora_rank, settings.lora_alpha, update.text_weight > 0, update.flow_weight > 0)


def _unused_reward(**_: Any) -> list[float]:
    raise AssertionError("rewards come from the environment, TRL asks for none")
