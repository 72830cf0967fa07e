"""What happens beside a training: held-out evaluations, filmstrips, records, trackers, journal, progress.

They are transformers' callbacks. The run learns what it would learn without them.
"""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from editenv.agents.episodes import run_episodes
from editenv.agents.failures import skip_if_full, warn_of_unscored
from editenv.agents.heldout import (
    BEST,
    Evaluation,
    Judged,
    evaluation,
    failed_evaluation,
    read_best,
    read_evaluations,
    reward_hacking,
    series,
    write_best,
    write_evaluations,
)
from editenv.agents.metrics import group_by_turn, turn_means
from editenv.agents.policy import Turn
from editenv.agents.rollout import RolloutBatch
from editenv.agents.trainer import EditR2Trainer, RolloutCallback
from editenv.agents.training_records import write_rollouts
from editenv.build import make_vector_env
from editenv.configs.schema import ScorerConfig, TrainConfig
from editenv.files import atomic_write, atomic_write_text
from editenv.protocols import Policy
from editenv.registry import unknown
from editenv.vector import MICEEditVectorEnv
from editenv.viewer import filmstrip

_SECOND = {"exact": "residual", "residual": "exact", "imperfect": "residual"}
"""Who judges held-out sessions where nothing else is asked for, by training's scorer."""
_STRIPS = 4


