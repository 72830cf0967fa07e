"""A policy of which everything is known, and the sessions it plays: flat pictures, a judge of brightness."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from editenv.agents.flow import Velocity
from editenv.agents.policy import GeneratedIntents, JointPolicy, PolicyOutput, Turn
from editenv.agents.settings import GenerationSettings
from editenv.protocols import Observations
from editenv.types import SPLITS, Image, Scores, TurnResult, UserMessage

WORDS = ("make", "it", "red", "blue", "dark", "light", "now", "please", "then", "again")
SIDE = 4  # pixels
_TURNS = 3

PAD, BOS, EOS = 0, 2, 3
FIRST_WORD = 6
"""Tokens below are special."""
VOCABULARY = FIRST_WORD + len(WORDS)
CHANNELS = 3
PULL, SPREAD = 0.4, 0.6
"""An edited image is the source times PULL, plus noise of std SPREAD in each dimension."""
_HALF = 127.5


class KnownPolicy(JointPolicy):
    """Its images are N(PULL source, SPREAD^2) in each dimension, its words a Markov chain from BOS.

    velocity(x, t) = E[noise - image | x] = k(t) (x - (1 - t) PULL source) - PULL source + gain x + shift
    with k(t) = (t - (1 - t) SPREAD^2) / (t^2 + (1 - t)^2 SPREAD^2); gain and shift start at zero

    The velocity is linear in x, so each step of a sampler is an affine Gaussian map whose moments, densities
    and gradients follow in closed form (closed_form.py). Latents are pixels from -1 to 1, one token each.

    Args:
        dimensions: of the shift, the size of the last dimension of latents.
        seed: of the bigram table.
    """

    def __init__(self, dimensions: int = CHANNELS, seed: int = 0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))
        self.shift = nn.Parameter(torch.zeros(dimensions))
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(VOCABULARY, VOCABULARY, generator=generator)
        scores[:, :FIRST_WORD] = -20.0
        scores[:, EOS] = 0.5
        self.bigram = nn.Parameter(scores)

    def flow(self, x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        """D x / d t at latents x [B, ...] and times t [B], given clean latents of the current image."""
        t = t.reshape(t.shape + (1,) * (x.ndim - t.ndim)).to(x.dtype)
        image = PULL * source
        slope = (t - (1 - t) * SPREAD**2) / (t.square() + ((1 - t) * SPREAD).square())
        return slope * (x - (1 - t) * image) - image + self.gain * x + self.shift

    def next_logits(self, ids: Tensor) -> Tensor:
        """Logits [..., VOCABULARY] of the token after each of these tokens, whatever came before."""
        return self.bigram[ids]

    def moved(self, gain: float = 0.05, shift: float = 0.1, text: float = 0.1) -> KnownPolicy:
        """A copy some way off, for distances and for ratios other than 1."""
        other = copy.deepcopy(self)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            other.gain.add_(gain)
            other.shift.add_(shift)
            other.bigram.add_(text * torch.randn(self.bigram.shape, generator=generator))
        return other

    # As a JointPolicy

    def observe(self, observations: Observations) -> Turn:
        return {"source": self.encode_images(observations["image"])}

    def encode_intents(self, intents: Sequence[str]) -> Turn:
        return {}

    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Pixels from -1 to 1, [B, SIDE * SIDE, 3]."""
        return torch.from_numpy(np.stack(list(images))).flatten(1, 2).float() / _HALF - 1

    def decode_images(self, latents: Tensor) -> list[Image]:
        pixels = ((latents + 1) * _HALF).round().clamp(0, 255).to(torch.uint8)
        return list(pixels.unflatten(1, (SIDE, SIDE)).numpy())

    def generate_intents(
        self, context: Turn, settings: GenerationSettings, uniforms: Tensor | None
    ) -> GeneratedIntents:
        """Token by token, each the first whose cumulative probability exceeds its number."""
        assert uniforms is not None
        shape = len(context["source"]), settings.max_intent_tokens
        ids, mask = torch.full(shape, PAD), torch.zeros(shape, dtype=torch.bool)
        log_prob, before = torch.zeros(shape), torch.full(shape[:1], BOS)
        going = torch.ones(shape[0], dtype=torch.bool)
        for step in range(shape[1]):
            chances = torch.log_softmax(self.next_logits(before) / settings.temperature, -1)
            cumulative = chances.double().exp().cumsum(-1)
            wanted = uniforms[:, step, None] * cumulative[:, -1:]
            token = torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp(max=VOCABULARY - 1)
            ids[going, step], mask[going, step] = token[going], True
            log_prob[going, step] = chances.gather(1, token[:, None])[going, 0]
            before, going = token, going & (token != EOS)
        texts: list[str | None] = []
        for row, there in zip(ids, mask, strict=True):
            tokens = row[there].tolist()
            words = [WORDS[token - FIRST_WORD] for token in tokens if token >= FIRST_WORD]
            texts.append(" ".join(words) if words and tokens[-1] == EOS else None)
        longest = int(mask.any(0).sum())
        return GeneratedIntents(ids[:, :longest], mask[:, :longest], log_prob[:, :longest], texts)

    def velocity(self, context: Turn) -> Velocity:
        return lambda x, t: self.flow(x, t, context["source"])

    def forward(
        self,
        turn: Turn,
        settings: GenerationSettings,
        *,
        text: bool = True,
        x: Tensor | None = None,
        t: Tensor | None = None,
        context_gradient: bool = False,
        guided: bool = True,
    ) -> PolicyOutput:
        log_prob: Any = None
        if text:
            ids = turn["intent_ids"]
            before = torch.cat([torch.full_like(ids[:, :1], BOS), ids[:, :-1]], 1)
            chances = torch.log_softmax(self.next_logits(before) / settings.temperature, -1)
            log_prob = chances.gather(-1, ids[..., None])[..., 0].masked_fill(~turn["intent_mask"], 0.0)
        if x is None or t is None:
            return PolicyOutput(log_prob)
        velocity = self.flow(x, t, turn["source"][:, None])
        return PolicyOutput(log_prob, velocity, velocity)

    def parameter_space(self, name: str) -> str:
        return "text" if "bigram" in name else "flow"


