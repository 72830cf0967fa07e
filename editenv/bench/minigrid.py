"""MiniGrid with pictures, to compare with: a well-known environment that also draws what agents see."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from time import perf_counter

import gymnasium as gym
import numpy as np

_ID = "minigrid:MiniGrid-Empty-8x8-v0"
_TILE = 8  # pixels a tile: 8 tiles make a picture of 64 x 64


def installed() -> bool:
    """Whether MiniGrid is here; it is no dependency."""
    return find_spec("minigrid") is not None


class MiniGrid:
    """One `RGBImgObsWrapper` environment at 64x64 pixels, played at random.

    Args:
        seed: of the actions.
    """

    def __init__(self, seed: int = 0) -> None:
        # By name, because the environment's core may not depend on it.
        wrapper = import_module("minigrid.wrappers").RGBImgObsWrapper
        self.env = wrapper(gym.make(_ID), tile_size=_TILE)
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
