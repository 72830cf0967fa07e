"""Plays whole sessions with an agent that is always right, and times the environment alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter, process_time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rules import right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.world import StudioWorld


@dataclass(frozen=True, slots=True)
class Sessions:
    """Which sessions are played.

    Attributes:
        suite, split, size, grid, seed: as `gym.make` takes them.
        noise: standard deviation, in levels, of noise on the agent's pictures; 0 leaves them exact.
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
        world.suite = replace(world.suite, turns=turns, max_turns=turns)
        world.max_turns = turns
        return world

    def env(self, num_envs: int) -> MICEEditVectorEnv:
        """The environment that plays them: the user and the scorer that MICEEdit-v0 has by itself."""
        made: Any = gym.make("MICEEdit-v0", suite=self.suite, size=self.size, grid=self.grid).unwrapped
        engine = made.engine
        return MICEEditVectorEnv(
            num_envs,
            self.world(),
            engine.user,
            engine.scorer,
            split=self.split,
            autoreset_mode=AutoresetMode.DISABLED,
        )


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


def right_answers(sessions: Sessions, rounds: int, num_envs: int) -> list[list[Image]]:
    """Right pictures, uint8 [N, H, W, 3], for each round and turn.

    Args:
        sessions: which.
        rounds: how often N sessions are played.
        num_envs: N.
    """
    world, rng = sessions.world(), np.random.default_rng(sessions.seed)
    return [
        _round(world, sessions, range(number * num_envs, (number + 1) * num_envs), rng)
        for number in range(rounds)
    ]


def timed(env: VectorEnv[Any, Any, Any], answers: Sequence[Sequence[Image]], seed: int) -> Times:
    """Plays the answers, round after round from the first session of the seed on."""
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


def _round(world: StudioWorld, sessions: Sessions, numbers: range, rng: np.random.Generator) -> list[Image]:
    specs = [world.session(sessions.split, sessions.seed, index) for index in numbers]
    shown = [_right_scenes(spec) for spec in specs]
    answers = []
    for scenes in zip(*shown, strict=True):
        pictures = np.stack([render(scene, world.size) for scene in scenes])
        if sessions.noise:
            noisy = pictures + sessions.noise * rng.standard_normal(pictures.shape, np.float32)
            pictures = np.rint(noisy).clip(0, 255).astype(np.uint8)
        answers.append(pictures)
    return answers


def _right_scenes(spec: StudioSpec) -> list[Scene]:
    """What each turn's picture should show."""
    scenes = [spec.scene]
    for turn in spec.turns:
        scenes.append(right_result(turn.edit, turn.rules, scenes[-1], scenes[:-1]))
    return scenes[1:]
