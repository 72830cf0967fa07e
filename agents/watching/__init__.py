"""What a training is watched by: held-out scores, the best weights, a warning, records and trackers."""
