"""Supervised training: the autoencoder and the two base checkpoints."""
