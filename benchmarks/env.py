"""`editenv bench env`: turns a second beside MiniGrid's steps, and how time and memory grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.world import StudioWorld

TURNS, SIZES = (3, 8, 16), (64, 128, 256)
"""Turns a session and sides of a picture in pixels at which the time of a turn is compared."""
_STATUS, _PAGE = Path("/proc/self/statm"), 4096


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
    """Play whole sessions of `MICEEdit-v0` with an agent that is always right, and time reset and step.

    The agent's pictures are made before the clock starts: what is timed is the environment alone (drawing
    sessions and source pictures, exact scores, observations, infos). numpy's products take as many threads
    as it is set to use; OMP_NUM_THREADS=1 makes it one core. MiniGrid's steps are timed between the repeats,
    so that both are measured under the same load.

    Args:
        num_envs: sessions side by side.
        turns: turns a repeat, rounded up to whole batches of sessions.
        suite, split, size, grid, seed, noise: see `Sessions`; a repeat plays the same sessions again.
        repeats: how often to measure.
        minigrid_steps: steps of MiniGrid a repeat; 0 leaves it out.
        scaling_sessions: sessions side by side where growth is measured; 0 leaves it out.
        memory_sessions: sessions side by side whose memory is measured; 0 leaves it out.

    Returns:
        Medians over the repeats: `turns_per_second`; `turns_per_cpu_second`, by this process's processor
        time; `microseconds_per_turn` and its parts `reset_microseconds_per_turn` and
        `step_microseconds_per_turn`; `minigrid_steps_per_second` and `minigrid_ratio`, turns over steps (None
        where MiniGrid is not installed or left out). Then `turns_per_second_best`; `reward` (mean; 1.0 where
        the pictures are exact); `scaling`, microseconds a turn by turns a session and by size;
        `memory_1024_sessions_mb` (named for its default); settings.
    """
    sessions = Sessions(suite, split, size, grid, seed, noise)
    env = sessions.env(num_envs)
    rounds = -(-turns // (num_envs * env.engine.world.max_turns))
    answers = right_answers(sessions, rounds, num_envs)
    other = MiniGrid(seed) if minigrid_steps and find_spec("minigrid") is not None else None
    times, others = [], []
    for _ in range(repeats):
        times.append(timed(env, answers, seed))
        if other:
            others.append(other.steps_per_second(minigrid_steps))
    played = rounds * num_envs * env.engine.world.max_turns
    total, processor, reset, step = (
        median(getattr(time, part) for time in times) for part in ("total", "processor", "reset", "step")
    )
    ratios = [played / ours.total / theirs for ours, theirs in zip(times, others, strict=bool(others))]
    return {
        "turns_per_second": played / total,
        "turns_per_second_best": played / min(time.total for time in times),
        "turns_per_cpu_second": played / processor,
        "microseconds_per_turn": total / played * 1e6,
        "reset_microseconds_per_turn": reset / played * 1e6,
        "step_microseconds_per_turn": step / played * 1e6,
        "minigrid_steps_per_second": median(others) if others else None,
        "minigrid_ratio": median(ratios) if ratios else None,
        "scaling": _scaling(sessions, scaling_sessions, repeats) if scaling_sessions else None,
        "memory_1024_sessions_mb": sessions_mb(memory_sessions) if memory_sessions else None,
        "reward": times[0].reward,
        **{name: value for name, value in asdict(sessions).items() if name != "turns"},
        "turns": played,
        "num_envs": num_envs,
        "repeats": repeats,
    }


def env_table(figures: Mapping[str, Any]) -> str:
    """The figures as lines of a number and what it is."""
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


@dataclass(frozen=True, slots=True)
class Sessions:
    """Which sessions are played.

    Attributes:
        suite, split, size, grid, seed: as `gym.make` takes them.
        noise: standard deviation, in levels, of noise on the agent's pictures; 0 leaves them exact, which the
            parser reads faster than what a model draws.
        turns: of a session; None for as many as the suite's scripts have.
    """

    suite: str = "mixed"
    split: str = "test"
    size: int = 64
    grid: int = 4
    seed: int = 0
    noise: float = 0.0
    turns: int | None = None

    def world(self) -> StudioWorld:
        """The world that draws them."""
        world = StudioWorld(self.suite, self.size, self.grid)
        turns = world.suite.turns if self.turns is None else self.turns
        world.suite = world.suite.model_copy(update={"turns": turns, "max_turns": turns})
        world.max_turns = turns
        return world

    def env(self, num_envs: int) -> MICEEditVectorEnv:
        """The environment that plays them, with the user and the scorer that MICEEdit-v0 has by itself."""
        made: Any = gym.make("MICEEdit-v0", suite=self.suite, size=self.size, grid=self.grid).unwrapped
        user, scorer = made.engine.user, made.engine.scorer
        disabled = AutoresetMode.DISABLED
        return MICEEditVectorEnv(num_envs, self.world(), user, scorer, split=self.split, autoreset_mode=disabled)


def right_answers(sessions: Sessions, rounds: int, num_envs: int) -> list[list[Image]]:
    """Right pictures, uint8 [N, H, W, 3], for each turn of each round of N sessions."""
    world, rng = sessions.world(), np.random.default_rng(sessions.seed)
    found = []
    for number in range(rounds):
        shown = []
        for index in range(number * num_envs, (number + 1) * num_envs):
            spec = world.session(sessions.split, sessions.seed, index)
            scenes = [spec.scene]
            for turn in spec.turns:
                scenes.append(right_result(turn.edit, turn.rules, scenes[-1], scenes[:-1]))
            shown.append(scenes[1:])
        answers = []
        for scenes in zip(*shown, strict=True):
            pictures = np.stack([render(scene, world.size) for scene in scenes])
            if sessions.noise:
                noisy = pictures + sessions.noise * rng.standard_normal(pictures.shape, np.float32)
                pictures = np.rint(noisy).clip(0, 255).astype(np.uint8)
            answers.append(pictures)
        found.append(answers)
    return found


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds spent in reset and in each turn's step, the processor's seconds for all, the mean reward."""

    reset: float
    steps: tuple[float, ...]
    processor: float
    reward: float

    @property
    def step(self) -> float:
        """Seconds of all steps."""
        return sum(self.steps)

    @property
    def total(self) -> float:
        """Seconds of resets and steps."""
        return self.reset + self.step


