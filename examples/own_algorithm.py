"""REINFORCE as a Gymnasium loop, trained and scored in some seconds by `python examples/own_algorithm.py`."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from safetensors.torch import save_model
from torch import nn


def main(weights: str = "own_algorithm.safetensors", updates: int = 150, tests: int = 16, seed: int = 0) -> float:
    """Trains and writes weights; the share of instructions followed in the first 32 * tests test sessions."""
    torch.manual_seed(seed)
    settings = {"suite": str(Path(__file__).with_name("backgrounds.yaml")), "tokens": 16}
    make = ("editenv:MICEEditTools-v0", 32, "vector_entry_point")
    envs, tested, followed = gym.make_vec(*make, **settings), gym.make_vec(*make, split="test", **settings), []
    words, names = int(envs.single_observation_space["instruction"].high.max()) + 1, envs.parts.values[-2]
    policy = nn.Sequential(nn.EmbeddingBag(words, 64, padding_idx=0), nn.ReLU(), nn.Linear(64, len(names)))
    operations = np.array([envs.parts.encode(task="background_change", background=name) for name in names])
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    observations, _ = envs.reset(seed=seed)
    for _ in range(updates):
        choices = torch.distributions.Categorical(logits=policy(torch.as_tensor(observations["instruction"])))
        observations, rewards, *_ = envs.step(operations[chosen := choices.sample()])
        optimizer.zero_grad()
        (torch.as_tensor(rewards.mean() - rewards) * choices.log_prob(chosen)).mean().backward()
        optimizer.step()
    observations, _ = tested.reset(seed=0)
    for _ in range(tests):
        chosen = policy(torch.as_tensor(observations["instruction"])).argmax(1)
        observations, *_, infos = tested.step(operations[chosen])
        followed += [scores.instruction_following for scores in infos["scores"]]
    save_model(policy, weights)
    return float(np.mean(followed))


if __name__ == "__main__":
    print(f"followed: {main():.3f}")
