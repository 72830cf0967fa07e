"""`editenv train agent=trl`: a language model learns to edit by tool calls, from the oracle, then by TRL's GRPO."""

from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from datasets import Dataset, disable_progress_bars
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from trl.chat_template_utils import get_training_chat_template
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from editenv.agents.baselines.oracle import CLONE_SEED
from editenv.agents.callbacks import StopAfter
from editenv.agents.distributed import process, use_threads
from editenv.agents.failures import SAVE_ERRORS, mark_or_drop
from editenv.agents.resume import (
    COMPLETE,
    begin_checkpoint,
    deciding_settings,
    flat_settings,
    go_on,
    keep_newest,
    run_lock,
)
from editenv.agents.tool_agent.policy import CARD, MODEL, load_model, tool_schemas
from editenv.agents.tool_agent.session import ToolSession, oracle_conversation, session_rows, tool_sessions
from editenv.configs.schema import TrainTRLConfig
from editenv.files import atomic_write_text
from editenv.registry import unknown
from editenv.settings import check_settings

BESIDE = ("out", "max_seconds", "save_every", "threads")
"""Settings that decide nothing of what is learnt."""
CLONED = "cloned"
"""In a run's folder: the model after learning the oracle's calls, there once it is whole."""


def train(config: TrainTRLConfig) -> None:
    """Trains; writes checkpoints, the model, the card by which `evaluate policy=OUT` plays it, and summary.json.

    The same call again goes on from the newest complete checkpoint in `config.out`.

    Raises:
        ValueError: a setting does not fit.
    """
    started = time.perf_counter()
    check_settings(config)
    config.check_judged()
    if config.pictures and config.clone:
        raise ValueError(f"clone is {config.clone}, expected 0 with pictures=true: the oracle is learnt from words")
    arguments(config, 1)
    use_threads(config.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    disable_progress_bars()
    # TRL says of environments that they are new.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    kind = tool_sessions(
        pictures=config.pictures, tries=config.tries, reward=config.reward, tools=config.tools, **config.env()
    )
    out, main = Path(config.out), process().is_main_process
    # Where several processes train together, the first one holds the folder.
    with run_lock(out) if main else nullcontext():
        with process().main_process_first():
            checkpoint = go_on(out, deciding_settings(config, BESIDE), config.steps)
        if checkpoint:
            started -= json.loads((checkpoint / COMPLETE).read_text())["seconds"]
        if config.clone and not (out / CLONED).is_dir():
            _clone(config, kind, started)
        path = str(out / CLONED) if config.clone else config.model
        model, processor = load_model(path, config.pictures, config.dtype)
        trainer = _Trainer(config, kind, model, processor, started)
        if config.steps:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.save_model(str(out / MODEL))
        if main:
            _write_card(out, config, kind)
            logs = [one for one in trainer.state.log_history if "reward" in one]
            rollouts = config.groups * config.group_size * process().num_processes
            turns = [round(n) for n in np.cumsum([rollouts * one["tools/call_frequency"] for one in logs])]
            summary = {
                "config": flat_settings(config),
                "seed": config.seed,
                "steps": trainer.state.global_step,
                "turns": int(turns[-1]) if turns else 0,
                "seconds": time.perf_counter() - started,
                "rewards": [one["reward"] for one in logs],
                "curve": [
                    {"turns": played, "updates": one["step"], "seconds": one["seconds"], "reward": one["reward"]}
                    for played, one in zip(turns, logs, strict=True)
                ],
            }
            atomic_write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
            print(f"{summary['steps']} steps, {summary['seconds']:.0f} s: editenv evaluate policy={out}", flush=True)
        process().wait_for_everyone()