class HeldOutEvaluation(RolloutCallback):
    """Evaluates on held-out sessions, keeps the best weights and warns of reward hacking.

    The means are logged under "held_out/NAME/K", those after the last update under "last_held_out/NAME/K";
    `held_out_failed` is 1.0 where the sessions could not be played.

    `envs` are those of `held_out_envs`; `candidate_of` a model as it is now says what plays them, and what writes its
    weights into a folder.
    """

    def __init__(
        self,
        trainer: EditR2Trainer,
        config: TrainConfig,
        envs: MICEEditVectorEnv,
        candidate_of: Callable[[Any], tuple[Policy[Any], Callable[[Path], Any]]],
    ) -> None:
        self.trainer, self.config, self.envs, self.candidate_of = trainer, config, envs, candidate_of
        self.out = Path(config.out)
        self.past = read_evaluations(self.out)  # all so far, which a full disk may keep from the file

    def on_rollout(self, iteration: int, rollout: RolloutBatch, advantages: Turn, sessions: Sequence[Judged]) -> None:
        """Evaluates the weights before an iteration's update, where that is due."""
        if _due(iteration, self.config.eval_every):
            self._look(iteration, sessions, "held_out/")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluates what the last update left."""
        if state.global_step == state.max_steps:
            self._look(self.trainer.iteration, (), "last_held_out/")
            # TRL logs other numbers while the model is not in training.
            self.trainer.policy.train()

    def summary(self) -> dict[str, Any]:
        """What a run's summary says: who judged, the best weights' facts and all warnings."""
        if self.past:
            # Once more, where the disk was full at the last evaluation.
            skip_if_full("held-out evaluations", partial(write_evaluations, self.past, self.out))
        return {
            "eval_scorer": self.past[-1].scorer if self.past else None,
            "best": read_best(self.out) if self.past else None,
            "warnings": [look.warning for look in self.past if look.warning],
        }

    def _look(self, iteration: int, sessions: Sequence[Judged], prefix: str) -> None:
        with self.trainer.timer.phase("held_out"):
            model = self.trainer.merged_model()
            if self.trainer.accelerator.is_main_process:
                self.trainer.record(self.evaluate(iteration, sessions, model, prefix))

    def evaluate(self, iteration: int, sessions: Sequence[Judged], model: Any, prefix: str) -> dict[str, float]:
        """Plays the held-out sessions with a model, and keeps what came out; returns numbers for the log."""
        # A run that was killed evaluates again what it had evaluated after its last checkpoint.
        past, count = [look for look in self.past if look.iteration < iteration], self.config.eval_sessions
        try:
            policy, save = self.candidate_of(model)
            played = run_episodes(self.envs, policy, range(count), self.config.seed)
        except Exception as error:
            judge = str(self.envs.engine.versions()["scorer"])
            look, logged = failed_evaluation(iteration, judge, count, sessions, error), {"held_out_failed": 1.0}
            self._say(f"held-out sessions could not be evaluated ({look.error}); the run goes on", iteration)
        else:
            warn_of_unscored(iteration, played, "held-out ")
            look, logged = evaluation(iteration, played, sessions), turn_means(played, prefix)
            rivals = [other for other in past if other.comparable(look)]
            if not any(other.warning for other in past):  # once a run
                look = replace(look, warning=self._warned(rivals, look))
            if look.global_awareness and all(look.rank > other.rank for other in rivals):
                facts = asdict(look) | {"trained_with": self.config.scorer.kind, "seed": self.config.seed}
                skip_if_full("the best weights", partial(write_best, save, facts, self.out))
        self.past = [*past, look]
        skip_if_full("held-out evaluations", partial(write_evaluations, self.past, self.out))
        return logged

    def _warned(self, rivals: list[Evaluation], look: Evaluation) -> str | None:
        """Warns in words where reward rises and held-out scores fall."""
        trends = reward_hacking(*series([*rivals, look]))
        if trends is None:
            return None
        rising, falling = trends
        return self._say(
            f"the reward that training's scorer ({self.config.scorer.kind}) pays "
            f"rose by {rising.change:.2f} (standard error {rising.error:.2f}) over the last evaluations, "
            f"while held-out GA of the last turn, judged by {look.scorer}, fell by {-falling.change:.2f} "
            f"({falling.error:.2f}): the model may be learning to please its scorer; the best weights so far "
            f"are in {self.out / BEST}",
            look.iteration,
        )

    def _say(self, text: str, iteration: int) -> str:
        text = f"iteration {iteration}: {text}"
        warnings.warn(text, stacklevel=4)
        for writer, step in tracker_writers(self.trainer, iteration):
            writer.add_text("warning", text, step)
        return text


class RolloutFiles(RolloutCallback):
    """Draws the first rollouts of an iteration into `images/`, keeps all in `records/`, as often as `config` says."""

    def __init__(self, trainer: EditR2Trainer, config: TrainConfig) -> None:
        self.trainer, self.config = trainer, config

    def on_rollout(self, iteration: int, rollout: RolloutBatch, advantages: Turn, sessions: Sequence[Judged]) -> None:
        """Draws and writes, where that is due."""
        out = Path(self.config.out)
        if _due(iteration, self.config.image_every):
            skip_if_full("the filmstrip", partial(self._draw, out / "images", iteration, rollout))
        if _due(iteration, self.config.record_every):
            most = self.config.record_mib << 20
            skip_if_full("the record", partial(write_rollouts, out, iteration, rollout, advantages, most))

    def _draw(self, folder: Path, iteration: int, rollout: RolloutBatch) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        picture = filmstrip(rollout.sessions[:: self.config.group_size][:_STRIPS])
        path = folder / f"iteration_{iteration:05d}.png"
        atomic_write(path, lambda unfinished: Image.fromarray(picture).save(unfinished, format="PNG"))
        for writer, step in tracker_writers(self.trainer, iteration):
            writer.add_image("sessions", picture, step, dataformats="HWC")


class Journal(TrainerCallback):
    """Keeps a run's file of logs, a line an iteration of so many `updates`, up to date while the run goes on."""

    def __init__(self, path: Path, updates: int) -> None:
        self.path, self.updates = path, updates

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes all lines anew, since a resumed run may have to take some back."""
        lines = [json.dumps(log) + "\n" for log in group_by_turn(state.log_history, self.updates)]
        try:
            atomic_write_text(self.path, "".join(lines))
        except OSError as error:
            # The next iteration writes these lines again.
            warnings.warn(f"{self.path} could not be written: {error}", stacklevel=2)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Once more, where the disk was full in the last iteration."""
        self.on_log(args, state, control)