@dataclass(frozen=True)
class FlatSpec:
    """A session whose source picture has one grey value, 0 to 255, and that asks for one word a turn."""

    start: int
    wanted: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.start}-{'-'.join(self.wanted)}"

    @property
    def turn_count(self) -> int:
        return len(self.wanted)

    def message(self, turn: int) -> UserMessage:
        return UserMessage(f"make it {self.wanted[turn]}", self.wanted[turn])

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"wanted": list(self.wanted)}


class FlatWorld:
    """Sessions of three turns on pictures of one grey value, SIDE by SIDE pixels."""

    name = "flat"
    version = "1"
    image_shape = (SIDE, SIDE, 3)
    max_turns = _TURNS

    def __init__(self, **_: Any) -> None:
        """There is one suite and one size, whatever is asked for."""

    def session(self, split: str, seed: int, index: int) -> FlatSpec:
        rng = np.random.default_rng(np.random.SeedSequence([SPLITS.index(split), seed, index]))
        return FlatSpec(int(rng.integers(256)), tuple(str(word) for word in rng.choice(WORDS[2:6], _TURNS)))

    def picture(self, spec: FlatSpec) -> Image:
        return np.full(self.image_shape, spec.start, dtype=np.uint8)

    def spec_from_json(self, data: Mapping[str, Any]) -> FlatSpec:
        return FlatSpec(data["start"], tuple(data["wanted"]))


class BrightnessJudge:
    """Pays for bright pictures; about a quarter of all turns fail their instruction, by a sum of pixels."""

    version = "brightness 1"

    def __init__(self, *_: Any) -> None:
        """Pays in one way, whatever the weights."""

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        return [
            Scores(float(int(turn.after.sum()) % 4 > 0), None, 0.0, reward=float(turn.after.mean() / 255))
            for turn in turns
        ]