def arguments(config: TrainTRLConfig, most_calls: int) -> GRPOConfig:
    """TRL's arguments: ours, then those of `config.grpo`.

    Args:
        config: the run's settings.
        most_calls: of tools in a session.

    Raises:
        ValueError: `config.grpo` names what GRPOConfig has not, or what is a setting of ours.
    """
    cuda = torch.cuda.is_available()
    usual = {"bf16": cuda, "gradient_checkpointing": cuda, "use_cpu": not cuda, "report_to": "none"}
    own = {name: getattr(config, name) for name in ("seed", "learning_rate", "temperature", "max_completion_length")}
    own |= {
        "output_dir": config.out,
        "max_steps": config.steps,
        "per_device_train_batch_size": config.group_size,
        "gradient_accumulation_steps": config.groups,
        "num_generations": config.group_size,
        "max_tool_calling_iterations": most_calls,
        "save_steps": config.save_every,
        # Sessions come in their order, whatever the seed.
        "shuffle_dataset": False,
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    known = sorted({one.name for one in fields(GRPOConfig) if one.init} - own.keys())
    for name in config.grpo:
        if name in own:
            raise ValueError(f"grpo has {name!r}, which is a setting of its own: `editenv train agent=trl --help`")
        if name not in known:
            raise ValueError(unknown("setting of grpo", name, known))
    return GRPOConfig(**{**usual, **config.grpo, **own})


class _Trainer(GRPOTrainer):
    """TRL's, whose checkpoints are whole or absent."""

    def __init__(
        self, config: TrainTRLConfig, kind: type[ToolSession], model: Any, processor: Any, started: float
    ) -> None:
        numbers = range(max(1, config.steps) * config.groups * process().num_processes)
        super().__init__(
            model,
            args=arguments(config, kind.toolbox.max_turns * config.tries),
            train_dataset=Dataset.from_list(session_rows(numbers, config.seed)),
            processing_class=processor,
            # TRL's type knows text alone; it also takes the content blocks of a picture.
            environment_factory=cast(Any, kind),
            callbacks=[_Progress(config.steps, started)],
        )
        self.remove_callback(PrinterCallback)
        if config.max_seconds is not None:
            self.add_callback(StopAfter(config.max_seconds, lambda _: time.perf_counter() - started))
        self.config, self.kind, self.started = config, kind, started

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a checkpoint, then the mark that it is complete, and only then removes older ones."""
        out = Path(self.config.out)
        folder, failed = out / f"checkpoint-{self.state.global_step}", None
        try:
            if self.accelerator.is_main_process:
                begin_checkpoint(folder)
                _write_card(folder, self.config, self.kind)
            super()._save_checkpoint(model, trial)
        except SAVE_ERRORS as error:
            failed = error
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            mark_or_drop(folder, {"seconds": time.perf_counter() - self.started}, failed)
            keep_newest(out)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: a run's folder tells how it was made."""


class _Progress(TrainerCallback):
    """Says how far the training is, and notes when for its learning curve."""

    def __init__(self, steps: int, started: float) -> None:
        self.steps, self.started = steps, started

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """A line a step."""
        if state.is_world_process_zero and logs and "reward" in logs:
            shown = f"reward {logs['reward']:.3g}, calls a session {logs['tools/call_frequency']:.3g}"
            print(f"step {state.global_step} of {self.steps}: {shown}", flush=True)
            state.log_history[-1]["seconds"] = time.perf_counter() - self.started


def _write_card(folder: Path, config: TrainTRLConfig, kind: type[ToolSession]) -> None:
    """By it `evaluate policy=FOLDER` knows how the model in a folder is spoken to."""
    card = {"pictures": config.pictures, "tries": config.tries, "dtype": config.dtype}
    card |= {"tools": list(kind.toolbox.tools), "grid": kind.toolbox.grid}
    atomic_write_text(folder / CARD, json.dumps(card, indent=1) + "\n")


def _clone(config: TrainTRLConfig, kind: type[ToolSession], started: float) -> None:
    """Supervised training on the tokens that the oracle would have written; leaves the model in OUT/cloned."""
    model, processor = load_model(config.model, False, config.dtype)
    player, schemas = kind(), tool_schemas(kind.toolbox)
    template = get_training_chat_template(processor)
    rows = []
    for row in session_rows(range(config.clone), CLONE_SEED + config.seed):
        told = processor.apply_chat_template(
            oracle_conversation(player, row), tools=schemas, chat_template=template, tokenize=True, return_dict=True,
            return_assistant_tokens_mask=True,
        )  # fmt: skip
        rows.append({"input_ids": told["input_ids"], "assistant_masks": told["assistant_masks"]})
    cuda = torch.cuda.is_available()
    trainer = SFTTrainer(
        model,
        SFTConfig(
            output_dir=str(Path(config.out, f"{CLONED}.part")),
            seed=config.seed,
            num_train_epochs=config.clone_epochs,
            per_device_train_batch_size=config.clone_batch,
            learning_rate=config.clone_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            max_length=None,
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            report_to="none",
            use_cpu=not cuda,
            bf16=cuda,
            gradient_checkpointing=cuda,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
    )
    trainer.remove_callback(PrinterCallback)
    print(f"learning {len(rows)} sessions of the oracle", flush=True)
    made = trainer.train()
    trainer.save_model()
    if process().is_main_process:
        _write_card(Path(str(trainer.args.output_dir)), config, kind)
        os.replace(str(trainer.args.output_dir), Path(config.out, CLONED))
        said = f"loss {made.training_loss:.3f}, {time.perf_counter() - started:.0f} s"
        print(f"learnt {len(rows)} sessions of the oracle: {said}", flush=True)
    process().wait_for_everyone()
