"""Classifier-free guidance by text and by images, as BAGEL combines them (arXiv 2505.14683).

Three velocities are needed: under the full context, under the context before the last text was read, and
under the context without images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

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
        """Whether there is any."""
        return self.text != 1 or self.image != 1


UNGUIDED = Guidance()
"""The velocity as the model predicts it."""


def guided_velocity(
    full: Tensor,
    text_dropped: Tensor,
    image_dropped: Tensor,
    text_scale: float,
    image_scale: float,
    renorm: Renorm = "text_channel",
    renorm_min: float = 0.0,
) -> Tensor:
    """Push the velocity away from what it would be without the text, then without the images.

    g = text_dropped + text_scale (full - text_dropped),  m = image_dropped + image_scale (g - image_dropped)

    A norm that guidance has enlarged is scaled back by clip(|full| / |.|, renorm_min, 1): "text_channel" does
    that to each token of g before the images' turn, "channel" to each token of m, "global" to each row of m.
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
