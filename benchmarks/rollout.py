"""`editenv bench rollout`: batched rollouts beside a plain loop, and what a training iteration spends."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from editenv.agents.distributed import use_threads
from editenv.agents.edit_r2 import collect_rollout
from editenv.agents.metrics import Timer, peak_memory_mib
from editenv.agents.policy import JointPolicy, load_policy
from editenv.agents.rollout import RolloutBatch
from editenv.agents.settings import TrainingSettings
from editenv.agents.train import training_settings
from editenv.agents.trainer import EditR2Trainer
from editenv.build import make_vector_env
from editenv.configs.compose import compose
from editenv.vector import MICEEditVectorEnv

COMPARED = {"interleaved": "algorithm=edit_r2_published", "current": "experiment=demo"}
"""Settings that the sides are compared with, by the context that they have."""
PARTS = ("intent", "image", "scoring", "update", "other")
"""Parts of an iteration: generating intents; sampling, encoding and decoding images; the environments' resets
and steps; forward, backward and optimiser; what is left (advantages, padding, the trainer's bookkeeping)."""
_SPLIT = ("iteration_seconds", "phases", "environment_share", "iteration_operations")


def bench_rollout(
    model: str = "practice",
    groups: int = 16,
    group_size: int = 6,
    *,
    plain_sessions: int = 4,
    repeats: int = 3,
    iterations: int = 3,
    suite: str = "mixed",
    seed: int = 0,
    threads: int = 0,
) -> dict[str, Any]:
    """Play one iteration's sessions as training does and, some of them, in a plain loop; then train.

    The plain loop is of the published code's kind: one session at a time; within a turn a cache serves the
    intent and the steps of the image, but nothing is kept from turn to turn, so that all earlier images and
    intents are read again. Weights, settings, random numbers, environment and threads are the same, and both
    are timed alternately, under the same load. The plain loop plays fewer sessions; compared are turns a
    second.

    Args:
        model: a shipped checkpoint, a run's folder or a checkpoint's.
        groups: session scripts of the batch.
        group_size: how often each is played in it.
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
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peaks = [peak(device)]
    shared = {"groups": groups, "group_size": group_size, "seed": seed, "suite": suite, "model": model}

    def configured(words: str) -> tuple[TrainingSettings, Callable[[int], MICEEditVectorEnv]]:
        config = compose("train", [words], out="unused", **shared)

        def envs(count: int) -> MICEEditVectorEnv:
            made = make_vector_env(num_envs=count, autoreset_mode="Disabled", **config.env())
            assert isinstance(made, MICEEditVectorEnv)
            return made

        return training_settings(config), envs

    sides = {}
    for context, words in COMPARED.items():
        settings, envs = configured(words)
        work = Work(load_policy(model, device), settings)
        sides[context] = _compared(work, envs, plain_sessions, repeats, peaks)
    split: dict[str, Any] = dict.fromkeys([*_SPLIT, "operations_per_second"])
    if iterations:
        settings, envs = configured(COMPARED["current"])
        # Loaded anew, as training changes it.
        split = iteration_split(load_policy(model, device), envs(groups * group_size), settings, iterations)
        split["operations_per_second"] = split["iteration_operations"] / split["iteration_seconds"]
    best = max(*peaks, peak(device))
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
        "device": device,
        **shared,
        "sessions": groups * group_size,
        "plain_sessions": plain_sessions,
        "turns": sides["current"]["turns"],
        "repeats": repeats,
        "iterations": iterations,
        "threads": torch.get_num_threads(),
    }


def rollout_table(figures: Mapping[str, Any]) -> str:
    """The figures as lines of a number and what it is."""
    lines = []
    for context, side in figures["sides"].items():
        told = side["agreement"]
        lines += [
            f"context {context}: {figures['sessions']} sessions of {side['turns']} turns in one batch, "
            f"{figures['plain_sessions']} of them one by one",
            f"{side['turns_per_second']:8.1f} turns a second in one batch",
            f"{side['plain_turns_per_second']:8.1f} turns a second one by one",
            f"{side['ratio']:8.1f} times as many ({side['ratio_cpu']:.1f} by processor time)",
            f"{side['utilisation']:8.0f} percent of this machine's matrix products",
            f"{100 * told['same_intents']:8.0f} percent of turns with the same intents; elsewhere apart by "
            f"{told['log_prob']:.0e} in log-probs, {told['latents']:.0e} in latents",
        ]
    if figures["phases"] is not None:
        lines.append(f"a training iteration: {figures['iteration_seconds']:.2f} seconds")
        for part, seconds in figures["phases"].items():
            lines.append(f"{seconds:8.2f} seconds {part}")
        lines.append(f"{figures['environment_share']:8.1f} percent of it is the environment")
        lines.append(f"{figures['utilisation']:8.0f} percent of this machine's matrix products")
    rate = figures["peak_operations_per_second"] / 1e9
    lines.append(f"{rate:8.0f} thousand million operations a second in a product of matrices, measured now")
    lines.append(f"{figures['peak_memory_mib']:8.0f} MiB of memory at most")
    return "\n".join(lines)


# The batch and the plain loop


@dataclass(frozen=True)
class Work:
    """An iteration's sessions.

    Attributes:
        policy: plays.
        settings: of the training whose first rollout this is.
    """

    policy: JointPolicy
    settings: TrainingSettings


@dataclass(frozen=True)
class Side:
    """What one side played.

    Attributes:
        rollouts: all rows in one, or one row each.
        turns: played.
        seconds, processor: by the clock, and by this process's processor time.
    """

    rollouts: tuple[RolloutBatch, ...]
    turns: int
    seconds: float
    processor: float

    @property
    def turns_per_second(self) -> float:
        """By the clock."""
        return self.turns / self.seconds


def batched(work: Work, envs: MICEEditVectorEnv) -> Side:
    """All sessions in one batch, as training plays them: what was read of a session is kept."""
    return _timed(work, envs, [slice(0, work.settings.groups * work.settings.group_size)])


def plain(work: Work, env: MICEEditVectorEnv, rows: Sequence[int]) -> Side:
    """Some of the same sessions one after the other, all that a turn follows read again in each turn."""
    return _timed(work, env, [slice(row, row + 1) for row in rows])


def _timed(work: Work, envs: MICEEditVectorEnv, parts: Sequence[slice]) -> Side:
    own, cached = work.settings, envs.num_envs > 1
    given = work.policy, envs, own.algorithm, own.seed, 0, own.groups, own.group_size
    started, begun = perf_counter(), process_time()
    rollouts = tuple(collect_rollout(*given, rows=part, cached=cached) for part in parts)
    seconds, processor = perf_counter() - started, process_time() - begun
    turns = sum(len(session.scores) for rollout in rollouts for session in rollout.sessions)
    return Side(rollouts, turns, seconds, processor)


def _compared(
    work: Work, envs_of: Callable[[int], MICEEditVectorEnv], plain_sessions: int, repeats: int, peaks: list[float]
) -> dict[str, Any]:
    """Both sides with one algorithm's settings; appends to `peaks` what the machine can do in between."""
    total, device = work.settings.groups * work.settings.group_size, work.policy.device
    count = min(plain_sessions, total)
    rows = [place * total // count for place in range(count)]
    envs, one = envs_of(total), envs_of(1)
    # The first calls set up what later ones find: allocations, sessions, kernels.
    plain(work, one, rows[:1])
    counted: list[Side] = []
    done = operations(lambda: counted.append(batched(work, envs)))
    pairs = []
    for _ in range(repeats):
        pairs.append((batched(work, envs), plain(work, one, rows)))
        peaks.append(peak(device))
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


@dataclass(frozen=True)
class Agreement:
    """How far the sides' outputs are apart, over the sessions that both played.

    An image is rounded to 256 levels before the next turn reads it, so that rounding of floats may move a
    level, and a later turn then reads an image that is another by that.

    Attributes:
        sessions: compared.
        turns: compared, up to each session's first one with another intent or another image to edit.
        same_intents: share of those turns whose intents are the same token by token, in the same sessions.
        log_prob: largest difference of log-probs, tokens' and steps', in turns that begin alike.
        latents: largest difference of images' latents, in the same turns.
    """

    sessions: int
    turns: int
    same_intents: float
    log_prob: float
    latents: float


def agreement(one: Side, other: Side, rows: Sequence[int]) -> Agreement:
    """Compare the batched side's rows with the plain side's rollouts."""
    whole = one.rollouts[0].turns
    same: list[bool] = []
    log_probs, latents = [0.0], [0.0]

    def apart(mine: Tensor, theirs: Tensor) -> float:
        return float((mine - theirs).abs().max()) if mine.numel() else 0.0

    for row, rollout in zip(rows, other.rollouts, strict=True):
        for turn in range(rollout.reward.shape[1]):
            mine = {name: value[row, turn] for name, value in whole.items()}
            theirs = {name: value[0, turn] for name, value in rollout.turns.items()}
            pair = mine, theirs
            begun = torch.allclose(mine["source"], theirs["source"], atol=1e-6)
            intents = [side["intent_ids"][side["intent_mask"]].tolist() for side in pair]
            alike = intents[0] == intents[1]
            # Only later images are the sides' own; the first are those of the sessions.
            same.append(alike and (begun or turn > 0))
            if not (alike and begun):
                break
            log_probs.append(apart(*(side["text_log_prob"][side["intent_mask"]] for side in pair)))
            log_probs.append(apart(mine["flow_log_prob_mean"], theirs["flow_log_prob_mean"]))
            latents.append(apart(mine["image"], theirs["image"]))
    return Agreement(len(rows), len(same), sum(same) / len(same), max(log_probs), max(latents))


# A training iteration


def iteration_split(
    checkpoint: JointPolicy, envs: MICEEditVectorEnv, settings: TrainingSettings, iterations: int
) -> dict[str, Any]:
    """Train for some iterations in a folder that is thrown away; the checkpoint is changed by it.

    A first iteration warms up, and a last one is counted, operation by operation, and not timed.

    Args:
        checkpoint: to be trained.
        envs: `groups * group_size` of them.
        settings: of the training; nothing is saved on the way.
        iterations: that are timed.

    Returns:
        `iteration_seconds`, the median; `phases`, the seconds of each of PARTS in the iteration of that
        length (the upper one of an even number); `environment_share`, of "scoring", in percent;
        `iteration_operations`.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = replace(settings, out=Path(folder), iterations=iterations + 2, save_every=iterations + 3)
        trainer = EditR2Trainer(checkpoint, envs, whole)
        trainer.remove_callback(PrinterCallback)
        watch = _IterationWatch(trainer)
        trainer.add_callback(watch)
        trainer.train()
    seconds = watch.seconds[1:-1]
    totals = [sum(parts.values()) for parts in seconds]
    return {
        "iteration_seconds": median(totals),
        "phases": sorted(seconds, key=lambda parts: sum(parts.values()))[len(seconds) // 2],
        "environment_share": 100
        * median(parts["scoring"] / total for parts, total in zip(seconds, totals, strict=True)),
        "iteration_operations": watch.operations,
    }


class _IterationWatch(TrainerCallback):
    """Seconds of each of PARTS in every iteration, and the operations of the last one."""

    def __init__(self, trainer: EditR2Trainer) -> None:
        self.trainer, self.timer = trainer, Timer()
        self.seconds: list[dict[str, float]] = []
        self.operations = 0
        self._counter: FlopCounterMode | None = None
        self._steps = 0.0
        self._step_start = self._iteration_start = perf_counter()
        self._time_calls(trainer.envs, "environment", "reset", "step")
        self._time_calls(trainer, "rollout", "_generate_and_score_completions")

    def _time_calls(self, of: object, phase: str, *names: str) -> None:
        def timed(call: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(call)
            def timing(*args: Any, **kwargs: Any) -> Any:
                with self.timer.phase(phase):
                    return call(*args, **kwargs)

            return timing

        for name in names:
            setattr(of, name, timed(getattr(of, name)))

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """A rollout where one is due, forward, backward and the optimiser's step begin."""
        if self.trainer.iteration + 1 >= self.trainer.settings.iterations:
            self._counter = _flop_counter()
            self._counter.__enter__()
        self._step_start = perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """They are done."""
        self._steps += perf_counter() - self._step_start
        if self._counter:
            self._counter.__exit__(None, None, None)
            self.operations += int(self._counter.get_total_flops())

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        """An iteration is over; the trainer logs seconds of generating and sampling itself."""
        if "loss" not in logs:
            return
        noted, now = self.timer.flush(), perf_counter()
        parts = {name: logs.get(f"seconds/{name}", 0.0) for name in ("intent", "image")}
        parts["scoring"] = noted["seconds/environment"]
        parts["update"] = self._steps - noted["seconds/rollout"]
        parts["other"] = now - self._iteration_start - sum(parts.values())
        self.seconds.append(parts)
        self._iteration_start, self._steps = now, 0.0


# Operations


def operations(work: Callable[[], object]) -> int:
    """Floating point operations of all matrix products, convolutions and attentions in a piece of work.

    They follow from the shapes, a multiplication and an addition counting as two; what is added up, normed or
    copied beside them is not counted. The work is done once, slower than without counting.
    """
    with _flop_counter() as counter:
        work()
    return int(counter.get_total_flops())


def peak(device: torch.device | str = "cpu") -> float:
    """Operations a second of the best of 20 products of 1024 x 1024 matrices in float32."""
    matrix, best = torch.randn(1024, 1024, device=device), math.inf
    for _ in range(20):
        start = perf_counter()
        product = matrix @ matrix
        # Waits for a GPU, which works asynchronously.
        float(product[0, 0])
        best = min(best, perf_counter() - start)
    return 2 * 1024**3 / best


def _flop_counter() -> FlopCounterMode:
    aten = torch.ops.aten
    # What torch's own table of operations lacks.
    on_cpu: dict[Any, Any] = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=on_cpu)


def _attention(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """Both products of an attention: 2 B H L S (D + E) for [B, H, L, D], [B, H, S, D] and [B, H, S, E]."""
    batch, heads, length, width = query
    return int(2 * batch * heads * length * key[2] * (width + value[3]))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """Two products for each of the forward pass, and the attention weights' own once more."""
    batch, heads, length, width = query
    return 2 * _attention(query, key, value) + int(2 * batch * heads * length * key[2] * width)