def timed(env: VectorEnv[Any, Any, Any], answers: Sequence[Sequence[Image]], seed: int) -> Times:
    """Play the answers, round after round from the first session of the seed on."""
    opening = 0.0
    stepping = [0.0] * len(answers[0])
    rewards = []
    intents = ("",) * env.num_envs
    begun = process_time()
    for number, turns in enumerate(answers):
        start = perf_counter()
        env.reset(seed=None if number else seed)
        opening += perf_counter() - start
        for turn, pictures in enumerate(turns):
            start = perf_counter()
            _, reward, *_ = env.step({"image": pictures, "intent": intents})
            stepping[turn] += perf_counter() - start
            rewards.append(reward)
    return Times(opening, tuple(stepping), process_time() - begun, float(np.mean(rewards)))


def _scaling(sessions: Sessions, num_envs: int, repeats: int) -> dict[str, dict[str, float]]:
    """Microseconds a turn, opening included, by turns a session and by the side of a picture; medians."""

    def cost(which: Sessions) -> float:
        answers, env = right_answers(which, 1, num_envs), which.env(num_envs)
        timed(env, answers, which.seed)
        times = [timed(env, answers, which.seed).total for _ in range(repeats)]
        return median(times) / (num_envs * len(answers[0])) * 1e6

    return {
        "turns": {str(turns): cost(replace(sessions, turns=turns)) for turns in TURNS},
        "size": {str(size): cost(replace(sessions, size=size)) for size in SIZES},
    }


class MiniGrid:
    """One `RGBImgObsWrapper` environment of MiniGrid at 64x64 pixels, played at random.

    Args:
        seed: of the actions.
    """

    def __init__(self, seed: int = 0) -> None:
        # By name, because MiniGrid is no dependency.
        wrapper = import_module("minigrid.wrappers").RGBImgObsWrapper
        self.env = wrapper(gym.make("minigrid:MiniGrid-Empty-8x8-v0"), tile_size=8)
        self.rng = np.random.default_rng(seed)
        shape = self.env.reset(seed=seed)[0]["image"].shape
        if shape != (64, 64, 3):
            raise RuntimeError(f"MiniGrid shows {shape}, expected (64, 64, 3)")

    def steps_per_second(self, steps: int) -> float:
        """Steps a second, resets at the ends of episodes included."""
        actions = self.rng.integers(self.env.action_space.n, size=steps).tolist()
        start = perf_counter()
        for action in actions:
            _, _, terminated, truncated, _ = self.env.step(action)
            if terminated or truncated:
                self.env.reset()
        return steps / (perf_counter() - start)


def sessions_mb(count: int) -> float | None:
    """Megabytes (10^6 bytes) by which a fresh process grows; None where the system does not tell.

    Args:
        count: sessions side by side, each of three turns with its four pictures.
    """
    if not _STATUS.exists():
        return None
    program = f"from editenv.benchmarks.env import grown_mb; print(grown_mb({count}))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(run.stdout)


def grown_mb(count: int) -> float:
    """Play sessions side by side, leaving each picture as it is; this process's growth in megabytes."""

    def resident() -> int:
        return int(_STATUS.read_text().split()[1]) * _PAGE

    sessions = Sessions()
    # Tables and imports that are there once, however many sessions are played, are no part of it.
    small = sessions.env(8)
    small.reset(seed=1)
    for pictures in right_answers(sessions, 1, 8)[0]:
        small.step({"image": pictures, "intent": ("",) * 8})
    before = resident()
    env = sessions.env(count)
    seen, _ = env.reset(seed=0)
    most = resident()
    for _ in range(env.engine.world.max_turns):
        seen, *_ = env.step({"image": seen["image"], "intent": ("",) * count})
        most = max(most, resident())
    return (most - before) / 1e6