def seconds_spent(logs: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of training that logs tell of."""
    return sum(v for log in logs for k, v in log.items() if k.startswith("seconds/"))


class StopAfter(TrainerCallback):
    """Ends a run after the iteration in which its seconds are over, those of earlier processes included.

    Args:
        seconds: that may be spent.
        spent: seconds spent so far, by the trainer's state.
        updates: optimiser steps an iteration.
    """

    def __init__(self, seconds: float, spent: Callable[[Any], float], updates: int = 1) -> None:
        self.seconds, self.spent, self.updates = seconds, spent, updates

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decides in the first process, for all of them, by what a resumed run reads in its logs too."""
        if state.global_step % self.updates == 0:
            (over,) = broadcast_object_list([self.spent(state) > self.seconds])
            if over:
                # With a checkpoint, so that the same command has nothing left to do.
                control.should_training_stop = control.should_save = True


class ProgressReport(TrainerCallback):
    """Iterations with the rewards of the last one: a bar on a terminal, a line each anywhere else.

    An iteration has so many `updates`; without a console it is shown on standard output.
    """

    def __init__(self, iterations: int, updates: int, console: Console | None = None) -> None:
        self.console = console or Console()
        columns = (TextColumn("training"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, *times, console=self.console, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=iterations)
        self.iterations, self.updates, self.since = iterations, updates, time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts where a resumed run starts."""
        self.since = time.perf_counter()
        self.bar.update(self.task, completed=state.global_step // self.updates)
        self.bar.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Moves on by an iteration."""
        known = [(logs or {}).get(f"reward/{turn}") for turn in range(1, 4)]
        rewards = " ".join(f"{reward:.2f}" for reward in known if reward is not None)
        if not rewards:
            return  # the last log of a training is of its speed
        done, now = state.global_step // self.updates, time.perf_counter()
        self.bar.update(self.task, completed=done, description=f"reward {rewards}")
        if self.bar.disable:
            # Flushed, so that a pipe or a log file shows it as it happens.
            line = f"iteration {done}/{self.iterations}: reward {rewards}, {now - self.since:.1f} s"
            print(line, file=self.console.file, flush=True)
        self.since = now

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leaves the terminal."""
        self.bar.stop()


def tracker_writers(trainer: Any, iteration: int) -> list[tuple[Any, int]]:
    """What takes pictures and words, which TRL's logs are not, and the optimiser step, which trackers count.

    A tracker has such a writer where its callback has a `tb_writer`, as TensorBoard's has; the others get neither.
    """
    if trainer is None:
        return []
    step = iteration * trainer.algorithm.updates_per_iteration
    writers = [getattr(callback, "tb_writer", None) for callback in trainer.callback_handler.callbacks]
    return [(writer, step) for writer in writers if writer is not None]


def check_trackers(names: Sequence[str]) -> None:
    """Refuses trackers that transformers does not know, or whose package is missing, before anything heavy starts."""
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise ValueError(unknown("report_to", name, INTEGRATION_TO_CALLBACK))
        if name not in get_available_reporting_integrations():
            installed = ", ".join(get_available_reporting_integrations()) or "none"
            raise ValueError(f"report_to names {name!r}, whose package is missing; installed: {installed}")


def held_out_envs(config: TrainConfig) -> MICEEditVectorEnv | None:
    """Validation sessions, or those of the file, judged by `held_out_scorer`; None without evaluations."""
    if not config.eval_every:
        return None
    scorer = held_out_scorer(config)
    judge = {"scorer": scorer.kind, "scorer_settings": scorer.settings, "scoring": scorer.scoring}
    settings: dict[str, Any] = config.env() | judge
    if not config.sessions_file:
        settings["split"] = "validation"
    envs = make_vector_env(num_envs=min(config.eval_sessions, 256), autoreset_mode="Disabled", **settings)
    if envs.engine.scorer is None:
        raise ValueError(f"eval_scorer is {scorer.kind!r}, which judges no held-out session: expected another")
    return envs


def held_out_scorer(config: TrainConfig) -> ScorerConfig:
    """The scorer of `eval_scorer`, else the second exact one where training uses an exact one.

    A scorer that training itself uses is warned of: it cannot see what training learns to hide from it.
    """
    own, asked = config.scorer, config.eval_scorer
    if asked is None and own.kind in _SECOND:
        return ScorerConfig(kind=_SECOND[own.kind], settings={}, scoring="immediate")
    judge = own if asked is None else asked
    if (judge.kind, judge.settings) == (own.kind, own.settings):
        warnings.warn(
            f"held-out sessions are judged by training's own scorer ({own.kind}), which does not see what "
            "training learns to hide from it; scorer@eval_scorer=NAME chooses another",
            stacklevel=2,
        )
    return judge


def _due(iteration: int, every: int) -> bool:
    return bool(every) and iteration % every == 0
