"""`editenv train`: reinforcement learning from a checkpoint, resumed where it stopped."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import transformers
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from editenv.agents.atomic import write_text_atomically
from editenv.agents.edit_r2.credit import CreditSettings
from editenv.agents.edit_r2.faults import SAVE_ERRORS
from editenv.agents.edit_r2.metrics import nested, with_last_evaluation
from editenv.agents.edit_r2.ranks import own_rows, process
from editenv.agents.edit_r2.resume import check_not_lost, drop_half_written, newest_checkpoint
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.trainer import EditR2Trainer
from editenv.agents.edit_r2.update import UpdateSettings
from editenv.agents.editor.checkpoint import load_checkpoint, save_checkpoint
from editenv.agents.editor.room import check_room
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.limits import check_limits
from editenv.agents.report.curves import learning_curves
from editenv.agents.stopped import RunStopped
from editenv.agents.threads import use_threads
from editenv.agents.watch import Watcher, candidate, held_out_envs
from editenv.agents.watching.best import FOLDER as BEST
from editenv.agents.watching.best import recover
from editenv.agents.watching.trackers import Trackers, check_trackers
from editenv.build import make_vector_env
from editenv.configs.schema import AlgorithmConfig, TrainConfig

_FREE_TO_CHANGE = (
    "out",
    "iterations",
    "save_every",
    "eval_every",
    "eval_sessions",
    "eval_scorer",
    "image_every",
    "record_every",
    "record_mib",
    "report_to",
    "threads",
)
"""Settings that a run may go on with changed: they do not touch what is learnt."""


JOURNAL = "logs.jsonl"
"""A run's logs, a line an iteration."""


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves.

    Attributes:
        model_folder: weights after the last iteration.
        logs: one entry an iteration, as `learning_curves` reads them.
        seconds: of this process alone; those of a run that was killed before are not in it.
        iterations: made in all.
    """

    model_folder: Path
    logs: list[dict[str, Any]]
    seconds: float
    iterations: int


def train(config: TrainConfig) -> TrainResult:
    """Trains, and writes checkpoints, weights, logs, curves, image grids and summary.json into `config.out`.

    The same call again goes on from the newest complete checkpoint in `config.out`.

    Raises:
        ValueError: a setting does not fit.
        RuntimeError: training computes other log-probs than the rollout did, or sessions could not be played.
    """
    started = time.perf_counter()
    use_threads(config.threads)
    _quiet()
    out = Path(config.out)
    check_limits(config)
    settings = training_settings(config)
    if config.scorer.kind is None:
        raise ValueError("scorer is none, expected one that judges, such as scorer=exact: nobody would pay")
    rows = own_rows(config.specs * config.rollouts)
    envs = make_vector_env(num_envs=rows.stop - rows.start, autoreset_mode="Disabled", **config.env())
    if envs.engine.scorer is None:
        raise ValueError(
            f"sessions_file is {config.sessions_file!r}, whose pictures have no scorer to train on"
        )
    held_out = held_out_envs(config)
    _check_written(config.algorithm, envs.engine.world.max_turns)
    checkpoint = load_checkpoint(config.model)
    check_room(checkpoint, envs, settings.rollout.turn)
    with process().main_process_first():
        resumed = _checkpoint_of(config)
    watcher = Watcher(config, partial(candidate, checkpoint, settings.rollout.turn), held_out)
    trainer = EditR2Trainer(checkpoint, envs, settings, watcher)
    trainer.remove_callback(PrinterCallback)
    updates = settings.update.updates_per_iteration
    watcher.trackers = Trackers(trainer.callback_handler.callbacks, updates)
    if process().is_main_process:
        trainer.add_callback(_Bar(config.iterations, updates))
        trainer.add_callback(_Journal(out / JOURNAL, updates))
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    checkpoint.model = trainer.merged_model()
    logs = nested(trainer.state.log_history, updates)
    result = TrainResult(out / "model", logs, time.perf_counter() - started, len(logs))
    if process().is_main_process:
        with _told_if_full(out):
            save_checkpoint(checkpoint, out / "model")
            _write(config, result, watcher.summary())
    process().wait_for_everyone()
    return result


def training_settings(config: TrainConfig) -> TrainingSettings:
    """The trainer's settings from those of the command.

    Raises:
        ValueError: a setting does not fit the others.
    """
    algorithm = config.algorithm
    turn = _some(TurnSettings, algorithm, intent_form=config.intent_form)
    spending = _some(SpendSettings, algorithm)
    rollout = _some(RolloutSettings, algorithm, turn=turn, rollouts=config.rollouts, spending=spending)
    check_trackers(config.report_to)
    own = {name: getattr(config, name) for name in ("seed", "iterations", "specs", "save_every")}
    return replace(
        _some(TrainingSettings, algorithm, out=Path(config.out), report_to=tuple(config.report_to)),
        rollout=rollout,
        credit=_some(CreditSettings, algorithm),
        update=_some(UpdateSettings, algorithm),
        **own,
    )


def _some(kind: Any, algorithm: AlgorithmConfig, **given: Any) -> Any:
    """A settings object filled with those of the algorithm's values that it has."""
    names = {field.name for field in fields(kind)} & {field.name for field in fields(algorithm)}
    return kind(**given, **{name: getattr(algorithm, name) for name in names})


