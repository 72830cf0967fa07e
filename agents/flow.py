"""Flow matching: time grids, stochastic transitions with their log-densities, and generation.

Time runs from 1 (noise) to 0 (image): x_t = (1 - t) image + t noise. A model predicts the velocity
dx / dt = noise - image. Latents are [B, N, C] (tokens by channels); [B, W, N, C] for W steps of each row.
All results are float32, or float64 when an input is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

Sampler = Callable[..., tuple[Tensor, Tensor]]
"""A Gaussian transition from time t to t_next < t: mean and std of the next latents; see `flow_sde_step`."""

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x [B, N, C], t [B]) -> d x / d t [B, N, C]."""


def in_full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast tensors to one type: float64 when any of them is float64, else float32 (also from bfloat16)."""
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return tuple(tensor.to(dtype) for tensor in tensors)


def batch_times(x: Tensor, t: Tensor | float, t_next: Tensor | float) -> tuple[Tensor, Tensor]:
    """Both times in the type of x, [B] or [B, W] as they came or for every row; ValueError unless they go down."""
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


def expand_to_latents(values: Tensor, x: Tensor) -> Tensor:
    """Append dimensions of size 1 to `values` [B] so that it broadcasts against x [B, ...]."""
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


# Transitions


def ode_step(x: Tensor, velocity: Tensor, t: Tensor | float, t_next: Tensor | float) -> Tensor:
    """One Euler step of the flow ODE: x + (t_next - t) velocity; arguments as `flow_sde_step`."""
    x, velocity = in_full_precision(x, velocity)
    start, end = batch_times(x, t, t_next)
    return x + expand_to_latents(end - start, x) * velocity


def flow_sigma(t: Tensor, noise_level: float, t_second: float, sigma_t_max: float | None = None) -> Tensor:
    """Diffusion coefficient of Flow-SDE (arXiv 2505.05470), without the step's sqrt(-dt), in the shape of t.

    sigma = noise_level sqrt(t / (1 - t)), which has a pole at t = 1. Two ways around it:
    - at t = 1 exactly, `t_second` replaces t in the denominator (the published rule);
    - with `sigma_t_max` in (0, 1), t is held at that value or less everywhere inside sigma, and `t_second` is
      never needed.

    ValueError for a noise level of 0 or less, and `t_second` or `sigma_t_max` outside (0, 1).
    """
    if not noise_level > 0:
        raise ValueError(f"noise_level: got {noise_level}, expected above 0; for 0 use ode_step")
    if sigma_t_max is not None:
        if not 0 < sigma_t_max < 1:
            raise ValueError(f"sigma_t_max: got {sigma_t_max}, expected inside (0, 1)")
        t = t.clamp(max=sigma_t_max)
    at_noise = t == 1
    if not 0 < t_second < 1 and bool(at_noise.any()):
        raise ValueError(f"t_second: got {t_second}, expected inside (0, 1)")
    return noise_level * torch.sqrt(t / (1 - torch.where(at_noise, t_second, t)))


def flow_sde_step(
    x: Tensor,
    velocity: Tensor,
    t: Tensor | float,
    t_next: Tensor | float,
    noise_level: float,
    t_second: float,
    sigma_t_max: float | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of Flow-SDE, whose marginals are the flow ODE's in the limit dt -> 0 (arXiv 2505.05470).

    sigma = noise_level sqrt(t / (1 - t)),  dt = t_next - t < 0
    mean  = x (1 + sigma^2 dt / 2t) + velocity (1 + sigma^2 (1 - t) / 2t) dt,   std = sigma sqrt(-dt)

    A coarse grid adds noise: with 14 steps, shift 3 and noise level 1.3, one step from exact latents leaves a
    noise std that is 34, 43, 15, 9, 7 and 6 percent too large at steps 0 to 5, and the excess of the step
    from t = 1 survives any number of steps (`cps_step` adds none).

    Args:
        x: latents at time t, [B, N, C] (or [B, W, N, C] with times [B, W]).
        velocity: d x / d t predicted by the model, in the shape of x (noise minus image).
        t, t_next: times of x and of the next latents, [B] or scalars, 1 >= t > t_next >= 0.
        noise_level: a in the paper; 0 is the ODE and has no density, which is refused.
        t_second: the grid's second time, standing in for t in sigma's denominator at t = 1 exactly.
        sigma_t_max: holds t at this value or less inside sigma (any sigma(t) has the same limit); None: no bound.

    Returns:
        mean [B, N, C] and std [B] of the transition.
    """
    x, velocity = in_full_precision(x, velocity)
    start, end = batch_times(x, t, t_next)
    sigma = flow_sigma(start, noise_level, t_second, sigma_t_max)
    dt = end - start
    half_variance = sigma.square() / (2 * start)
    x_factor = expand_to_latents(1 + half_variance * dt, x)
    velocity_factor = expand_to_latents((1 + half_variance * (1 - start)) * dt, x)
    return x * x_factor + velocity * velocity_factor, sigma * torch.sqrt(-dt)


