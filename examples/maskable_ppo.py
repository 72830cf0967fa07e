"""Stable-Baselines3's MaskablePPO learns to change backgrounds as told, from nothing, in about a minute of one core.

    python examples/maskable_ppo.py [STEPS]

One-turn sessions of one task, in which a random operation is right in about one of fifty tries.
"""

import sys
import tempfile
from pathlib import Path

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from editenv.agents.sb3.features import SessionFeatures
from editenv.agents.sb3.vec_env import ToolsVecEnv
from editenv.build import make_tools_vector_env

SUITE = "turns: 1\nobjects: [2, 5]\nreference: {share: 0.0}\ntasks: {background_change: 1}\n"
SHOWN = 3_200


class Followed(BaseCallback):
    """Keeps whether each instruction was followed, and prints the share among the last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.followed: list[float] = []

    def _on_step(self) -> bool:
        self.followed += [info["scores"].instruction_following for info in self.locals["infos"]]
        if self.num_timesteps % SHOWN == 0:
            last = self.followed[-SHOWN:]
            print(f"{self.num_timesteps} turns: {sum(last) / len(last):.3f} followed", flush=True)
        return True


def main(steps: int = 12_800, seed: int = 0) -> list[float]:
    """Trains from nothing; 1.0 or 0.0 for each turn played, in order."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "backgrounds.yaml")
        suite.write_text(SUITE)
        envs = ToolsVecEnv(make_tools_vector_env(num_envs=16, suite=str(suite), tokens=16))
    model = MaskablePPO(
        "MultiInputPolicy",
        envs,
        n_steps=64,
        batch_size=256,
        n_epochs=4,
        learning_rate=1e-3,
        ent_coef=0.005,
        gamma=0.0,
        # Without it SB3 takes word ids for magnitudes and learns little from them.
        policy_kwargs={"features_extractor_class": SessionFeatures, "net_arch": [], "ortho_init": False},
        seed=seed,
        device="cpu",
    )
    followed = Followed()
    model.learn(steps, callback=followed)
    return followed.followed


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12_800)
