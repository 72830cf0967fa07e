"""PPO learns to change backgrounds as told: `python -m editenv.agents.baselines.learn_tools [STEPS]`.

One-turn sessions of one task, in which a random operation is right in about one of fifty tries. Larger tasks
need more than a minute: of random operations one in a hundred thousand adds the right object at its place.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from editenv.agents.baselines.sb3 import SessionFeatures

SUITE = "turns: 1\nobjects: [2, 5]\nreference: {share: 0.0}\ntasks: {background_change: 1}\n"
STEPS = 25_600
_SHOWN = 3_200


class _Followed(BaseCallback):
    """Keeps whether each instruction was followed, and prints the share of the last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.followed: list[float] = []

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        self.followed += [info["scores"].instruction_following for info in infos]
        if self.num_timesteps % _SHOWN == 0:
            last = self.followed[-_SHOWN:]
            print(f"{self.num_timesteps} turns: {sum(last) / len(last):.3f} followed", flush=True)
        return True


def learn(steps: int = STEPS, seed: int = 0) -> list[float]:
    """Trains MaskablePPO from nothing; 1.0 or 0.0 for each turn played, in order."""
    with TemporaryDirectory() as folder:
        suite = Path(folder, "backgrounds.yaml")
        suite.write_text(SUITE)
        envs = make_vec_env(
            lambda: gym.make("editenv:MICEEditTools-v0", suite=str(suite), tokens=16), n_envs=16, seed=seed
        )
    model = MaskablePPO(
        "MultiInputPolicy",
        envs,
        n_steps=64,
        batch_size=256,
        n_epochs=4,
        learning_rate=1e-3,
        ent_coef=0.005,
        gamma=0.0,
        policy_kwargs={"features_extractor_class": SessionFeatures, "net_arch": [64]},
        seed=seed,
        device="cpu",
    )
    watch = _Followed()
    model.learn(steps, callback=watch)
    return watch.followed


if __name__ == "__main__":
    torch.set_num_threads(1)
    learn(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)
