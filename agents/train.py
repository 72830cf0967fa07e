"""`editenv train`: reinforcement learning from a checkpoint, resumed where it stopped."""

import json
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import transformers
from rich.console import Console
from transformers.trainer_callback import PrinterCallback

from editenv.agents.callbacks import (
    HeldOutEvaluation,
    Journal,
    ProgressReport,
    RolloutFiles,
    StopAfter,
    check_trackers,
    held_out_envs,
    seconds_spent,
)
from editenv.agents.distributed import check_precision, local_rows, process, use_threads
from editenv.agents.editor import EditorPolicy
from editenv.agents.failures import SAVE_ERRORS
from editenv.agents.heldout import BEST, recover_best
from editenv.agents.metrics import group_by_turn
from editenv.agents.objective import check_algorithm
from editenv.agents.plots import learning_curves
from editenv.agents.policy import load_policy, widen_on_cpu
from editenv.agents.resume import (
    TrainingAborted,
    check_no_strangers,
    check_not_lost,
    check_same_settings,
    deciding_settings,
    drop_half_written,
    flat_settings,
    newest_checkpoint,
    run_lock,
)
from editenv.agents.settings import TrainingSettings
from editenv.agents.trainer import EditR2Trainer
from editenv.build import make_vector_env
from editenv.configs.schema import TrainConfig
from editenv.files import atomic_write_text
from editenv.settings import check_settings
from editenv.vector import MICEEditVectorEnv

_BESIDE = (
    "out", "iterations", "save_every", "eval_every", "eval_sessions", "eval_scorer", "image_every", "max_seconds",
    "record_every", "record_mib", "report_to",
)  # fmt: skip
"""Settings that decide nothing of what is learnt; of `iterations` see `_checkpoint_of`. What moves the last digits, as
`threads`, `algorithm.recompute` and `algorithm.chunk_sessions` do, decides: a resumed run equals an unbroken one."""
_PROCESSES = "number_of_processes"
"""Stands among the settings that a run keeps, as each process draws minibatches of its own."""

JOURNAL = "logs.jsonl"
"""A run's logs, a line an iteration."""


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves."""

    model_folder: Path  # weights after the last iteration
    logs: list[dict[str, Any]]  # one entry an iteration, as `learning_curves` reads them
    seconds: float  # of this process alone; those of a run that was killed before are not in it
    iterations: int  # made in all


def train(config: TrainConfig) -> TrainResult:
    """Trains, and writes checkpoints, weights, logs, curves, image grids and summary.json into `config.out`.

    The same call again goes on from the newest complete checkpoint in `config.out`.

    Raises:
        ValueError: a setting does not fit.
        TrainingAborted: training computes other log-probs than the rollout did, or sessions could not be played.
    """
    started = time.perf_counter()
    use_threads(config.threads)
    _quiet()
    out = Path(config.out)
    check_settings(config)
    settings = training_settings(config)
    config.check_judged()
    rows = local_rows(config.groups * config.group_size)
    envs = make_vector_env(num_envs=rows.stop - rows.start, autoreset_mode="Disabled", **config.env())
    if envs.engine.scorer is None:
        raise ValueError(f"sessions_file is {config.sessions_file!r}, whose pictures have no scorer to train on")
    held_out = held_out_envs(config)
    turns, algorithm = envs.engine.world.max_turns, config.algorithm
    if algorithm.text_weight and algorithm.intent_from_turn > turns:
        raise ValueError(
            f"algorithm.intent_from_turn is {algorithm.intent_from_turn}, but sessions have no more than "
            f"{turns} turns; expected algorithm.text_weight=0 where no intent is written"
        )
    policy = widen_on_cpu(load_policy(config.model), process().device)
    policy.check_context_length(envs, settings.algorithm)
    main = process().is_main_process
    # Where several processes train together, the first one holds the folder.
    with run_lock(out) if main else nullcontext():
        with process().main_process_first():
            resumed = _checkpoint_of(config)
        if resumed and config.max_seconds is not None:
            before = json.loads((resumed / "trainer_state.json").read_text(encoding="utf-8"))
            if seconds_spent(before["log_history"]) > config.max_seconds:  # a run that has ended
                settings = replace(settings, iterations=before["global_step"] // algorithm.updates_per_iteration)
        trainer = EditR2Trainer(policy, envs, settings)
        args: Any = trainer.args
        args.run_settings, args.run_name = flat_settings(config), "/".join(out.parts[-2:])
        evaluation = _add_callbacks(trainer, config, held_out)
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        trained = trainer.merged_model()
        logs = group_by_turn(trainer.state.log_history, algorithm.updates_per_iteration)
        result = TrainResult(out / "model", logs, time.perf_counter() - started, len(logs))
        if main:
            try:
                trained.save(out / "model")
                _write(config, result, evaluation)
            except SAVE_ERRORS as error:
                raise TrainingAborted(
                    f"the last iteration is made, but {out} could not take its weights and summary "
                    f"({type(error).__name__}: {error}); the same command writes them from {newest_checkpoint(out)}"
                ) from error
        process().wait_for_everyone()
    return result


def _add_callbacks(
    trainer: EditR2Trainer, config: TrainConfig, held_out: MICEEditVectorEnv | None
) -> HeldOutEvaluation | None:
    """Everything that happens beside the training; returns what evaluates, None where nothing does."""
    updates, main = trainer.algorithm.updates_per_iteration, process().is_main_process
    evaluation, likeliest = None, replace(trainer.algorithm, temperature=0.0)
    trainer.remove_callback(PrinterCallback)
    if main:
        trainer.add_callback(RolloutFiles(trainer, config))
    if held_out is not None:
        evaluation = HeldOutEvaluation(
            trainer, config, held_out, lambda policy: (EditorPolicy(policy, likeliest), policy.save)
        )
        trainer.add_callback(evaluation)
    if config.max_seconds is not None:
        trainer.add_callback(StopAfter(config.max_seconds, lambda state: seconds_spent(state.log_history), updates))
    if main:
        trainer.add_callback(ProgressReport(config.iterations, updates))
        trainer.add_callback(Journal(Path(config.out, JOURNAL), updates))
    return evaluation


def training_settings(config: TrainConfig) -> TrainingSettings:
    """The trainer's settings from those of the command; ValueError where one does not fit the others."""
    check_trackers(config.report_to)
    check_algorithm(config.algorithm)
    check_precision(config.algorithm.precision)
    own = ("seed", "iterations", "groups", "group_size", "sessions", "save_every", "intent_form", "algorithm")
    named = {name: getattr(config, name) for name in own}
    return TrainingSettings(out=Path(config.out), report_to=tuple(config.report_to), **named)


