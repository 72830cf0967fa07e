"""Classifier-free guidance by text and by images, as BAGEL combines them (arXiv 2505.14683).

Three velocities are needed: under the full context, under the context before the last text was read, and
under the context without images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from editenv.agents.unified.context import Block, Context, TextBlock

if TYPE_CHECKING:
    from editenv.agents.unified.model import UnifiedModel


@dataclass(frozen=True)
class Guidance:
    """How velocities are combined, see `guided_velocity`; a scale of 1 switches one off."""

    text: float = 1.0  # how far from the velocity without the last text
    image: float = 1.0  # how far from the velocity without images
    renorm: Literal["text_channel", "global", "channel"] = "text_channel"  # whose norms are limited
    renorm_min: float = 0.0  # smallest factor that a norm is scaled by
    interval: tuple[float, float] = (0.0, 1.0)  # active at times t with low < t <= high

    def __post_init__(self) -> None:
        if self.renorm not in ("text_channel", "global", "channel"):
            raise ValueError(f"renorm is {self.renorm!r}, expected one of text_channel, global, channel")
        if not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise ValueError(f"interval is {self.interval}, expected 0 <= low < high <= 1")


class GuidanceContexts(NamedTuple):
    """One context as it is and with parts dropped; None where the guidance needs no such context."""

    full: Context  # all blocks
    text_dropped: Context | None  # without the last block, the text that generation follows
    image_dropped: Context | None  # the text blocks alone

    def repeat(self, times: int) -> GuidanceContexts:
        """Every row of every context `times` times in a row."""
        return GuidanceContexts(*(context and context.repeat(times) for context in self))  # type: ignore[arg-type]


def build_guidance_contexts(
    model: UnifiedModel, blocks: Sequence[Block], batch_size: int, guidance: Guidance
) -> GuidanceContexts:
    """The contexts that a guidance needs; guidance by text needs blocks that end with text."""
    if guidance.text != 1 and not (blocks and isinstance(blocks[-1], TextBlock)):
        raise ValueError("text guidance needs a context that ends with the text to be dropped")
    full = model.build_context(blocks[:-1], batch_size)
    text_dropped = None if guidance.text == 1 else full.copy()
    for block in blocks[-1:]:
        model.append(full, block)
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    image_dropped = None if guidance.image == 1 else model.build_context(texts, batch_size)
    return GuidanceContexts(full, text_dropped, image_dropped)


def predict_velocity(
    model: UnifiedModel,
    contexts: GuidanceContexts,
    x: Tensor,
    t: Tensor,
    grid: tuple[int, int] | None,
    source: Tensor | None,
    guidance: Guidance,
    combine: Callable[[Tensor, Tensor, Tensor, Guidance], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The guided and the unguided velocity, [B, N, C] each; rollout and training both call this.

    With `source_channel` the current image also enters through its channel, which no context drops. Arguments
    as `UnifiedModel.velocity`; `combine` is `guided_velocity` unless another rule is given.
    """
    full = model.velocity(contexts.full, x, t, grid, source)
    active = (t > guidance.interval[0]) & (t <= guidance.interval[1])
    if guidance.text == guidance.image == 1 or not bool(active.any()):
        return full, full
    text, image = (
        full if context is None else model.velocity(context, x, t, grid, source)
        for context in (contexts.text_dropped, contexts.image_dropped)
    )
    guided = (combine or guided_velocity)(full, text, image, guidance)
    return torch.where(active[:, None, None], guided, full), full


def guided_velocity(full: Tensor, text_dropped: Tensor, image_dropped: Tensor, guidance: Guidance) -> Tensor:
    """Extrapolate from the velocity without the text, then from the one without the images; all [B, N, C].

    g = text_dropped + text (full - text_dropped),  m = image_dropped + image (g - image_dropped)

    A norm that guidance has enlarged is scaled back by clip(|full| / |.|, renorm_min, 1): "text_channel" does
    that to each token of g before m is formed, "channel" to each token of m, "global" to each row of m.
    The two scales are independent: a scale of 1 switches off its own guidance and nothing else.
    """

    def limited(guided: Tensor) -> Tensor:
        dims = (-2, -1) if guidance.renorm == "global" else -1
        ratio = full.norm(dim=dims, keepdim=True) / (guided.norm(dim=dims, keepdim=True) + 1e-8)
        return guided * ratio.clamp(guidance.renorm_min, 1.0)

    guided = text_dropped + guidance.text * (full - text_dropped)
    if guidance.renorm == "text_channel":
        guided = limited(guided)
    if guidance.image != 1:
        guided = image_dropped + guidance.image * (guided - image_dropped)
    return guided if guidance.renorm == "text_channel" else limited(guided)


def published_guided_velocity(full: Tensor, text_dropped: Tensor, image_dropped: Tensor, guidance: Guidance) -> Tensor:
    """`guided_velocity` under the rule of BAGEL's code: a text scale of 1 or less switches off all guidance.

    There an image scale of 1 or less switches off the images' guidance.
    """
    if guidance.text <= 1:
        return full
    return guided_velocity(full, text_dropped, image_dropped, replace(guidance, image=max(guidance.image, 1.0)))
