"""An algorithm of one's own as a plain loop: REINFORCE with a learnt baseline on the vector environment.

    python examples/own_algorithm.py [UPDATES]

The policy sees the instruction's word ids alone and chooses the background's colour, in one-turn sessions
about backgrounds; a random choice is right in about one of nine tries.
"""

import sys
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from torch import nn

SUITE = "turns: 1\nobjects: [2, 5]\nreference: {share: 0.0}\ntasks: {background_change: 1}\n"
ENVS = 32


def main(updates: int = 60, seed: int = 0) -> list[float]:
    """Share of followed instructions in each update."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "backgrounds.yaml")
        suite.write_text(SUITE)
        make = lambda: gym.make("editenv:MICEEditTools-v0", suite=str(suite), tokens=16)  # noqa: E731
        envs = gym.vector.SyncVectorEnv([make] * ENVS, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    parts = envs.envs[0].unwrapped.parts
    column = parts.names.index("background")
    fixed = np.array(parts.encode(task="background_change"))
    words = int(envs.single_observation_space["instruction"].high.max()) + 1
    policy = nn.Sequential(nn.EmbeddingBag(words, 64, padding_idx=0), nn.ReLU(), nn.Linear(64, parts.sizes[column]))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    followed, baseline = [], 0.0
    observations, _ = envs.reset(seed=seed)
    for _ in range(updates):
        logits = policy(torch.as_tensor(observations["instruction"]).long())
        choice = torch.distributions.Categorical(logits=logits)
        background = choice.sample()
        actions = np.tile(fixed, (ENVS, 1))
        actions[:, column] = background.numpy()
        observations, rewards, *_ = envs.step(actions)
        reward = torch.as_tensor(rewards, dtype=torch.float32)
        # REINFORCE: ascend (R - b) log pi(a); the baseline b is a running mean of rewards.
        loss = -((reward - baseline) * choice.log_prob(background)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        baseline += 0.1 * (float(reward.mean()) - baseline)
        followed.append(float((reward > 0.9).float().mean()))
    envs.close()
    return followed


if __name__ == "__main__":
    shares = main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    first, last = np.mean(shares[:10]), np.mean(shares[-10:])
    print(f"followed: {first:.2f} in the first 10 updates, {last:.2f} in the last 10")