def learnt_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide what a run learns, by name; the run goes on with these alone."""
    return deciding_settings(config, _BESIDE)


def _checkpoint_of(config: TrainConfig) -> Path | None:
    """Where the run goes on; None at its beginning, whose settings are then kept in `settings.json`.

    ValueError where `config.out` holds a run with other settings, or one whose checkpoints are lost, or
    checkpoints of others where the run would write its own.
    """
    out = Path(config.out)
    mine = learnt_settings(config) | {"iterations": config.iterations, _PROCESSES: process().num_processes}
    kept, newest = out / "settings.json", newest_checkpoint(out)
    if newest and kept.is_file():
        began = check_same_settings(kept, mine, free=("iterations",))["iterations"]
        schedule = config.algorithm.schedule
        if began != config.iterations and schedule != "constant":
            raise ValueError(
                f"iterations is {config.iterations}, but {config.out!r} holds a run of {began}, whose "
                f"learning rates so far were those of schedule {schedule!r} over {began} iterations; "
                f"expected iterations={began}, or another folder"
            )
    check_not_lost(out)
    after = 0 if newest is None else int(newest.name.rpartition("-")[2])
    check_no_strangers(out, after, config.iterations * config.algorithm.updates_per_iteration)
    recover_best(out)
    for folder in drop_half_written(out):
        Console().print(f"passing over {folder}, which was not finished or is damaged")
    if newest:
        Console().print(f"going on from {newest}")
    elif (out / JOURNAL).is_file():
        Console().print(f"{out} has logs of a run but no whole checkpoint: it starts from the beginning")
    atomic_write_text(kept, json.dumps(mine, indent=2) + "\n")
    return newest


def _write(config: TrainConfig, result: TrainResult, evaluation: HeldOutEvaluation | None) -> None:
    """curves.png and summary.json; warnings are said once more."""
    out = Path(config.out)
    held_out = evaluation.summary() if evaluation else {"eval_scorer": None, "best": None, "warnings": []}
    # What was evaluated after the last update is one more point of the curves.
    last = result.logs[-1].get("last_held_out")
    extra = [{"iteration": result.logs[-1]["iteration"] + 1, "held_out": last}] if last else []
    learning_curves([*result.logs, *extra], out / "curves.png", f"{config.model}, seed {config.seed}")
    summary = {
        "config": flat_settings(config),
        "seed": config.seed,
        "iterations": result.iterations,
        "seconds": result.seconds,
        "last": result.logs[-1],
        "model": str(result.model_folder),
        **held_out,
    }
    atomic_write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    for warning in held_out["warnings"]:
        Console().print(f"warning: {warning}")
    if held_out["best"]:
        best = held_out["best"]["iteration"]
        Console().print(f"best held-out evaluation: after {best} iterations, kept in {out / BEST}")


def _quiet() -> None:
    """Leaves the terminal to the progress bar."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    # TRL still speaks transformers' old names.
    old = ".*gradient_checkpointing.* is deprecated"
    warnings.filterwarnings("ignore", message=old, category=FutureWarning)
