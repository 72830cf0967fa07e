"""Edit-R2's trainer: TRL's GRPOTrainer with sessions for completions and the joint loss of text and flow.

One row of TRL's batches is one session. An iteration samples `groups * group_size` of them, scores them and
makes `updates_per_iteration` optimiser steps, each on its share. Launching, checkpoints, logging and LoRA are
TRL's.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerFast, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from editenv.agents.distributed import (
    all_gather,
    autocast,
    check_sharding,
    full_copy,
    full_weights,
    gather_rollout,
    gather_weights,
    is_sharded,
    local_rows,
    local_slice,
    masters_in_float32,
    process,
)
from editenv.agents.edit_r2 import Numbers, collect_rollout, compute_advantages
from editenv.agents.editor import teacher_of, with_form
from editenv.agents.failures import SAVE_ERRORS, NonFiniteGradientGuard, mark_or_drop, warn_of_unscored
from editenv.agents.metrics import Timer, rollout_metrics
from editenv.agents.nft import EMA
from editenv.agents.objective import check_algorithm, clip_gradients, freeze, parameter_groups, recompute_old_log_probs
from editenv.agents.policy import JointPolicy, Policies, Turn
from editenv.agents.resume import TrainingAborted, begin_checkpoint, keep_newest, newest_checkpoint, whole_checkpoints
from editenv.agents.rollout import RolloutBatch
from editenv.agents.settings import TrainingSettings
from editenv.agents.variants import score_parts
from editenv.vector import MICEEditVectorEnv


class RolloutCallback(TrainerCallback):
    """A transformers callback that also sees every iteration's rollout."""

    def on_rollout(self, iteration: int, rollout: RolloutBatch, advantages: Turn, sessions: Sequence[Any]) -> None:
        """Called in every process before the update of an iteration (from 0), in which it changes nothing.

        `rollout` and its `advantages` (`advantage`, `loss_mask` and `scored_mask`, each [S, K]) are what this process
        played; `sessions` those of all processes, of which `index` and `scores` are known.
        """


