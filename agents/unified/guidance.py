"""Classifier-free guidance by text and by images, as BAGEL combines them (arXiv 2505.14683).

Three velocities are needed: under the full context, under the context before the last text was read, and
under the context without images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from torch import Tensor

from editenv.agents.unified.context import Block, Context, TextBlock

if TYPE_CHECKING:
    from editenv.agents.unified.model import UnifiedModel

Renorm = Literal["text_channel", "global", "channel"]
_TINY = 1e-8


@dataclass(frozen=True)
class Guidance:
    """Scales of `guided_velocity`, norms limited by "text_channel"; 1 switches one off.

    Attributes:
        text: how far from the velocity without the last text.
        image: how far from the velocity without images.
    """

    text: float = 1.0
    image: float = 1.0

    @property
    def active(self) -> bool:
        """Whether either scale differs from 1."""
        return self.text != 1 or self.image != 1


UNGUIDED = Guidance()
"""The velocity as the model predicts it."""


class GuidanceContexts(NamedTuple):
    """One context as it is and with parts dropped; None where the guidance needs no such context.

    Attributes:
        full: all blocks.
        text_dropped: without the last block, the text that generation follows.
        image_dropped: the text blocks alone.
    """

    full: Context
    text_dropped: Context | None
    image_dropped: Context | None

    def repeat(self, times: int) -> GuidanceContexts:
        """Every row of every context `times` times in a row."""
        text, image = (
            None if context is None else context.repeat(times) for context in (self.text_dropped, self.image_dropped)
        )
        return GuidanceContexts(self.full.repeat(times), text, image)


def build_guidance_contexts(
    model: UnifiedModel, blocks: Sequence[Block], batch_size: int, guidance: Guidance
) -> GuidanceContexts:
    """The contexts that a guidance needs, built by the model from blocks.

    Raises:
        ValueError: text guidance over blocks that do not end with text.
    """
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
) -> tuple[Tensor, Tensor]:
    """The guided and the unguided velocity, [B, N, C] each; rollout and training both call this.

    With `source_channel` the current image also enters through its channel, which no context drops. Arguments
    as `UnifiedModel.velocity`.
    """
    full = model.velocity(contexts.full, x, t, grid, source)
    text, image = (
        full if context is None else model.velocity(context, x, t, grid, source)
        for context in (contexts.text_dropped, contexts.image_dropped)
    )
    if not guidance.active:
        return full, full
    return guided_velocity(full, text, image, guidance.text, guidance.image), full


def predict_window_velocity(
    model: UnifiedModel,
    contexts: GuidanceContexts,
    x: Tensor,
    t: Tensor,
    grid: tuple[int, int] | None,
    source: Tensor | None,
    guidance: Guidance,
) -> tuple[Tensor, Tensor]:
    """`predict_velocity` at W times of every row: x [B, W, N, C] and t [B, W] share contexts and source."""
    steps = x.shape[1]
    if source is not None and steps > 1:
        source = source.repeat_interleave(steps, dim=0)
    flat = x.flatten(0, 1), t.flatten(), grid, source, guidance
    guided, plain = predict_velocity(model, contexts.repeat(steps), *flat)
    return guided.unflatten(0, x.shape[:2]), plain.unflatten(0, x.shape[:2])


def guided_velocity(
    full: Tensor,
    text_dropped: Tensor,
    image_dropped: Tensor,
    text_scale: float,
    image_scale: float,
    renorm: Renorm = "text_channel",
    renorm_min: float = 0.0,
) -> Tensor:
    """Extrapolate from the velocity without the text, then from the one without the images.

    g = text_dropped + text_scale (full - text_dropped),  m = image_dropped + image_scale (g - image_dropped)

    A norm that guidance has enlarged is scaled back by clip(|full| / |.|, renorm_min, 1): "text_channel" does
    that to each token of g before m is formed, "channel" to each token of m, "global" to each row of m.
    The two scales are independent: a scale of 1 switches off its own guidance and nothing else.

    Args:
        full: velocity under the full context, [B, N, C].
        text_dropped: under the context without the last text, [B, N, C].
        image_dropped: under the context without images, [B, N, C].
        text_scale: how far to go from `text_dropped`.
        image_scale: how far to go from `image_dropped`.
        renorm: where norms are limited.
        renorm_min: smallest factor that a norm is scaled by.

    Returns:
        [B, N, C].

    Raises:
        ValueError: for an unknown `renorm`.
    """
    if renorm not in get_args(Renorm):
        raise ValueError(f"renorm is {renorm!r}, expected one of {', '.join(get_args(Renorm))}")
    guided = text_dropped + text_scale * (full - text_dropped)
    if renorm == "text_channel":
        guided = _limit_norm(guided, full, -1, renorm_min)
    if image_scale != 1:
        guided = image_dropped + image_scale * (guided - image_dropped)
    if renorm == "text_channel":
        return guided
    return _limit_norm(guided, full, -1 if renorm == "channel" else (-2, -1), renorm_min)


def published_guided_velocity(
    full: Tensor,
    text_dropped: Tensor,
    image_dropped: Tensor,
    text_scale: float,
    image_scale: float,
    renorm: Renorm = "text_channel",
    renorm_min: float = 0.0,
) -> Tensor:
    """`guided_velocity` under the rule of BAGEL's code: a text scale of 1 or less switches off all guidance.

    There an image scale of 1 or less switches off the images' guidance. Arguments as `guided_velocity`.
    """
    if text_scale <= 1:
        return full
    scale = max(image_scale, 1.0)
    return guided_velocity(full, text_dropped, image_dropped, text_scale, scale, renorm, renorm_min)


def _limit_norm(guided: Tensor, full: Tensor, dims: int | tuple[int, int], smallest: float) -> Tensor:
    ratio = full.norm(dim=dims, keepdim=True) / (guided.norm(dim=dims, keepdim=True) + _TINY)
    return guided * ratio.clamp(smallest, 1.0)
