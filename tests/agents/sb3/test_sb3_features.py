"""Stable-Baselines3 runs on MICEEditTools-v0, with its own features and with ours."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from editenv.agents.sb3.features import SessionFeatures

ID = "editenv:MICEEditTools-v0"


def several(count: int = 4, **settings: Any) -> VecEnv:
    return make_vec_env(lambda: gymnasium.make(ID, tokens=24, **settings), n_envs=count, seed=0)


def small(algorithm: type[PPO], env: VecEnv, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return algorithm("MultiInputPolicy", env, n_steps=32, batch_size=64, n_epochs=2, seed=0, **kwargs)


@pytest.mark.parametrize("settings", [{}, {"grid": 3, "size": 48, "render_mode": "rgb_array"}])
def test_check_env_has_nothing_to_say(settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ID, **settings), skip_render_check=False)


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO])
@pytest.mark.parametrize("features", [None, SessionFeatures])
def test_ppo_runs_and_moves_every_weight(algorithm: type[PPO], features: type[SessionFeatures] | None) -> None:
    """Fails where observations, actions or masks are not what the library takes, or a weight is unused."""
    chosen = {} if features is None else {"policy_kwargs": {"features_extractor_class": features}}
    model = small(algorithm, several(), **chosen)
    before = {name: weight.clone() for name, weight in model.policy.named_parameters()}
    model.learn(256)
    assert model.num_timesteps == 256
    still = [name for name, weight in model.policy.named_parameters() if torch.equal(weight, before[name])]
    assert still == []


def test_masks_reach_the_library() -> None:
    env = several(2)
    env.reset()
    masks = get_action_masks(env)
    single: Any = gymnasium.make(ID, tokens=24).unwrapped
    assert masks.shape == (2, sum(single.parts.sizes))
    assert not masks[:, single.parts.values[0].index("undo")].any()
    model = small(MaskablePPO, env)
    observations = env.reset()
    masks = get_action_masks(env)
    for _ in range(20):
        actions, _ = model.predict(observations, action_masks=masks)
        # The first part's choices stand first in a mask.
        assert masks[[0, 1], actions[:, 0]].all()
    assert actions.shape == (2, len(single.parts.sizes))


def test_features_know_words_by_name_and_cells_by_place() -> None:
    """Fails where padding counts, or where one cell's picture reaches another cell's features."""
    torch.manual_seed(0)
    model = small(PPO, several(), policy_kwargs={"features_extractor_class": SessionFeatures})
    reader = model.policy.features_extractor
    seen = {
        "image": torch.rand(1, 3, 64, 64), "instruction": torch.tensor([[5, 9, 7] + [0] * 21]).float(),
    }  # fmt: skip
    with torch.no_grad():
        first = reader(seen)
        padded = reader(seen | {"instruction": torch.cat([seen["instruction"], torch.zeros(1, 6)], 1)})
        other = seen["image"].clone()
        other[:, :, :16, 16:32] = 0.5
        moved = reader(seen | {"image": other})
    assert torch.allclose(first, padded, atol=1e-6)
    assert not torch.equal(first, reader(seen | {"instruction": seen["instruction"].flip(1)}))
    changed = np.flatnonzero((first != moved).numpy()[0, -16 * 32 :].reshape(16, 32).any(1))
    assert changed.tolist() == [1]
