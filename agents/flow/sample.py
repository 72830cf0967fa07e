"""Generation with a stochastic window (training) or none (evaluation), and the window's log-density."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from editenv.agents.flow.sde import log_prob_mean, ode_step
from editenv.agents.flow.transition import Sampler, over_latents

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x [B, N, C], t [B]) -> d x / d t [B, N, C]."""


class WindowSample(NamedTuple):
    """Generated latents and what training needs of the stochastic window (W steps, B rows)."""

    final: Tensor
    """Latents at time 0, [B, N, C]."""
    latents: Tensor
    """Latents at the window's times, [B, W + 1, N, C], float32 at least."""
    times: Tensor
    """[B, W + 1], decreasing."""
    log_prob_mean: Tensor
    """Mean over latent dimensions of each stochastic step's log-density, [B, W]."""
    mean: Tensor
    """Mean of each stochastic step, [B, W, N, C]."""


def window_log_prob(
    velocity: Tensor,
    latents: Tensor,
    times: Tensor,
    sampler: Sampler,
    noise_level: float,
    t_second: float,
    sigma_t_max: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-density of stored stochastic steps under the velocities of a policy.

    The sampler itself calls this, so the same velocities give the same numbers to the last bit and a ratio of
    1.

    Args:
        velocity: at the first W latents, [B, W, N, C].
        latents: of the window, [B, W + 1, N, C].
        times: of the latents, [B, W + 1].
        sampler: the transition that made the sample.
        noise_level: of the transition.
        t_second: second time of the schedule that made the sample.
        sigma_t_max: as when sampling.

    Returns:
        log_prob_mean [B, W], mean [B, W, N, C], std [B, W].
    """
    mean, std = sampler(
        latents[:, :-1], velocity, times[:, :-1], times[:, 1:], noise_level, t_second, sigma_t_max
    )
    return log_prob_mean(latents[:, 1:], mean, std), mean, std


@torch.no_grad()
def sample_window(
    velocity: Velocity,
    x_start: Tensor,
    times: Tensor,
    window_start: Tensor,
    window_size: int,
    noise_level: float,
    noise: Tensor,
    sampler: Sampler,
    sigma_t_max: float | None = None,
) -> WindowSample:
    """Integrate the flow to an image, with fresh noise in a window of steps (MixGRPO, arXiv 2507.21802).

    All other steps are Euler steps of the ODE and have no log-density. Rows may have different windows.
    Nothing is drawn in here: the same tensors give the same sample.

    Args:
        velocity: the policy, called once a step with x [B, N, C] and t [B].
        x_start: noise at times[0], [B, N, C]; float32 at least is used from here on.
        times: decreasing grid [T], T - 1 steps.
        window_start: first stochastic step of each row, [B], integer.
        window_size: W, number of stochastic steps.
        noise_level: of the transition.
        noise: standard normal, [B, W, N, C].
        sampler: the transition, one of `SAMPLERS`.
        sigma_t_max: passed to the sampler.

    Returns:
        The final latents and the window's latents, times, log-densities and means.

    Raises:
        ValueError: a window that leaves the grid, or noise in the wrong shape.
    """
    _check_window(x_start, times, window_start, window_size, noise)
    x = x_start.to(torch.promote_types(x_start.dtype, torch.float32))
    times = times.to(x.device, x.dtype)
    rows = torch.arange(len(x), device=x.device)
    positions = window_start[:, None] + torch.arange(window_size + 1, device=x.device)
    latents = x.new_zeros((len(x), window_size + 1, *x.shape[1:]))
    velocities = x.new_zeros((len(x), window_size, *x.shape[1:]))
    t_second = float(times[1])
    for step in range(len(times) - 1):
        t, t_next = times[step], times[step + 1]
        v = velocity(x, t.expand(len(x))).to(x.dtype)
        x_next = ode_step(x, v, t, t_next)
        offset = step - window_start
        inside = rows[(offset >= 0) & (offset < window_size)]
        if len(inside):
            place = offset[inside]
            latents[inside, place], velocities[inside, place] = x[inside], v[inside]
            mean, std = sampler(x[inside], v[inside], t, t_next, noise_level, t_second, sigma_t_max)
            x_next[inside] = mean + over_latents(std, mean) * noise[inside, place].to(x.dtype)
            latents[inside, place + 1] = x_next[inside]
        x = x_next
    log_prob, means, _ = window_log_prob(
        velocities, latents, times[positions], sampler, noise_level, t_second, sigma_t_max
    )
    return WindowSample(x, latents, times[positions], log_prob, means)


@torch.no_grad()
def sample_ode(velocity: Velocity, x_start: Tensor, times: Tensor) -> Tensor:
    """Integrate the flow ODE with Euler steps, for evaluation.

    Args:
        velocity: the policy, called once a step with x [B, N, C] and t [B].
        x_start: noise at times[0], [B, N, C].
        times: decreasing grid [T].

    Returns:
        Latents at times[-1], [B, N, C], float32 at least.
    """
    x = x_start.to(torch.promote_types(x_start.dtype, torch.float32))
    times = times.to(x.device, x.dtype)
    for t, t_next in pairwise(times):
        x = ode_step(x, velocity(x, t.expand(len(x))).to(x.dtype), t, t_next)
    return x


def check_steps(
    times: Tensor, steps: Sequence[int], sampler: Sampler, noise_level: float, sigma_t_max: float | None
) -> None:
    """Makes single steps of a sampler, so that one that cannot be made is known before anything is sampled.

    Args:
        times: decreasing grid [T].
        steps: of the grid, from 0.
        sampler: the transition.
        noise_level: of the transition.
        sigma_t_max: passed to the sampler.

    Raises:
        ValueError: from the sampler; it names what it does not take.
    """
    nothing = torch.zeros(1, 1, 1)
    for step in steps:
        sampler(nothing, nothing, times[step], times[step + 1], noise_level, float(times[1]), sigma_t_max)


def _check_window(
    x_start: Tensor, times: Tensor, window_start: Tensor, window_size: int, noise: Tensor
) -> None:
    steps = len(times) - 1
    if window_start.shape != (len(x_start),):
        raise ValueError(f"window_start: got shape {tuple(window_start.shape)}, expected ({len(x_start)},)")
    if window_size < 1 or bool((window_start < 0).any() | (window_start + window_size > steps).any()):
        raise ValueError(
            f"window: got size {window_size} and starts {sorted(set(window_start.tolist()))}, "
            f"expected at least one step, all inside the grid's {steps} steps"
        )
    expected = (len(x_start), window_size, *x_start.shape[1:])
    if noise.shape != expected:
        raise ValueError(f"noise: got shape {tuple(noise.shape)}, expected {expected}")
