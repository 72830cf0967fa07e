"""A policy of which everything is known: pictures drawn from a Gaussian, text from a bigram table."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

PAD, BOS, EOS = 0, 2, 3
FIRST_WORD = 6
"""Tokens below are special: padding, unknown, start, stop and the two marks of an image."""
VOCABULARY = 16
PULL, SPREAD = 0.4, 0.6
"""An edited picture is the source times PULL, plus noise of std SPREAD in each dimension."""


class KnownPolicy(nn.Module):
    """Its pictures are N(PULL source, SPREAD^2) in each dimension, its words a Markov chain.

    velocity(x, t) = E[noise - image | x] = k(t) (x - (1 - t) PULL source) - PULL source + gain x + shift
    with k(t) = (t - (1 - t) SPREAD^2) / (t^2 + (1 - t)^2 SPREAD^2); gain and shift start at zero

    The velocity is linear in x, so each step of a sampler is an affine Gaussian map whose moments, densities
    and gradients follow in closed form (`closed_form`).

    Args:
        dimensions: of the shift, the size of the last dimension of latents.
        seed: of the bigram table.
    """

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        super().__init__()
        self.gain_moe_gen = nn.Parameter(torch.zeros(()))
        self.shift_moe_gen = nn.Parameter(torch.zeros(dimensions))
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(VOCABULARY, VOCABULARY, generator=generator)
        scores[:, :FIRST_WORD] = -20.0
        scores[:, EOS] = 0.5
        self.bigram = nn.Parameter(scores)

    def velocity(self, x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        """D x / d t at latents x [B, ...] and times t [B], given clean latents of the current picture."""
        t = t.reshape(t.shape + (1,) * (x.ndim - t.ndim)).to(x.dtype)
        image = PULL * source
        slope = (t - (1 - t) * SPREAD**2) / (t.square() + ((1 - t) * SPREAD).square())
        return slope * (x - (1 - t) * image) - image + self.gain_moe_gen * x + self.shift_moe_gen

    def next_logits(self, ids: Tensor) -> Tensor:
        """Logits [..., VOCABULARY] of the token after each of these tokens, whatever came before."""
        return self.bigram[ids]

    def moved(self, gain: float = 0.05, shift: float = 0.1, text: float = 0.1) -> KnownPolicy:
        """A copy some way off, for distances and for ratios other than 1."""
        other = copy.deepcopy(self)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            other.gain_moe_gen.add_(gain)
            other.shift_moe_gen.add_(shift)
            other.bigram.add_(text * torch.randn(self.bigram.shape, generator=generator))
        return other
