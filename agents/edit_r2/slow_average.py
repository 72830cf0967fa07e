"""The policy that plays for DiffusionNFT: a slow average of the one that learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FILE = "slow_average.safetensors"
"""In a checkpoint's folder: the average's weights, and under FOLLOWED the iteration that they are of."""
FOLLOWED = "followed_in_iteration"


def slow_decay(iteration: int, rise: float, most: float) -> float:
    """How much of the average stays when it follows at an iteration's start: min(rise * iteration, most).

    DiffusionNFT (arXiv 2509.16117) lets it rise, since early steps have to reach the sampler soon
    and late ones may not shake it; its code's usual values are rise 0.001 and most 0.5.
    """
    return min(rise * iteration, most)


class SlowAverage:
    """Average of a model's trainable weights over iterations, which can stand in for them.

    Args:
        model: whose weights are followed; the average begins where they are.
        rise: see slow_decay.
        most: see slow_decay.
    """

    def __init__(self, model: nn.Module, rise: float, most: float) -> None:
        self.rise, self.most, self.iteration = rise, most, 0
        self.learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self.learning.items()}

    @torch.no_grad()
    def follow(self, iteration: int) -> None:
        """Once an iteration, however often it is asked: decay * average + (1 - decay) * weights."""
        if iteration <= self.iteration:
            return
        decay, self.iteration = slow_decay(iteration, self.rise, self.most), iteration
        for name, value in self.learning.items():
            self.average[name].lerp_(value, 1.0 - decay)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Inside, the model has the average's weights."""
        kept = {name: value.detach().clone() for name, value in self.learning.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(kept)

    def save(self, folder: Path) -> None:
        """Writes the average into a checkpoint's folder."""
        tensors = {name: value.cpu().contiguous() for name, value in self.average.items()}
        save_file(tensors | {FOLLOWED: torch.tensor(self.iteration)}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Takes the average from a checkpoint's folder.

        Raises:
            FileNotFoundError: there is none.
        """
        kept = load_file(folder / FILE)
        self.iteration = int(kept.pop(FOLLOWED))
        for name, value in self.average.items():
            value.copy_(kept[name])

    @torch.no_grad()
    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        for name, value in self.learning.items():
            value.copy_(weights[name])
