"""Stable-Baselines3 runs on MICEEditTools-v0, with its own features and with ours."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
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


def features() -> Any:
    model = small(PPO, several(), policy_kwargs={"features_extractor_class": SessionFeatures})
    return model.policy.features_extractor


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
    """Fails where padding counts, where the order of words does not, or where a cell's place is mistaken."""
    torch.manual_seed(0)
    reader = small(
        PPO, several(), policy_kwargs={"features_extractor_class": SessionFeatures}
    ).policy.features_extractor
    words = [5, 9, 7]
    seen = {
        "image": torch.rand(1, 3, 64, 64),
        "transcript": torch.tensor([words + [0] * 21 + [4, 8] + [0] * 46]).float(),
    }
    with torch.no_grad():
        first = reader(seen)
        # A sentence more that nobody has said yet, as in suites of more turns.
        padded = reader(seen | {"transcript": torch.cat([seen["transcript"], torch.zeros(1, 24)], 1)})
        turned = torch.tensor([words[::-1] + [0] * 21 + [4, 8] + [0] * 46]).float()
        other = seen["image"].clone()
        other[:, :, :16, 16:32] = 0.5
        shown, moved = reader.see(seen["image"]), reader.see(other)
    assert torch.allclose(first, padded, atol=1e-5)
    assert not torch.allclose(first, reader(seen | {"transcript": turned}), atol=1e-3)
    assert torch.nonzero((shown != moved).any(2)[0]).flatten().tolist() == [1]
    assert first.shape == (1, (10 + 16) * 16)


def test_the_age_of_a_sentence_counts_back_from_the_last() -> None:
    torch.manual_seed(0)
    reader = small(
        PPO, several(), policy_kwargs={"features_extractor_class": SessionFeatures}
    ).policy.features_extractor
    alone, later = torch.zeros(1, 72, dtype=torch.long), torch.zeros(1, 72, dtype=torch.long)
    alone[0, :2], later[0, :1], later[0, 24:26] = torch.tensor([3, 4]), 6, torch.tensor([3, 4])
    one, two = reader.read(alone)[0], reader.read(later)[0]
    assert torch.equal(one[0, :2], two[0, 1:]) and reader.read(later)[1].tolist() == [[True] * 3]
