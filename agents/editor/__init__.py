"""The unified model as an editing agent: prompts, checkpoints, noise and the policy that plays sessions."""
