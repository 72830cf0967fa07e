"""Exponential moving average of the weights: the policy that plays rollouts for DiffusionNFT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FILE = "ema.safetensors"
"""In a checkpoint's folder: the averages, and under UPDATED the iteration that they are of."""
UPDATED = "updated_in_iteration"


def ema_decay(iteration: int, rise: float, most: float) -> float:
    """How much of the average stays when it is updated at an iteration's start: min(rise * iteration, most).

    DiffusionNFT (arXiv 2509.16117) lets it rise, since early steps have to reach the sampler soon
    and late ones may not shake it; its code's usual values are rise 0.001 and most 0.5.
    """
    return min(rise * iteration, most)


class EMA:
    """Average of a model's trainable weights over iterations, which can stand in for them.

    Args:
        model: whose weights are followed; the average begins where they are.
        rise, most: see ema_decay.
    """

    def __init__(self, model: nn.Module, rise: float, most: float) -> None:
        self.rise, self.most, self.iteration = rise, most, 0
        self.trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self.trained.items()}

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Once an iteration, however often it is called: decay * average + (1 - decay) * weights."""
        if iteration <= self.iteration:
            return
        decay, self.iteration = ema_decay(iteration, self.rise, self.most), iteration
        for name, value in self.trained.items():
            self.average[name].lerp_(value, 1.0 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the model has the average's weights."""
        kept = {name: value.detach().clone() for name, value in self.trained.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(kept)

    def save(self, folder: Path) -> None:
        """Writes the average into a checkpoint's folder."""
        tensors = {name: value.cpu().contiguous() for name, value in self.average.items()}
        save_file(tensors | {UPDATED: torch.tensor(self.iteration)}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Takes the average from a checkpoint's folder.

        Raises:
            FileNotFoundError: there is none.
        """
        kept = load_file(folder / FILE)
        self.iteration = int(kept.pop(UPDATED))
        for name, value in self.average.items():
            value.copy_(kept[name])

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, value in self.trained.items():
            value.copy_(weights[name])
