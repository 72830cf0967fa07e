"""Speed and memory of the environment (`env`) and of rollouts and training (`rollout`): `editenv bench`."""
