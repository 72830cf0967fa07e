"""Supervised training: the autoencoder and the base checkpoints that are shipped."""
