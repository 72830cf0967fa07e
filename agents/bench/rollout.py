"""`editenv bench rollout`: batched rollouts beside a plain loop, and what a training iteration goes into."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from editenv.agents.bench.arithmetic import operations, peak
from editenv.agents.bench.iteration import iteration_split
from editenv.agents.bench.sides import Side, Work, agreement, batched, plain
from editenv.agents.distributed import use_threads
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.editor.checkpoint import Checkpoint, load_checkpoint
from editenv.agents.metrics import peak_memory_mib
from editenv.agents.train import training_settings
from editenv.build import make_vector_env
from editenv.configs.compose import compose
from editenv.vector import MICEEditVectorEnv

COMPARED = {"interleaved": "algorithm=edit_r2_published", "current": "experiment=demo"}
"""With which settings the sides are compared, by the context that they have."""
_DEMO = "experiment=demo"


def bench_rollout(
    model: str = "practice",
    specs: int = 16,
    rollouts: int = 6,
    *,
    plain_sessions: int = 4,
    repeats: int = 3,
    iterations: int = 3,
    suite: str = "mixed",
    seed: int = 0,
    threads: int = 0,
) -> dict[str, Any]:
    """Plays one iteration's sessions as training does and, some of them, in a plain loop; then trains.

    The plain loop is of the published code's kind: one session at a time; within a turn a cache serves the
    writing of the intent and the steps of the picture, but nothing is kept from turn to turn, so that all
    earlier pictures and intents are read anew. Weights, settings, random numbers, environment and threads are
    the same, and both are timed by turns, so that they meet the same machine. The plain loop plays fewer
    sessions; compared are turns a second.

    Args:
        model: a shipped checkpoint, a run's folder or a checkpoint's.
        specs: session scripts of the batch.
        rollouts: how often each is played in it.
        plain_sessions: sessions of the plain loop, spread over the batch.
        repeats: how often both are timed.
        iterations: of training that are timed, by the demo's settings; 0 leaves it out.
        suite: which sessions.
        seed: of everything drawn.
        threads: of torch; 0 takes as many as training does, one for each core.

    Returns:
        `ratio`, turns a second of the batch over those of the plain loop with the interleaved context, a
        median over the repeats; `ratio_cpu`, by processor time; `sides`, by context: both speeds and ratios,
        the `agreement` of the outputs, `utilisation`; what `iteration_split` returns (None without
        iterations) with `utilisation` of an iteration; `peak_operations_per_second`, the best of matrix
        products between all this, which utilisation is in percent of; `peak_memory_mib`, of the process or
        the GPU; settings.
    """
    use_threads(threads or None)
    peaks = [peak(_device())]
    shared = {"specs": specs, "rollouts": rollouts, "seed": seed, "suite": suite, "model": model}
    sides = {
        context: _compared(_settings(words, **shared), plain_sessions, repeats, peaks)
        for context, words in COMPARED.items()
    }
    split = _iteration(_settings(_DEMO, **shared), iterations)
    best = max(*peaks, peak(_device()))
    for part in (*sides.values(), split):
        speed = part.pop("operations_per_second")
        part["utilisation"] = None if speed is None else 100 * speed / best
    return {
        "ratio": sides["interleaved"]["ratio"],
        "ratio_cpu": sides["interleaved"]["ratio_cpu"],
        "sides": sides,
        **split,
        "peak_operations_per_second": best,
        "peak_memory_mib": peak_memory_mib(),
        "device": _device(),
        **shared,
        "sessions": specs * rollouts,
        "plain_sessions": plain_sessions,
        "turns": sides["current"]["turns"],
        "repeats": repeats,
        "iterations": iterations,
        "threads": torch.get_num_threads(),
    }


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class _Setting:
    """What one algorithm is measured with."""

    training: TrainingSettings
    env: dict[str, Any]
    model: str

    def checkpoint(self) -> Checkpoint:
        """Loaded anew, as training changes it."""
        return load_checkpoint(self.model, _device())

    def envs(self, count: int) -> MICEEditVectorEnv:
        """So many environments side by side."""
        envs = make_vector_env(num_envs=count, autoreset_mode="Disabled", **self.env)
        assert isinstance(envs, MICEEditVectorEnv)
        return envs


def _settings(words: str, **shared: Any) -> _Setting:
    config = compose("train", [words], out="unused", **shared)
    return _Setting(training_settings(config), config.env(), config.model)


def _compared(setting: _Setting, plain_sessions: int, repeats: int, peaks: list[float]) -> dict[str, Any]:
    """Both sides with one algorithm's settings; notes what the machine can do in between."""
    training = setting.training
    work = Work(setting.checkpoint(), training.rollout, training.specs, training.seed)
    total = training.specs * training.rollout.rollouts
    count = min(plain_sessions, total)
    rows = [place * total // count for place in range(count)]
    envs, one = setting.envs(total), setting.envs(1)
    # The first calls set up what later ones find: allocations, sessions, kernels.
    plain(work, one, rows[:1])
    counted: list[Side] = []
    done = operations(lambda: counted.append(batched(work, envs)))
    pairs = []
    for _ in range(repeats):
        pairs.append((batched(work, envs), plain(work, one, rows)))
        peaks.append(peak(_device()))
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    return {
        "ratio": median(a.turns_per_second / b.turns_per_second for a, b in pairs),
        "ratio_cpu": median(a.turns / a.processor * b.processor / b.turns for a, b in pairs),
        "turns_per_second": median(side.turns_per_second for side in ours),
        "plain_turns_per_second": median(side.turns_per_second for side in theirs),
        "agreement": asdict(agreement(ours[0], theirs[0], rows)),
        "operations_per_second": median(done / side.seconds for side in ours),
        "operations_per_turn": done / counted[0].turns,
        "turns": ours[0].turns // total,
    }


def _iteration(setting: _Setting, iterations: int) -> dict[str, Any]:
    """An iteration of training; names without values where none is made."""
    if not iterations:
        names = ("iteration_seconds", "phases", "environment_share", "iteration_operations")
        return dict.fromkeys([*names, "operations_per_second"])
    training = setting.training
    envs = setting.envs(training.specs * training.rollout.rollouts)
    split = iteration_split(setting.checkpoint(), envs, training, iterations)
    return split | {"operations_per_second": split["iteration_operations"] / split["iteration_seconds"]}