def cps_step(
    x: Tensor,
    velocity: Tensor,
    t: Tensor | float,
    t_next: Tensor | float,
    noise_level: float,
    t_second: float,
    sigma_t_max: float | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of Flow-CPS (arXiv 2509.05952): part of the predicted noise is exchanged for fresh noise.

    x0_hat = x - t velocity,  noise_hat = x + (1 - t) velocity,  std = sigma = t_next sin(noise_level pi / 2)
    mean = (1 - t_next) x0_hat + sqrt(t_next^2 - sigma^2) noise_hat

    The image enters with weight 1 - t_next and the noise with t_next in all, at any step size: for a known
    image the marginals of the flow are kept exactly. For an uncertain image the predicted noise is shorter
    than true noise, so the marginal comes out somewhat narrow (measured in the tests).

    Arguments and results as `flow_sde_step`, with t_next above 0 (at 0 the step has no noise and no density) and
    noise_level, the share of the noise that is fresh, as a quarter turn, in (0, 1]. sigma does not depend on t:
    `t_second` is not needed, and a `sigma_t_max` is refused.
    """
    if not 0 < noise_level <= 1:
        raise ValueError(f"noise_level of cps: got {noise_level}, expected (0, 1]; for 0 use ode_step")
    if sigma_t_max is not None:
        raise ValueError(f"sigma_t_max of cps: got {sigma_t_max}, expected None (no pole at t = 1)")
    x, velocity = in_full_precision(x, velocity)
    times, times_next = batch_times(x, t, t_next)
    if bool((times_next == 0).any()):
        raise ValueError("t_next of cps: got 0, expected above 0; the last step has no noise: use ode_step")
    start, end = expand_to_latents(times, x), expand_to_latents(times_next, x)
    angle = noise_level * math.pi / 2
    image = x - start * velocity
    noise = x + (1 - start) * velocity
    # t_next cos(angle) is sqrt(t_next^2 - sigma^2) without the cancellation that makes the root negative at
    # level 1
    mean: Tensor = (1 - end) * image + end * math.cos(angle) * noise
    return mean, times_next * math.sin(angle)


def latent_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of values [..., N, C] over the latent dimensions, [...].

    `mask` is True at real tokens, [B, N], where images of several sizes are padded to N tokens; None: all are.
    """
    if mask is None:
        return values.flatten(-2).mean(dim=-1)
    real = mask.reshape(mask.shape[:1] + (1,) * (values.ndim - 3) + mask.shape[1:])[..., None]
    return values.masked_fill(~real, 0.0).flatten(-2).sum(-1) / (real.flatten(-2).sum(-1) * values.shape[-1])


def log_prob_mean(x_next: Tensor, mean: Tensor, std: Tensor, mask: Tensor | None = None) -> Tensor:
    """Gaussian log-density of a transition as a mean over latent dimensions, constants dropped.

    mean over dimensions of -(x_next - mean)^2 / (2 std^2); the dropped -log(std) - log(2 pi) / 2 cancels in a
    ratio of two policies, which share std. `x_next` is detached: it is a sample, not a function of the policy.

    Args:
        x_next, mean: sampled latents, and the transition's mean, through which gradients flow, [B, N, C].
        std: of the transition, with its sqrt(-dt), above 0, [B], [B, W] or scalar; the result has its shape.
        mask: see `latent_mean`.
    """
    if not bool((std > 0).all()):
        raise ValueError("std: got 0 or less, expected above 0; an ODE step has no density")
    x_next, mean, std = in_full_precision(x_next.detach(), mean, std)
    std = std.expand(mean.shape[: max(1, std.ndim)])
    scaled = (x_next - mean) / expand_to_latents(std, mean)
    return latent_mean(scaled.square(), mask).mul(-0.5)


# Time grids and windows


def shifted_times(points: int, shift: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Grid from 1 to 0 that spends more steps near the noise for a shift above 1 (arXiv 2403.03206, eq. 23).

    t = linspace(1, 0, points),  t <- shift * t / (1 + (shift - 1) * t)

    Strictly decreasing, [points], one more than there are steps; computed in float64, whatever the dtype.
    """
    if points < 2:
        raise ValueError(f"points: got {points}, expected at least 2 (one step)")
    if not shift > 0:
        raise ValueError(f"shift: got {shift}, expected a positive number")
    uniform = torch.linspace(1.0, 0.0, points, dtype=torch.float64)
    return (shift * uniform / (1 + (shift - 1) * uniform)).to(dtype)


def random_window(uniforms: Tensor, low: int, high: int, iteration: int = 0, every: int = 1) -> Tensor:
    """Published: every start step of the stochastic window equally often, low + floor(u * (high - low + 1)).

    Args:
        uniforms: numbers in [0, 1), any shape; the caller owns their generator, so that the draw never hangs on
            a global seed or on a process rank.
        low, high: first and last possible start, 0 <= low <= high.
        iteration, every: of the training, from 0, and how many a sliding window rests at a step.

    Returns:
        Start steps, int64, in the shape of `uniforms`.
    """
    if not 0 <= low <= high:
        raise ValueError(f"window range: got low={low}, high={high}, expected 0 <= low <= high")
    if not bool(((uniforms >= 0) & (uniforms < 1)).all()):
        raise ValueError("uniforms: got a number outside [0, 1), expected draws of a uniform generator")
    return (low + (uniforms.double() * (high - low + 1)).floor().long()).clamp(max=high)


def fixed_window(uniforms: Tensor, low: int, high: int, iteration: int, every: int) -> Tensor:
    """Always the first step, where most noise is. Arguments as `random_window`."""
    return torch.full_like(uniforms, low, dtype=torch.long)


def sliding_window(uniforms: Tensor, low: int, high: int, iteration: int, every: int) -> Tensor:
    """MixGRPO's (arXiv 2507.21802): from noise to image, a step on every `every` iterations, then it stays.

    start = min(low + floor(iteration / every), high). Arguments as `random_window`.
    """
    return torch.full_like(uniforms, min(low + iteration // every, high), dtype=torch.long)


# Generation


@dataclass(frozen=True)
class SamplingPlan:
    """How images are generated: by the ODE, or with W stochastic steps in a window of each row's own."""

    times: Tensor  # decreasing grid [T] from 1 to 0, T - 1 steps
    window: int = 0  # W; 0 for the ODE, with which all else is left out
    starts: Tensor | None = None  # first stochastic step of each row, [B] int64
    noise: Tensor | None = None  # of the stochastic steps, standard normal, [B, W, N, C]
    sampler: Sampler = flow_sde_step
    noise_level: float = 0.0
    sigma_t_max: float | None = None
    mask: Tensor | None = None  # see latent_mean


class WindowSample(NamedTuple):
    """Generated latents and what training needs of the stochastic window (W steps, B rows)."""

    final: Tensor  # latents at time 0, [B, N, C]
    latents: Tensor  # at the window's times, [B, W + 1, N, C], float32 at least
    times: Tensor  # [B, W + 1], decreasing
    log_prob_mean: Tensor  # mean over latent dimensions of each stochastic step's log-density, [B, W]
    mean: Tensor  # of each stochastic step, [B, W, N, C]


def window_log_prob(
    velocity: Tensor,
    latents: Tensor,
    times: Tensor,
    sampler: Sampler,
    noise_level: float,
    t_second: float,
    sigma_t_max: float | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-density of stored stochastic steps under the velocities of a policy.

    `sample_window` itself calls this, so the same velocities give the same numbers to the last bit and a ratio of 1.

    Args:
        velocity: at the first W of the window's latents [B, W + 1, N, C], [B, W, N, C].
        times: of the latents, [B, W + 1].
        sampler, noise_level, t_second, sigma_t_max: the transition that made the sample.

    Returns:
        log_prob_mean [B, W], mean [B, W, N, C], std [B, W].
    """
    mean, std = sampler(latents[:, :-1], velocity, times[:, :-1], times[:, 1:], noise_level, t_second, sigma_t_max)
    return log_prob_mean(latents[:, 1:], mean, std, mask), mean, std


@torch.no_grad()
def sample_window(velocity: Velocity, x_start: Tensor, plan: SamplingPlan) -> WindowSample:
    """Integrate the flow to an image, with fresh noise in a window of steps (MixGRPO, arXiv 2507.21802).

    All other steps are Euler steps of the ODE and have no log-density. Rows may have different windows.
    Nothing is drawn in here: the same tensors give the same sample.

    Args:
        velocity: the policy, called once a step with x [B, N, C] and t [B].
        x_start: noise at times[0], [B, N, C]; float32 at least is used from here on.
        plan: of the steps, with a window of 1 or more; ValueError where it leaves the grid or has no noise for it.
    """
    starts, noise, steps, expected = plan.starts, plan.noise, len(plan.times) - 1, (len(x_start), plan.window)
    if starts is None or starts.shape != expected[:1]:
        given = None if starts is None else tuple(starts.shape)
        raise ValueError(f"starts: got shape {given}, expected ({len(x_start)},)")
    if plan.window < 1 or bool((starts < 0).any() | (starts + plan.window > steps).any()):
        raise ValueError(
            f"window: got size {plan.window} and starts {sorted(set(starts.tolist()))}, "
            f"expected at least one step, all inside the grid's {steps} steps"
        )
    if noise is None or noise.shape != (*expected, *x_start.shape[1:]):
        given = None if noise is None else tuple(noise.shape)
        raise ValueError(f"noise: got shape {given}, expected {(*expected, *x_start.shape[1:])}")
    x = x_start.to(torch.promote_types(x_start.dtype, torch.float32))
    times = plan.times.to(x.device, x.dtype)
    rows = torch.arange(len(x), device=x.device)
    positions = starts[:, None] + torch.arange(plan.window + 1, device=x.device)
    latents = x.new_zeros((len(x), plan.window + 1, *x.shape[1:]))
    velocities = x.new_zeros((len(x), plan.window, *x.shape[1:]))
    stepping = plan.noise_level, float(times[1]), plan.sigma_t_max
    for step, (t, t_next) in enumerate(pairwise(times)):
        v = velocity(x, t.expand(len(x))).to(x.dtype)
        x_next = ode_step(x, v, t, t_next)
        offset = step - starts
        inside = rows[(offset >= 0) & (offset < plan.window)]
        if len(inside):
            place = offset[inside]
            latents[inside, place], velocities[inside, place] = x[inside], v[inside]
            mean, std = plan.sampler(x[inside], v[inside], t, t_next, *stepping)
            x_next[inside] = mean + expand_to_latents(std, mean) * noise[inside, place].to(x.dtype)
            latents[inside, place + 1] = x_next[inside]
        x = x_next
    log_prob, means, _ = window_log_prob(velocities, latents, times[positions], plan.sampler, *stepping, plan.mask)
    return WindowSample(x, latents, times[positions], log_prob, means)


@torch.no_grad()
def sample_ode(velocity: Velocity, x_start: Tensor, times: Tensor) -> Tensor:
    """Integrate the flow ODE with Euler steps over a decreasing grid [T], as evaluation does; else `sample_window`."""
    x = x_start.to(torch.promote_types(x_start.dtype, torch.float32))
    times = times.to(x.device, x.dtype)
    for t, t_next in pairwise(times):
        x = ode_step(x, velocity(x, t.expand(len(x))).to(x.dtype), t, t_next)
    return x