def _check_written(algorithm: AlgorithmConfig, turns: int) -> None:
    """Refuses to teach intents where a session has none."""
    if algorithm.text_weight and algorithm.intent_from_turn > turns:
        raise ValueError(
            f"algorithm.intent_from_turn is {algorithm.intent_from_turn}, but sessions have no more than "
            f"{turns} turns; expected algorithm.text_weight=0 where no intent is written"
        )


def _checkpoint_of(config: TrainConfig) -> Path | None:
    """Where the run goes on; None at its beginning, whose settings are then kept in `settings.json`.

    Raises:
        ValueError: `config.out` holds a run with other settings, or one whose checkpoints are lost.
    """
    out = Path(config.out)
    mine = {name: value for name, value in asdict(config).items() if name not in _FREE_TO_CHANGE}
    kept = out / "settings.json"
    newest = newest_checkpoint(out)
    if newest and kept.is_file():
        other = json.loads(kept.read_text(encoding="utf-8"))
        changed = sorted(name for name in mine.keys() | other.keys() if mine.get(name) != other.get(name))
        if changed:
            raise ValueError(
                f"out is {config.out!r}, which holds a run with another {', '.join(changed)}; expected the "
                f"same settings ({kept}) or another folder"
            )
    check_not_lost(out)
    recover(out)
    for folder in drop_half_written(out):
        Console().print(f"passing over {folder}, which was not finished")
    if newest:
        Console().print(f"going on from {newest}")
    elif (out / JOURNAL).is_file():
        Console().print(f"{out} has logs of a run but no whole checkpoint: it starts from the beginning")
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomically(kept, json.dumps(mine, indent=2) + "\n")
    return newest


@contextmanager
def _told_if_full(out: Path) -> Iterator[None]:
    """Ends a run that has learnt everything and could not write it down, by saying where it all is."""
    try:
        yield
    except SAVE_ERRORS as error:
        raise RunStopped(
            f"the last iteration is made, but {out} could not take its weights and summary "
            f"({type(error).__name__}: {error}); the same command writes them from {newest_checkpoint(out)}"
        ) from error


def _write(config: TrainConfig, result: TrainResult, watched: dict[str, Any]) -> None:
    """curves.png and summary.json; warnings are said once more."""
    out = Path(config.out)
    logs = with_last_evaluation(result.logs)
    learning_curves(logs, out / "curves.png", f"{config.model}, seed {config.seed}")
    summary = {
        "config": asdict(config),
        "seed": config.seed,
        "iterations": result.iterations,
        "seconds": result.seconds,
        "last": result.logs[-1],
        "model": str(result.model_folder),
        **watched,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    for warning in watched["warnings"]:
        Console().print(f"warning: {warning}")
    if watched["best"]:
        best = watched["best"]["iteration"]
        Console().print(f"best held-out evaluation: after {best} iterations, kept in {out / BEST}")


def _quiet() -> None:
    """Leaves the terminal to the progress bar."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    # TRL still speaks transformers' old names.
    old = ".*gradient_checkpointing.* is deprecated"
    warnings.filterwarnings("ignore", message=old, category=FutureWarning)


class _Bar(TrainerCallback):
    """A progress bar over iterations, with the rewards of the last one."""

    def __init__(self, iterations: int, updates: int) -> None:
        columns = (TextColumn("training"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        self.bar = Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
        )
        self.task = self.bar.add_task("", total=iterations)
        self.updates = updates

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the bar where a resumed run starts."""
        self.bar.update(self.task, completed=state.global_step // self.updates)
        self.bar.start()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Moves the bar on."""
        known = [(logs or {}).get(f"reward/{turn}") for turn in range(1, 4)]
        rewards = [f"{reward:.2f}" for reward in known if reward is not None]
        # The last log of a training is of its speed and has no rewards.
        said = "reward " + " ".join(rewards) if rewards else None
        self.bar.update(self.task, completed=state.global_step // self.updates, description=said)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leaves the terminal."""
        self.bar.stop()


class _Journal(TrainerCallback):
    """Keeps the file of logs, a line an iteration, up to date while the run goes on."""

    def __init__(self, path: Path, updates: int) -> None:
        self.path = path
        self.updates = updates

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes all lines anew, since a resumed run may have to take some back."""
        lines = [json.dumps(log) + "\n" for log in nested(state.log_history, self.updates)]
        try:
            write_text_atomically(self.path, "".join(lines))
        except OSError as error:
            # The next iteration writes these lines again.
            warnings.warn(f"{self.path} could not be written: {error}", stacklevel=2)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Once more, where the disk was full in the last iteration."""
        self.on_log(args, state, control)
