from itertools import pairwise

import pytest
import torch

from editenv.agents.flow import (
    SamplingPlan,
    cps_step,
    flow_sde_step,
    ode_step,
    sample_ode,
    sample_window,
    shifted_times,
    window_log_prob,
)

SAMPLERS = {"flow_sde": flow_sde_step, "cps": cps_step}
TIMES = shifted_times(9, 2.0)
B, W, N, C = 4, 2, 3, 5


def model(x, t):
    """Nonlinear in x and t, so that a wrong time or a wrong row shows."""
    return torch.tanh(x) * (0.3 + t[:, None, None]) - x.flip(1).sin() * 0.2


def draws(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(B, N, C, generator=generator, dtype=dtype)
    return x, torch.randn(B, W, N, C, generator=generator, dtype=dtype)


STARTS = torch.tensor([0, 2, 3, 0])


def sample(name="flow_sde", starts=STARTS, times=TIMES, velocity=model, **settings):
    x, noise = draws()
    return sample_window(velocity, x, SamplingPlan(times, W, starts, noise, SAMPLERS[name], 0.7, **settings))


@pytest.mark.parametrize("name", SAMPLERS)
def test_training_gets_the_samplers_log_probs_back_to_the_last_bit(name):
    out = sample(name)
    flat = out.latents[:, :-1].reshape(B * W, N, C)
    velocity = model(flat, out.times[:, :-1].reshape(-1)).reshape(B, W, N, C).requires_grad_()
    log_prob, mean, std = window_log_prob(velocity, out.latents, out.times, SAMPLERS[name], 0.7, float(TIMES[1]))
    assert torch.equal(torch.exp(log_prob - out.log_prob_mean), torch.ones(B, W))
    assert torch.equal(mean, out.mean) and std.shape == (B, W)
    log_prob.sum().backward()
    assert velocity.grad is not None and velocity.grad.abs().amin(dim=(2, 3)).min() > 0


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_row_does_not_depend_on_the_windows_of_the_others(name):
    together = sample(name)
    x, noise = draws()
    for row in range(B):
        one = slice(row, row + 1)
        alone = sample_window(model, x[one], SamplingPlan(TIMES, W, STARTS[one], noise[one], SAMPLERS[name], 0.7))
        for ours, single in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[one], single, atol=1e-6, rtol=0)


def test_the_sample_is_the_written_out_loop():
    out = sample()
    x, noise = draws()
    x, noise = x[1:2], noise[1:2]
    for step, (t, t_next) in enumerate(pairwise(TIMES)):
        velocity = model(x, t[None])
        if step in (2, 3):
            torch.testing.assert_close(out.latents[1, step - 2], x[0])
            mean, std = flow_sde_step(x, velocity, t, t_next, 0.7, float(TIMES[1]))
            x = mean + std * noise[:, step - 2]
            torch.testing.assert_close(out.latents[1, step - 1], x[0])
        else:
            x = ode_step(x, velocity, t, t_next)
    torch.testing.assert_close(out.final[1], x[0])
    assert torch.equal(out.times[1], TIMES[2:5])


def test_rollouts_share_their_start_up_to_the_window_and_differ_after_it():
    x, noise = draws()
    x, starts = x[:1].expand(B, N, C), torch.full((B,), 3)
    out = sample_window(model, x, SamplingPlan(TIMES, W, starts, noise, flow_sde_step, 0.7))
    assert torch.equal(out.latents[:, 0], out.latents[:1, 0].expand(B, N, C))
    assert (out.final[0] - out.final[1]).abs().max() > 1e-3


def test_without_fresh_noise_cps_at_a_tiny_level_is_the_ode():
    x, noise = draws(dtype=torch.float64)
    out = sample_window(model, x, SamplingPlan(TIMES.double(), W, STARTS, noise, cps_step, 1e-6))
    torch.testing.assert_close(out.final, sample_ode(model, x, TIMES.double()), atol=1e-4, rtol=0)


def test_ode_with_the_true_velocity_recovers_the_image_in_any_number_of_steps():
    image, noise = draws(1)[0], draws(2)[0]
    for points in (2, 9):
        final = sample_ode(lambda x, t: noise - image, noise, shifted_times(points, 3.0))
        torch.testing.assert_close(final, image, atol=1e-5, rtol=0)


def test_a_bfloat16_model_is_integrated_in_float32():
    def half(x, t):
        assert x.dtype == torch.float32 and t.shape == (B,)
        return model(x, t).bfloat16()

    out = sample(velocity=half)
    assert {tensor.dtype for tensor in out} == {torch.float32}
    assert sample_ode(half, draws()[0].bfloat16(), TIMES).dtype == torch.float32


def test_no_graph_is_kept():
    weight = torch.ones((), requires_grad=True)
    out = sample(velocity=lambda x, t: model(x, t) * weight)
    assert not any(tensor.requires_grad for tensor in out)


def test_bounded_sigma_reaches_both_the_sample_and_its_log_prob():
    free, bounded = sample(), sample(sigma_t_max=0.8)
    assert not torch.equal(free.final[0], bounded.final[0])
    velocity = model(bounded.latents[:, 0], bounded.times[:, 0])[:, None]
    log_prob, _, _ = window_log_prob(
        velocity, bounded.latents[:, :2], bounded.times[:, :2], flow_sde_step, 0.7, float(TIMES[1]), 0.8
    )
    torch.testing.assert_close(log_prob[:, 0], bounded.log_prob_mean[:, 0])


@pytest.mark.parametrize("starts", [[0, 0, 0, 7], [-1, 0, 0, 0]])
def test_a_window_that_leaves_the_grid_is_refused(starts):
    with pytest.raises(ValueError, match="window: got size 2"):
        sample(starts=torch.tensor(starts))


def test_wrong_shapes_are_refused():
    x, noise = draws()
    with pytest.raises(ValueError, match="starts: got shape"):
        sample_window(model, x, SamplingPlan(TIMES, W, STARTS[:1], noise, flow_sde_step, 0.7))
    with pytest.raises(ValueError, match="noise: got shape"):
        sample_window(model, x, SamplingPlan(TIMES, W, STARTS, noise[:, :1], flow_sde_step, 0.7))


def test_the_last_step_is_stochastic_for_flow_sde_and_refused_by_cps():
    last = torch.full((B,), 6)
    assert sample(starts=last).times[0, -1] == 0
    with pytest.raises(ValueError, match="t_next of cps: got 0"):
        sample("cps", starts=last)


@pytest.mark.parametrize("name", SAMPLERS)
def test_padding_of_smaller_images_changes_neither_their_sample_nor_its_log_prob(name):
    """Images of one token beside those of three; the velocity of padding is 0."""
    x, noise = draws()
    mask = torch.tensor([[True, False, False], [True, True, True]]).repeat(2, 1)
    real = mask[..., None].float()

    def masked(x, t):
        return (torch.tanh(x) * (0.3 + t[:, None, None])) * real[: len(x)]

    plan = SamplingPlan(TIMES, W, STARTS, noise * real[:, None], SAMPLERS[name], 0.7, mask=mask)
    together = sample_window(masked, x * real, plan)
    small = SamplingPlan(TIMES, W, STARTS[:1], noise[:1, :, :1], SAMPLERS[name], 0.7)
    alone = sample_window(lambda x, t: torch.tanh(x) * (0.3 + t[:, None, None]), x[:1, :1], small)
    torch.testing.assert_close(together.final[:1, :1], alone.final)
    torch.testing.assert_close(together.log_prob_mean[:1], alone.log_prob_mean)
    assert not together.final[0, 1:].any()
