"""A random agent plays sessions of the editing-tools environment: the smallest Gymnasium loop.

python examples/random_agent.py [SESSIONS]
"""

import sys

import gymnasium as gym
import numpy as np


def main(sessions: int = 20) -> float:
    """Mean reward of a turn over whole sessions of `mixed`."""
    env = gym.make("editenv:MICEEditTools-v0", suite="mixed", split="test")
    env.action_space.seed(0)
    rewards = []
    env.reset(seed=0)
    for _ in range(sessions):
        over = False
        while not over:
            # action_masks says which values are wrong in any operation; sampling heeds it, part by part.
            masks = env.unwrapped.action_masks().astype(np.int8)
            parts = tuple(np.split(masks, np.cumsum(env.action_space.nvec)[:-1]))
            action = env.action_space.sample(mask=parts)
            _, reward, terminated, truncated, _ = env.step(action)
            rewards.append(float(reward))
            over = terminated or truncated
        env.reset()
    return float(np.mean(rewards))


if __name__ == "__main__":
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"mean reward of a turn: {main(sessions):.3f} over {sessions} sessions")
