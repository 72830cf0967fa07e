"""A training iteration taken apart: what its seconds go into."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from torch import Tensor
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from editenv.agents.bench.arithmetic import operations
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.metrics import Timer
from editenv.agents.trainer import EditR2Trainer
from editenv.vector import MICEEditVectorEnv

PARTS = ("intent", "image", "scoring", "update", "other")
"""Writing, drawing with encoding and decoding, the environment's reset and steps, the optimiser's steps with
forward and backward, and what is left: credit, padding, the trainer's bookkeeping."""


def iteration_split(
    checkpoint: Checkpoint, envs: MICEEditVectorEnv, settings: TrainingSettings, iterations: int
) -> dict[str, Any]:
    """Trains for some iterations in a folder that is thrown away; the checkpoint is changed by it.

    A first iteration warms up, and a last one is counted, operation by operation, and not timed.

    Args:
        checkpoint: to be trained.
        envs: `specs * rollouts` of them.
        settings: of the training; nothing is saved on the way.
        iterations: that are timed.

    Returns:
        `iteration_seconds`, the median; `phases`, the seconds of each of PARTS in the iteration of that
        length (the upper one of an even number); `environment_share`, of "scoring", in percent;
        `iteration_operations`.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = replace(settings, out=Path(folder), iterations=iterations + 2, save_every=iterations + 3)
        trainer = _Timed(checkpoint, _timed_envs(envs, clock := Timer()), whole, clock)
        trainer.train()
    seconds = trainer.seconds[1:-1]
    middle = sorted(seconds, key=lambda parts: sum(parts.values()))[len(seconds) // 2]
    return {
        "iteration_seconds": median(sum(parts.values()) for parts in seconds),
        "phases": middle,
        "environment_share": 100 * median(parts["scoring"] / sum(parts.values()) for parts in seconds),
        "iteration_operations": trainer.counted,
    }


class _Timed(EditR2Trainer):
    """Takes the time of everything that an iteration does.

    Args:
        clock: on which the environments note their time.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        envs: MICEEditVectorEnv,
        settings: TrainingSettings,
        clock: Timer,
    ) -> None:
        self.clock, self.seconds, self.counted = clock, list[dict[str, float]](), 0
        self._began = perf_counter()
        super().__init__(checkpoint, envs, settings)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Steps(self))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        self._began = perf_counter()
        self.clock.flush()
        with self.clock.phase("rollout"):
            return super()._generate_and_score_completions(inputs)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Loss and gradients of a minibatch, after a rollout where one is due."""
        if self.iteration + 1 < self.settings.iterations:
            with self.clock.phase("step"):
                return super().training_step(*args, **kwargs)
        losses: list[Tensor] = []
        work = super().training_step
        self.counted += operations(lambda: losses.append(work(*args, **kwargs)))
        return losses[0]

    def _clip_grad_norm(self, model: Any) -> Tensor:
        with self.clock.phase("optimiser"):
            return super()._clip_grad_norm(model)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Closes an iteration before TRL takes its own notes."""
        if "loss" in logs:
            noted, total = self.clock.flush(), perf_counter() - self._began
            own = {name: noted.get(f"seconds/{name}", 0.0) for name in ("rollout", "step", "optimiser")}
            # The steps of the environments are timed by the trainer's own watch too, as "scoring".
            phases = self.stopwatch.peek()
            parts = {name: phases.get(name, 0.0) for name in ("intent", "image")}
            parts["scoring"] = noted.get("seconds/environment", 0.0)
            parts["update"] = own["step"] - own["rollout"] + own["optimiser"]
            self.seconds.append(parts | {"other": total - sum(parts.values())})
        super().log(logs, start_time)


class _Steps(TrainerCallback):
    """Times the optimiser, which the trainer's loop calls by itself."""

    def __init__(self, trainer: _Timed) -> None:
        self.trainer, self.open = trainer, ExitStack()

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The step begins."""
        self.open.enter_context(self.trainer.clock.phase("optimiser"))

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The step is made."""
        self.open.close()


def _timed_envs(envs: MICEEditVectorEnv, clock: Timer) -> MICEEditVectorEnv:
    """The same environments, which note the time of resets and steps."""

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def noting(*args: Any, **kwargs: Any) -> Any:
            with clock.phase("environment"):
                return call(*args, **kwargs)

        return noting

    envs.reset, envs.step = timed(envs.reset), timed(envs.step)  # type: ignore[method-assign]
    return envs
