"""What every stochastic transition shares: its signature, its arithmetic type, and the check of its times."""

from typing import Protocol

import torch
from torch import Tensor


class Sampler(Protocol):
    """A Gaussian transition from time t to t_next < t: (mean, std) of the next latents."""

    def __call__(
        self,
        x: Tensor,
        velocity: Tensor,
        t: Tensor | float,
        t_next: Tensor | float,
        noise_level: float,
        t_second: float,
        sigma_t_max: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return mean [B, ...] and std [B]; see `flow_sde_mean_std` for the arguments."""


def in_full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast tensors to one type: float64 when any of them is float64, else float32 (also from bfloat16)."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(tensor.to(dtype) for tensor in tensors)


def batch_times(x: Tensor, t: Tensor | float, t_next: Tensor | float) -> tuple[Tensor, Tensor]:
    """Expand both times to the batch dimensions of x and check that they go down.

    Args:
        x: latents [B, ...] or, with times [B, W], [B, W, ...].
        t: time of x, a scalar, [1], or one value for each batch element.
        t_next: time of the next latents, likewise.

    Returns:
        t and t_next in the type of x, each [B] or [B, W].

    Raises:
        ValueError: unless 1 >= t > t_next >= 0 everywhere.
    """
    start = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    end = torch.as_tensor(t_next, dtype=x.dtype, device=x.device)
    batch_shape = x.shape[: max(1, start.ndim, end.ndim)]
    start, end = start.expand(batch_shape), end.expand(batch_shape)
    if not bool(((start <= 1) & (start > end) & (end >= 0)).all()):
        raise ValueError(
            f"times: got t={start.flatten().tolist()[:8]}, t_next={end.flatten().tolist()[:8]}, "
            "expected 1 >= t > t_next >= 0"
        )
    return start, end


def over_latents(values: Tensor, x: Tensor) -> Tensor:
    """Append dimensions of size 1 to `values` [B] so that it broadcasts against x [B, ...]."""
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))