class EditR2Trainer(GRPOTrainer):
    """Trains a policy on sessions of an environment.

    Args:
        policy: trained in place.
        envs: `groups * group_size` side by side, autoreset disabled; of several processes this one's share.
        settings: see TrainingSettings.
        callbacks: of transformers; a RolloutCallback also sees rollouts.
    """

    # transformers declares what a trainer may hold in all cases; here it is what was given.
    model: Any
    args: Any

    def __init__(
        self,
        policy: JointPolicy,
        envs: MICEEditVectorEnv,
        settings: TrainingSettings,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.policy, self.envs, self.settings = policy, envs, settings
        algorithm = with_form(settings.algorithm, settings.intent_form)
        self.algorithm, self.objective = algorithm, check_algorithm(algorithm)
        policy.configure(algorithm)
        self.timer, self.guard = Timer(), NonFiniteGradientGuard()
        self.ema: EMA | None = None
        check_groups(settings, process().num_processes, envs.engine.queue is not None)
        self.rows, self.turn_share = local_rows(settings.groups * settings.group_size), 1.0
        self.teacher = teacher_of(algorithm.behaviour, envs, settings.intent_form)
        adapters = None
        if algorithm.lora_rank:
            adapters = LoraConfig(
                r=algorithm.lora_rank,
                lora_alpha=algorithm.lora_alpha or 2 * algorithm.lora_rank,  # type: ignore[arg-type]
                init_lora_weights="gaussian",
                target_modules=policy.lora_targets(algorithm.text_weight > 0, algorithm.flow_weight > 0),
            )
        else:
            freeze(policy, algorithm)
            self.reference = copy.deepcopy(policy).requires_grad_(False)
        scripts, updates = range(settings.groups * settings.iterations), algorithm.updates_per_iteration
        arguments = RunArguments(
            output_dir=str(settings.out),
            seed=settings.seed,
            per_device_train_batch_size=(self.rows.stop - self.rows.start) // updates,
            steps_per_generation=updates,
            gradient_accumulation_steps=1,
            num_generations=settings.group_size,
            max_steps=settings.iterations * updates,
            learning_rate=algorithm.text_rate,
            lr_scheduler_type=algorithm.schedule,
            beta=0.0,
            temperature=algorithm.temperature or 1.0,
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
        super().__init__(
            model=cast(Any, _known_to_trl(policy)),
            reward_funcs=cast(Any, _unused_reward),
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": [str(script) for script in scripts]}),
            processing_class=policy.tokenizer or _blank_tokenizer(),
            peft_config=adapters,
            callbacks=list(callbacks),
        )
        if self.is_fsdp_enabled:
            self._unsharded = copy.deepcopy(policy)
            check_sharding(algorithm.context_gradient and algorithm.context == "interleaved", algorithm.nft_decay > 0)
        if adapters is None:
            self.reference.to(self.accelerator.device)
        else:
            freeze(policy, algorithm)
        masters_in_float32(self.model)
        policy.set_gradient_checkpointing(algorithm.gradient_checkpointing)
        self.model_accepts_loss_kwargs = False

    @property
    def iteration(self) -> int:
        """Number of the iteration being made, from 0."""
        return int(self.state.global_step) // self.algorithm.updates_per_iteration

    def merged_model(self) -> JointPolicy:
        """The trained policy; adapters are added into the weights. All processes have to ask."""
        trained: Any = self.accelerator.unwrap_model(self.model)
        if is_sharded(trained):
            empty: Any = copy.deepcopy(self._unsharded)
            if isinstance(trained, PeftModel):
                empty = get_peft_model(empty, trained.active_peft_config)
            trained = full_copy(trained, empty)
            # Putting them together has split them again, and an update may follow.
            gather_weights(self.model)
        if isinstance(trained, PeftModel):
            return copy.deepcopy(trained).merge_and_unload().eval()
        return trained.eval()

    def record(self, values: Numbers) -> None:
        """Adds numbers to the next log; of a name that is given more than once the mean is logged."""
        for name, value in values.items():
            self._metrics["train"][name].append(value)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """AdamW with a group for the text's parameters and one for the flow's."""
        if self.optimizer is None:  # type: ignore[has-type]
            groups = parameter_groups(self.policy, self.algorithm)
            self.optimizer = torch.optim.AdamW(groups, betas=(0.9, self.algorithm.beta2))
        return self.optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """A rollout where one is due, loss and gradients of a minibatch."""
        with full_weights(self.model):
            return super().training_step(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Turn:
        """A rollout with advantages and filter, one session a row."""
        settings, algorithm, iteration = self.settings, self.algorithm, self.iteration
        self.policy.eval()
        sampling = self._sampling_weights(iteration)
        rollout = self._rollout(iteration, sampling)
        everyones = gather_rollout(rollout)
        weights = getattr(self.envs.engine.scorer, "weights", None)
        parts = weights and score_parts(everyones, settings.group_size, weights.by_name())
        advantages = compute_advantages(everyones, settings.group_size, algorithm, parts)
        used = self.objective.select(advantages, algorithm)
        self.record(rollout_metrics(everyones, advantages, used, settings.group_size))
        advantages, self.turn_share = local_slice(advantages, self.rows, rollout.reward.shape[1])
        batch = rollout.turns | advantages | {"group_id": rollout.group_id, "rng_keys": rollout.rng_keys}
        with sampling(), autocast(algorithm.precision), self.timer.phase("update"):
            pieces = micro_batches(batch, algorithm.chunk_sessions)
            more = [self.objective.prepare(self.policy, piece, algorithm) for piece in pieces]
            batch |= {name: torch.cat([part[name] for part in more]) for name in more[0]}
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, RolloutCallback):
                callback.on_rollout(iteration, rollout, advantages, everyones.sessions)
        self.policy.train()
        # TRL shuffles the rows by torch's global generator, whose state a resumed run does not get back.
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, iteration)).generate_state(1)[0]))
        batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}
        if algorithm.whole_groups:
            # TRL shuffles and divides rows: so a row is a group.
            batch = {name: value.unflatten(0, (-1, settings.group_size)) for name, value in batch.items()}
        return batch

    def _sampling_weights(self, iteration: int) -> Callable[[], AbstractContextManager[Any]]:
        """Inside what it makes, the policy has the weights that sample: its own, or their moving average."""
        if not self.algorithm.nft_decay:
            return nullcontext
        if self.ema is None:
            self.ema = EMA(self.policy, self.algorithm.nft_decay_rise, self.algorithm.nft_decay)
            if self.state.global_step:
                self.ema.load(self.settings.out / f"checkpoint-{self.state.global_step}")
        self.ema.update(iteration)
        return self.ema.swapped_in

    def _rollout(self, iteration: int, sampling: Callable[[], AbstractContextManager[Any]]) -> RolloutBatch:
        """The iteration's sessions; where they cannot be played, everything before them is kept first."""
        settings, failed = self.settings, None
        size = settings.seed, iteration, settings.groups, settings.group_size
        sharing: Any = {"rows": self.rows, "teacher": self.teacher, "sessions": settings.sessions}
        try:
            with sampling(), autocast(self.algorithm.precision):
                rollout = collect_rollout(
                    self.policy, self.envs, self.algorithm, *size, timer=self.timer.phase, **sharing
                )
        except Exception as error:
            failed = error
        # Every process asks, since the others wait for what this one has played.
        said = all_gather(failed and f"{type(failed).__name__}: {failed}")
        words = said[process().process_index] or next(
            (f"process {number}: {one}" for number, one in enumerate(said) if one), None
        )
        if words:
            # A whole checkpoint of this very step, saved now where there is none.
            folder = settings.out / f"checkpoint-{self.state.global_step}"
            if self.state.global_step and folder not in whole_checkpoints(settings.out):
                self._save_checkpoint(self.model, None)
            kept = newest_checkpoint(settings.out)
            where = f"{kept} holds everything before it" if kept else "nothing was learnt before it"
            raise TrainingAborted(
                f"iteration {iteration} stopped while its sessions were played: {words}; {where}, and the same "
                "command goes on from there"
            ) from failed
        warn_of_unscored(iteration, rollout.sessions)
        return rollout

    def _compute_loss(self, model: Any, inputs: Turn) -> Tensor:
        """The objective's loss of a minibatch, of whose micro-batches all but the last have gone backward.

        Every objective is a mean over a minibatch's turns, so a piece counts by its share of the sessions.
        """
        algorithm, objective = self.algorithm, self.objective
        first = self._step % algorithm.updates_per_iteration == 0
        policies = Policies(model, self.policy, self._as_reference)
        minibatches: Any = self._buffered_inputs or [inputs]
        if algorithm.whole_groups:
            minibatches = [{n: v.flatten(0, 1) for n, v in batch.items()} for batch in minibatches]
            inputs = {name: value.flatten(0, 1) for name, value in inputs.items()}
        told: list[tuple[float, Numbers]] = []
        before: Any = 0.0
        with self.timer.phase("update"):
            if first and algorithm.recompute:
                pieces = [p for batch in minibatches for p in micro_batches(batch, algorithm.chunk_sessions)]
                with autocast(algorithm.precision):
                    self.record(recompute_old_log_probs(self.policy, pieces, algorithm))
            pieces = micro_batches(inputs, algorithm.chunk_sessions)
            for number, piece in enumerate(pieces, start=1):
                last, share = number == len(pieces), len(piece["group_id"]) / len(inputs["group_id"])
                # Processes need not exchange gradients before the last piece.
                with nullcontext() if last else self.accelerator.no_sync(model):
                    with autocast(algorithm.precision):
                        loss, numbers = objective.loss(policies, piece, algorithm, first)
                        if first:
                            objective.check(numbers, algorithm)
                            numbers |= objective.measure(policies, piece, algorithm) if number == 1 else {}
                    loss = loss * self.turn_share * share
                    if not last:
                        self.accelerator.backward(loss)
                        before = before + loss.detach()
                told.append((share, numbers))
        self.record(merge_metrics(told))
        return loss + before

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        """The reference's forward: the policy with its adapters switched off, or a frozen copy."""
        adapted = isinstance(self.model, PeftModel)
        with self.model.disable_adapter() if adapted else nullcontext():
            yield self.model if adapted else self.reference

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Bounds the gradient norm of each space's parameters."""
        assert self.optimizer is not None
        groups = [group for group in self.optimizer.param_groups if "name" in group]
        norms = clip_gradients(groups, self.algorithm.max_grad_norm)
        made = self.guard.check(norms, self.model.parameters())
        self.record({f"{name}_grad_norm": norm for name, norm in norms.items()} | {"skipped_updates": 1.0 - made})
        return torch.tensor(sum(norm**2 for norm in norms.values()) ** 0.5)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a checkpoint, then the mark that it is complete, and only then removes older ones."""
        folder = self.settings.out / f"checkpoint-{self.state.global_step}"
        failed: Exception | None = None
        try:
            if self.accelerator.is_main_process:
                begin_checkpoint(folder)
        except OSError as error:
            failed = error
        try:
            # All write, or none: they wait for each other in here.
            if not any(all_gather(failed is not None)):
                super()._save_checkpoint(model, trial)
                if self.ema and self.accelerator.is_main_process:
                    self.ema.save(folder)
        except SAVE_ERRORS as error:
            failed = error
        # Before anybody may stop: the others wait here.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            mark_or_drop(folder, {"iteration": self.iteration}, failed)
            keep_newest(self.settings.out)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: a run's folder tells how it was made."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the seconds of the phases to what TRL logs."""
        self.record(self.timer.flush())
        super().log(logs, start_time)


