"""How many turns a second the environment plays, scores included."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from editenv.types import Picture
from editenv.worlds.studio.constraints import right_result
from editenv.worlds.studio.render import render
from editenv.worlds.studio.world import StudioWorld


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds spent in reset and in step, the processor's seconds for both, and the mean reward."""

    reset: float
    step: float
    processor: float
    reward: float

    @property
    def total(self) -> float:
        return self.reset + self.step


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
    repeats: int = 3,
) -> dict[str, Any]:
    """Plays whole sessions of `MICEEdit-v0` with an agent that is always right, and times reset and step.

    The agent's pictures are made before the clock starts: what is timed is the environment alone (drawing
    sessions and source pictures, exact scores, observations, infos). numpy's products take as many threads
    as it is set to use; OMP_NUM_THREADS=1 makes it one core.

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

    Returns:
        `turns_per_second` (best repeat) and `turns_per_second_median`; `turns_per_cpu_second` (best), by
        this process's processor time, which tells what one core does while others want it too;
        `microseconds_per_turn` (best repeat) and its parts `reset_microseconds_per_turn` and
        `step_microseconds_per_turn`; `reward` (mean; 1.0 where the pictures are exact); and the settings.
    """
    world = StudioWorld(suite, size, grid)
    rounds = -(-turns // (num_envs * world.max_turns))
    answers = _answers(world, split, seed, rounds, num_envs, noise)
    env = gym.make_vec(
        "MICEEdit-v0",
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        suite=suite,
        split=split,
        size=size,
        grid=grid,
        autoreset_mode="Disabled",
    )
    times = [_timed(env, answers, seed) for _ in range(repeats)]
    env.close()
    played = rounds * num_envs * world.max_turns
    best = min(times, key=lambda time: time.total)
    return {
        "turns_per_second": played / best.total,
        "turns_per_second_median": played / median(time.total for time in times),
        "turns_per_cpu_second": played / min(time.processor for time in times),
        "microseconds_per_turn": best.total / played * 1e6,
        "reset_microseconds_per_turn": best.reset / played * 1e6,
        "step_microseconds_per_turn": best.step / played * 1e6,
        "reward": best.reward,
        "turns": played,
        "num_envs": num_envs,
        "suite": suite,
        "split": split,
        "size": size,
        "grid": grid,
        "seed": seed,
        "noise": noise,
        "repeats": repeats,
    }


def _answers(
    world: StudioWorld, split: str, seed: int, rounds: int, num_envs: int, noise: float
) -> list[list[Picture]]:
    """Right pictures, uint8 [N, H, W, 3], for each round and turn."""
    rng = np.random.default_rng(seed)
    return [
        _round(world, split, seed, range(number * num_envs, (number + 1) * num_envs), noise, rng)
        for number in range(rounds)
    ]


def _round(
    world: StudioWorld, split: str, seed: int, sessions: range, noise: float, rng: np.random.Generator
) -> list[Picture]:
    specs = [world.session(split, seed, index) for index in sessions]
    scenes = [spec.scene for spec in specs]
    answers = []
    for turn in range(world.max_turns):
        scripts = [spec.turns[turn] for spec in specs]
        scenes = [right_result(t.edit, t.rules, scene) for t, scene in zip(scripts, scenes, strict=True)]
        pictures = np.stack([render(scene, world.size) for scene in scenes])
        noisy = pictures + noise * rng.standard_normal(pictures.shape, np.float32) if noise else pictures
        answers.append(np.rint(noisy).clip(0, 255).astype(np.uint8))
    return answers


def _timed(env: VectorEnv, answers: list[list[Picture]], seed: int) -> _Times:
    opening = stepping = 0.0
    rewards = []
    intents = ("",) * env.num_envs
    begun = process_time()
    for number, turns in enumerate(answers):
        start = perf_counter()
        env.reset(seed=None if number else seed)
        opening += perf_counter() - start
        for pictures in turns:
            start = perf_counter()
            _, reward, *_ = env.step({"image": pictures, "intent": intents})
            stepping += perf_counter() - start
            rewards.append(reward)
    return _Times(opening, stepping, process_time() - begun, float(np.mean(rewards)))
