"""Random numbers as a function of names (seed, session, turn), never of the batch or of earlier draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import PCG64, Generator, SeedSequence
from torch import Tensor

Entropy = tuple[int, ...]


def normals(entropies: Sequence[Entropy], shape: tuple[int, ...]) -> Tensor:
    """Normal numbers, float32 [B, *shape]; each row a function of its own entropy."""
    return torch.from_numpy(np.stack([_generator(e).standard_normal(shape, np.float32) for e in entropies]))


def uniforms(entropies: Sequence[Entropy], count: int) -> Tensor:
    """Numbers in [0, 1), float64 [B, count]; each row a function of its own entropy."""
    return torch.from_numpy(np.stack([_generator(e).random(count) for e in entropies]))


def _generator(entropy: Entropy) -> Generator:
    return Generator(PCG64(SeedSequence(entropy)))