def check_groups(settings: TrainingSettings, processes: int, deferred: bool) -> None:
    """Refuses groups that are spread over processes, or scored late (`deferred`), in a way that they cannot bear."""
    algorithm, groups, sessions = settings.algorithm, settings.groups, settings.groups * settings.group_size
    updates = algorithm.updates_per_iteration * processes
    if sessions % updates:
        raise ValueError(
            f"updates_per_iteration is {algorithm.updates_per_iteration} on {processes} processes, expected their "
            f"product to divide groups * group_size = {sessions}"
        )
    if algorithm.whole_groups and groups % updates:
        raise ValueError(
            f"groups is {groups} with whole_groups=true on {processes} processes, expected a multiple of {updates}"
        )
    if algorithm.branch_from_sibling and deferred:
        raise ValueError(
            "scoring is 'deferred' with branch_from_sibling=true, expected 'immediate': a failure has to be "
            "known before the next turn"
        )
    if algorithm.branch_from_sibling and groups % processes:
        raise ValueError(
            f"groups is {groups} on {processes} processes with branch_from_sibling=true, expected a "
            "multiple: groups must not be divided"
        )


@dataclass
class RunArguments(GRPOConfig):
    """TRL's arguments, which show trackers a run's own settings (JSON values by name) beside them."""

    run_settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything that trackers are told of a run."""
        found: dict[str, Any] = super().to_dict()
        return found | found.pop("run_settings")


def _known_to_trl(policy: JointPolicy) -> JointPolicy:
    """The policy with what TRL reads of a transformers model, where it has no such thing."""
    known = {
        "config": PretrainedConfig(),
        "generation_config": GenerationConfig(),
        "add_model_tags": lambda tags: None,
        "is_gradient_checkpointing": False,
        "get_output_embeddings": lambda: None,
    }
    for name, value in known.items():
        if not hasattr(policy, name):
            setattr(policy, name, value)
    return policy


def _blank_tokenizer() -> PreTrainedTokenizerFast:
    """TRL wants a tokenizer, which nothing here uses."""
    words = Tokenizer(WordLevel({"<pad>": 0, "<eos>": 1}, "<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


def micro_batches(sessions: Turn, most: int | None) -> list[Turn]:
    """Sessions [S, ...] as pieces of at most `most` rows, as even as can be; views, which share memory."""
    rows = len(next(iter(sessions.values())))
    count = 1 if most is None else -(-rows // most)
    pieces = zip(*(value.tensor_split(count) for value in sessions.values()), strict=True)
    return [dict(zip(sessions, piece, strict=True)) for piece in pieces]


def merge_metrics(told: Sequence[tuple[float, Numbers]]) -> Numbers:
    """One set of numbers from those of micro-batches, given with their shares.

    Names that end with "_error" are maxima; others are means over the pieces that have them, by share.
    """
    if len(told) == 1:
        return told[0][1]
    found: Numbers = {}
    for name in {name: None for _, numbers in told for name in numbers}:
        having = [(share, numbers[name]) for share, numbers in told if name in numbers]
        if name.endswith("_error"):
            found[name] = max(value for _, value in having)
        else:
            found[name] = sum(share * value for share, value in having) / sum(share for share, _ in having)
    return found


def _unused_reward(**_: Any) -> list[float]:
    raise AssertionError("rewards come from the environment, TRL asks for none")
