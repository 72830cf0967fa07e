"""Agents of Stable-Baselines3 on `MICEEditTools-v0`: environments, features, cloning, training, playing."""
