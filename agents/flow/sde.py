"""Flow-SDE: the stochastic step whose log-density the policy gradient needs, and the plain ODE step."""

import torch
from torch import Tensor

from editenv.agents.flow.cps import cps_mean_std
from editenv.agents.flow.transition import Sampler, batch_times, in_full_precision, over_latents


def flow_sigma(t: Tensor, noise_level: float, t_second: float, sigma_t_max: float | None = None) -> Tensor:
    """Diffusion coefficient of Flow-SDE (arXiv 2505.05470), without the step's sqrt(-dt).

    sigma = noise_level sqrt(t / (1 - t)), which has a pole at t = 1. Two ways around it:
    - at t = 1 exactly, `t_second` replaces t in the denominator (the published rule);
    - with `sigma_t_max`, t is held at that value or less everywhere inside sigma, and `t_second` is never
    needed.

    Args:
        t: times, any shape, in (0, 1].
        noise_level: a in the paper, above 0.
        t_second: the schedule's second time, in (0, 1).
        sigma_t_max: None, or a bound in (0, 1).

    Returns:
        sigma in the shape of t.

    Raises:
        ValueError: a noise level of 0 or less, `t_second` or `sigma_t_max` outside (0, 1).
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


def flow_sde_mean_std(
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
    from t = 1 survives any number of steps (`cps_mean_std` adds none).

    Args:
        x: latents at time t, [B, N, C] (or [B, W, N, C] with times [B, W]).
        velocity: d x / d t predicted by the model, in the shape of x (noise minus image).
        t: time of x, [B] or scalar, 1 >= t > t_next >= 0.
        t_next: time of the next latents, [B] or scalar.
        noise_level: a in the paper; 0 is the ODE and has no density, which is refused.
        t_second: the schedule's second time, standing in for t in sigma's denominator at t = 1 exactly.
        sigma_t_max: holds t at this value or less inside sigma (any sigma(t) has the same limit); None: no
            bound.

    Returns:
        mean [B, N, C] and std [B] of the transition, float32, or float64 when an input is.

    Raises:
        ValueError: times out of order, noise level 0 or less, a bad `t_second` or `sigma_t_max`.
    """
    x, velocity = in_full_precision(x, velocity)
    start, end = batch_times(x, t, t_next)
    sigma = flow_sigma(start, noise_level, t_second, sigma_t_max)
    dt = end - start
    half_variance = sigma.square() / (2 * start)
    x_factor = over_latents(1 + half_variance * dt, x)
    velocity_factor = over_latents((1 + half_variance * (1 - start)) * dt, x)
    return x * x_factor + velocity * velocity_factor, sigma * torch.sqrt(-dt)


def log_prob_mean(x_next: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Gaussian log-density of a transition as a mean over latent dimensions, constants dropped.

    mean over dimensions of -(x_next - mean)^2 / (2 std^2); the dropped -log(std) - log(2 pi) / 2 cancels in a
    ratio of two policies, which share std. `x_next` is detached: it is a sample, not a function of the
    policy.

    Args:
        x_next: sampled latents, [B, N, C].
        mean: of the transition, in the shape of x_next; gradients flow through it.
        std: of the transition, [B] or scalar, with its sqrt(-dt).

    Returns:
        [B] (or [B, W] for std [B, W]), float32, or float64 when an input is.

    Raises:
        ValueError: a std that is not positive.
    """
    if not bool((std > 0).all()):
        raise ValueError("std: got 0 or less, expected above 0; an ODE step has no density")
    x_next, mean, std = in_full_precision(x_next.detach(), mean, std)
    std = std.expand(mean.shape[: max(1, std.ndim)])
    scaled = (x_next - mean) / over_latents(std, mean)
    log_prob: Tensor = scaled.square().flatten(std.ndim).mean(dim=-1).mul(-0.5)
    return log_prob


def ode_step(x: Tensor, velocity: Tensor, t: Tensor | float, t_next: Tensor | float) -> Tensor:
    """One Euler step of the flow ODE: x + (t_next - t) velocity.

    Args:
        x: latents at time t, [B, N, C].
        velocity: d x / d t, in the shape of x.
        t: time of x, [B] or scalar, 1 >= t > t_next >= 0.
        t_next: time of the next latents, [B] or scalar.

    Returns:
        Latents at t_next, float32, or float64 when an input is.

    Raises:
        ValueError: times out of order.
    """
    x, velocity = in_full_precision(x, velocity)
    start, end = batch_times(x, t, t_next)
    x_next: Tensor = x + over_latents(end - start, x) * velocity
    return x_next


SAMPLERS: dict[str, Sampler] = {"flow_sde": flow_sde_mean_std, "cps": cps_mean_std}
