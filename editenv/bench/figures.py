"""`editenv bench env`: turns a second, beside MiniGrid's, how time and memory grow, and a table of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from editenv.bench.memory import sessions_mb
from editenv.bench.minigrid import MiniGrid, installed
from editenv.bench.play import Sessions, Times, right_answers, timed

TURNS, SIZES = (3, 8, 16), (64, 128, 256)
"""Turns a session and sides of a picture at which the time of a turn is compared."""


def bench_env(
    num_envs: int = 64,
    turns: int = 6_144,
    *,
    suite: str = "mixed",
    split: str = "test",
    size: int = 64,
    grid: int = 4,
    seed: int = 0,
    noise: float = 0.0,
    repeats: int = 5,
    minigrid_steps: int = 1_500,
    scaling_sessions: int = 32,
    memory_sessions: int = 1_024,
) -> dict[str, Any]:
    """Plays whole sessions of `MICEEdit-v0` with an agent that is always right, and times reset and step.

    The agent's pictures are made before the clock starts: what is timed is the environment alone (drawing
    sessions and source pictures, exact scores, observations, infos). numpy's products take as many threads
    as it is set to use; OMP_NUM_THREADS=1 makes it one core. MiniGrid's steps are timed between the repeats,
    so that both meet the same machine.

    Args:
        num_envs: sessions side by side.
        turns: turns a repeat, rounded up to whole batches of sessions.
        suite: which sessions.
        split: of which split.
        size: side of a picture in pixels.
        grid: cells a side.
        seed: of the sessions; a repeat plays the same ones again.
        noise: standard deviation, in levels, of noise on the agent's pictures; 0 leaves them exact, which the
            parser reads faster than what a model draws.
        repeats: how often to measure.
        minigrid_steps: steps of MiniGrid a repeat; 0 leaves it out.
        scaling_sessions: sessions side by side where growth is measured; 0 leaves it out.
        memory_sessions: sessions side by side whose memory is measured; 0 leaves it out.

    Returns:
        Medians over the repeats: `turns_per_second`; `turns_per_cpu_second`, by this process's processor
        time, which tells what one core does while others want it too; `microseconds_per_turn` and its parts
        `reset_microseconds_per_turn` and `step_microseconds_per_turn`; `minigrid_steps_per_second` and
        `minigrid_ratio`, turns over steps (None where MiniGrid is not installed or left out). Then
        `turns_per_second_best`; `reward` (mean; 1.0 where the pictures are exact); `scaling`, microseconds a
        turn by turns a session and by size; `memory_1024_sessions_mb` (named for its default); settings.
    """
    sessions = Sessions(suite, split, size, grid, seed, noise)
    env = sessions.env(num_envs)
    length = env.engine.world.max_turns
    rounds = -(-turns // (num_envs * length))
    answers = right_answers(sessions, rounds, num_envs)
    other = MiniGrid(seed) if minigrid_steps and installed() else None
    times, others = [], []
    for _ in range(repeats):
        times.append(timed(env, answers, seed))
        if other:
            others.append(other.steps_per_second(minigrid_steps))
    played = rounds * num_envs * length
    return {
        **_speeds(times, played),
        **_beside([played / time.total for time in times], others),
        "scaling": _scaling(sessions, scaling_sessions, repeats) if scaling_sessions else None,
        "memory_1024_sessions_mb": sessions_mb(memory_sessions) if memory_sessions else None,
        "reward": times[0].reward,
        **{name: value for name, value in asdict(sessions).items() if name != "turns"},
        "turns": played,
        "num_envs": num_envs,
        "repeats": repeats,
    }


def table(figures: Mapping[str, Any]) -> str:
    """The figures for a reader."""
    lines = [
        f"{figures['turns_per_second']:8,.0f} turns a second (median of {figures['repeats']})",
        f"{figures['turns_per_second_best']:8,.0f} turns a second (best)",
        f"{figures['reset_microseconds_per_turn']:8.0f} microseconds a turn for opening sessions",
        f"{figures['step_microseconds_per_turn']:8.0f} microseconds a turn for steps, exact scores included",
    ]
    if figures["minigrid_ratio"] is None:
        lines.append("       - MiniGrid is not installed or was left out, nothing to compare with")
    else:
        lines.append(f"{figures['minigrid_steps_per_second']:8,.0f} steps a second of MiniGrid with pictures")
        lines.append(f"{figures['minigrid_ratio']:8.1f} times as many turns as MiniGrid's steps")
    for part, unit in (("turns", "turns a session"), ("size", "pixels a side")):
        for at, cost in ((figures["scaling"] or {}).get(part) or {}).items():
            lines.append(f"{cost:8.0f} microseconds a turn at {at} {unit}")
    if figures["memory_1024_sessions_mb"] is not None:
        lines.append(f"{figures['memory_1024_sessions_mb']:8.0f} megabytes for many sessions side by side")
    lines.append(f"{figures['reward']:8.3f} mean reward of an agent that is always right")
    return "\n".join(lines)


def _speeds(times: list[Times], played: int) -> dict[str, float]:
    """Turns a second and the time of a turn, medians over the repeats."""
    total, processor, reset, step = (
        median(getattr(time, part) for time in times) for part in ("total", "processor", "reset", "step")
    )
    return {
        "turns_per_second": played / total,
        "turns_per_second_best": played / min(time.total for time in times),
        "turns_per_cpu_second": played / processor,
        "microseconds_per_turn": total / played * 1e6,
        "reset_microseconds_per_turn": reset / played * 1e6,
        "step_microseconds_per_turn": step / played * 1e6,
    }


def _beside(speeds: list[float], others: list[float]) -> dict[str, float | None]:
    """MiniGrid's speed and how many times it ours is, repeat by repeat; None where it was not played."""
    if not others:
        return {"minigrid_steps_per_second": None, "minigrid_ratio": None}
    ratios = [ours / theirs for ours, theirs in zip(speeds, others, strict=True)]
    return {"minigrid_steps_per_second": median(others), "minigrid_ratio": median(ratios)}


def _scaling(sessions: Sessions, num_envs: int, repeats: int) -> dict[str, dict[str, float]]:
    """Microseconds a turn by turns a session and by the side of a picture, medians."""
    by_turns = {str(turns): replace(sessions, turns=turns) for turns in TURNS}
    by_size = {str(size): replace(sessions, size=size) for size in SIZES}
    return {
        part: {at: _cost(which, num_envs, repeats) for at, which in variants.items()}
        for part, variants in (("turns", by_turns), ("size", by_size))
    }


def _cost(sessions: Sessions, num_envs: int, repeats: int) -> float:
    """Microseconds a turn, opening the session included."""
    answers = right_answers(sessions, 1, num_envs)
    env = sessions.env(num_envs)
    timed(env, answers, sessions.seed)
    times = [timed(env, answers, sessions.seed).total for _ in range(repeats)]
    return median(times) / (num_envs * len(answers[0])) * 1e6
