"""How far the picture that a velocity leads to lies from the one it should lead to."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

_LEAST_TIME = 0.25
_LEAST_DISTANCE = 1e-5


def image_error(x: Tensor, t: Tensor, velocity: Tensor, image: Tensor) -> Tensor:
    """How far the image lies that a velocity leads to: mean of (x - t v - image)^2 / max(t, 0.25)^2.

    Where t is 0.25 or more this is the flow-matching error (v - (noise - image))^2; nearer to the image it
    is bounded, since models that predict a residual divide by t. Bases are trained with the same.

    Args:
        x: noisy latents, [..., N, C].
        t: their times, [...].
        velocity: predicted, in the shape of x; gradients flow through it.
        image: clean latents, broadcastable to x.

    Returns:
        [...].
    """
    error = (x - t[..., None, None] * velocity - image).square().mean(dim=(-2, -1))
    return error / t.clamp_min(_LEAST_TIME).square()


def adaptive_error(x: Tensor, t: Tensor, velocity: Tensor, image: Tensor) -> Tensor:
    """The same distance, of a size that its own one settles: mean of d^2 / max(mean of |d|, 1e-5).

    d = x - t v - image; no gradient flows through the denominator. So noisy pictures that lead far astray
    count about as much for each of their latents as those that lead close (DiffusionNFT, arXiv 2509.16117,
    adaptive weight). Arguments and result as `image_error`.
    """
    distance = x - t[..., None, None] * velocity - image
    size = distance.detach().abs().mean(dim=(-2, -1)).clamp_min(_LEAST_DISTANCE)
    return distance.square().mean(dim=(-2, -1)) / size


PictureError = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(x, t, velocity, image) -> error of each noisy picture, as `image_error`."""

PICTURE_ERRORS: dict[str, PictureError] = {"bounded": image_error, "adaptive": adaptive_error}
