"""Coefficient-preserving sampling (Flow-CPS): a stochastic step that never overshoots the noise level."""

import math

from torch import Tensor

from editenv.agents.flow.transition import batch_times, in_full_precision, over_latents


def cps_mean_std(
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

    Args:
        x: latents at time t, [B, N, C].
        velocity: d x / d t predicted by the model, [B, N, C] (noise minus image).
        t: time of x, [B] or scalar, at most 1.
        t_next: time of the next latents, [B] or scalar, 0 < t_next < t: at 0 the step has no noise and no
            density.
        noise_level: share of the noise that is fresh, as a quarter turn, in (0, 1].
        t_second: not needed here; part of the signature that all samplers share.
        sigma_t_max: refused unless None, for sigma does not depend on t here.

    Returns:
        mean [B, N, C] and std [B], float32, or float64 when an input is.

    Raises:
        ValueError: times out of order, t_next 0, a noise level outside (0, 1], or a sigma_t_max.
    """
    if not 0 < noise_level <= 1:
        raise ValueError(f"noise_level of cps: got {noise_level}, expected (0, 1]; for 0 use ode_step")
    if sigma_t_max is not None:
        raise ValueError(f"sigma_t_max of cps: got {sigma_t_max}, expected None (no pole at t = 1)")
    x, velocity = in_full_precision(x, velocity)
    times, times_next = batch_times(x, t, t_next)
    if bool((times_next == 0).any()):
        raise ValueError("t_next of cps: got 0, expected above 0; the last step has no noise: use ode_step")
    start, end = over_latents(times, x), over_latents(times_next, x)
    angle = noise_level * math.pi / 2
    image = x - start * velocity
    noise = x + (1 - start) * velocity
    # t_next cos(angle) is sqrt(t_next^2 - sigma^2) without the cancellation that makes the root negative at
    # level 1
    mean: Tensor = (1 - end) * image + end * math.cos(angle) * noise
    return mean, times_next * math.sin(angle)
