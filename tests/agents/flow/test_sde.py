import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from editenv.agents.flow import cps_step, flow_sde_step, flow_sigma, log_prob_mean, ode_step, shifted_times

SAMPLERS = {"flow_sde": flow_sde_step, "cps": cps_step}
DATA = Path(__file__).parents[2] / "data"
CASES = json.loads((DATA / "sde.json").read_text())["cases"]
ARRAYS = dict(np.load(DATA / "sde.npz"))
PRECISIONS = {"fp32": 1e-5, "fp64": 1e-12}


def case(precision, index):
    names = {key.split(".", 1)[1]: value for key, value in ARRAYS.items() if key.startswith(precision)}
    return {name: torch.from_numpy(value[index : index + 1]) for name, value in names.items() if len(value) > index}


def assert_near(ours, theirs, tolerance):
    assert ours.dtype == theirs.dtype
    scale = max(1.0, float(theirs.abs().max()))
    assert float((ours - theirs).abs().max()) <= tolerance * scale


def step(precision, index, velocity="v"):
    f = case(precision, index)
    return flow_sde_step(f["x"], f[velocity], f["t"], f["t_prev"], float(f["a"]), float(f["sigma_max"]))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_flow_sde_reproduces_the_reference_step(precision, index):
    f, tolerance = case(precision, index), PRECISIONS[precision]
    mean, std = step(precision, index)
    assert_near(mean, f["mean"], tolerance)
    assert_near(std, f["std"] * torch.sqrt(-f["dt"]), tolerance)
    assert_near(mean + std[:, None, None] * f["noise"], f["x_next"], tolerance)
    assert_near(flow_sigma(f["t"], float(f["a"]), float(f["sigma_max"])), f["std"], tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_log_prob_and_ratio_reproduce_the_reference(precision, index):
    f, tolerance = case(precision, index), PRECISIONS[precision]
    mean, std = step(precision, index)
    old = log_prob_mean(f["x_next"], mean, std)
    new_mean, _ = step(precision, index, velocity="v_new")
    new = log_prob_mean(f["x_next"], new_mean, std)
    assert_near(new_mean, f["mean_new"], tolerance)
    assert_near(old, f["logp"], tolerance)
    assert_near(new, f["logp_new"], tolerance)
    assert_near(torch.exp(new - old), f["ratio_new"], tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_cps_reproduces_the_reference_step_and_its_log_prob_once_the_variance_is_multiplied_back(precision, index):
    f, tolerance = case(precision, index), PRECISIONS[precision]
    arguments = (f["x"], f["v"], f["t"], f["t_prev"], min(float(f["a"]), 1.0), float(f["sigma_max"]))
    if float(f["t_prev"]) == 0:
        with pytest.raises(ValueError, match="t_next of cps: got 0"):
            cps_step(*arguments)
        return
    mean, std = cps_step(*arguments)
    assert_near(mean, f["cps_mean"], tolerance)
    assert_near(std, f["cps_std"], tolerance)
    assert_near(mean + std[:, None, None] * f["noise"], f["cps_x_next"], tolerance)
    ours = log_prob_mean(f["cps_x_next"], mean, std)
    assert_near(ours * 2 * std.square(), f["cps_logp"], tolerance)


@pytest.mark.parametrize("name", SAMPLERS)
def test_log_prob_is_the_normal_density_up_to_the_dropped_constants(name):
    generator = torch.Generator().manual_seed(1)
    x, velocity, noise = (torch.randn(3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(3))
    t, t_next = torch.tensor([1.0, 0.7, 0.3]).double(), torch.tensor([0.9, 0.6, 0.1]).double()
    mean, std = SAMPLERS[name](x, velocity, t, t_next, 0.8, 0.9)
    wide = std[:, None, None]
    x_next = mean + wide * noise
    density = torch.distributions.Normal(mean, wide).log_prob(x_next).mean(dim=(1, 2))
    constants = -torch.log(std) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(log_prob_mean(x_next, mean, std) + constants, density, atol=1e-12, rtol=0)


def noise_std(sampler, t, t_next, noise_level, t_second, spread=0.0):
    """Std of x_next over the right one, for data N(0, spread^2) and the exact expected velocity."""
    variance = ((1 - t) * spread) ** 2 + t**2
    x = torch.ones(1, 1, 1, dtype=torch.float64)
    mean, std = sampler(x, x * (t - (1 - t) * spread**2) / variance, t, t_next, noise_level, t_second)
    right = math.sqrt(((1 - t_next) * spread) ** 2 + t_next**2)
    return math.sqrt(float(mean) ** 2 * variance + float(std) ** 2) / right


def test_flow_sde_overshoots_the_noise_level_on_a_coarse_grid():
    grid = shifted_times(15, 3.0, torch.float64).tolist()
    excess = [100 * noise_std(flow_sde_step, grid[i], grid[i + 1], 1.3, grid[1]) - 100 for i in range(6)]
    assert excess == pytest.approx([34.0, 42.5, 15.1, 8.9, 6.7, 5.8], abs=0.06)


def test_the_overshoot_of_the_first_step_alone_survives_any_number_of_steps():
    first, inner = [], []
    for points in (15, 100, 1000, 10000):
        grid = shifted_times(points, 3.0, torch.float64).tolist()
        first.append(noise_std(flow_sde_step, grid[0], grid[1], 1.3, grid[1]) - 1)
        middle = points // 3
        inner.append(noise_std(flow_sde_step, grid[middle], grid[middle + 1], 1.3, grid[1]) - 1)
    assert min(first) > 0.3
    # a step of a tenth the length has a hundredth of the error
    assert [inner[i] / inner[i + 1] for i in (1, 2)] == pytest.approx([100, 100], rel=0.2)


def test_cps_keeps_the_marginals_of_a_known_image_exactly():
    grid = shifted_times(15, 3.0, torch.float64).tolist()
    for noise_level in (0.3, 0.7, 1.0):
        ratios = [noise_std(cps_step, grid[i], grid[i + 1], noise_level, grid[1]) for i in range(13)]
        assert ratios == pytest.approx([1.0] * 13, abs=1e-12)


def test_cps_comes_out_narrow_where_the_image_is_uncertain_but_closer_than_flow_sde():
    grid = shifted_times(15, 3.0, torch.float64).tolist()
    narrow = [noise_std(cps_step, grid[i], grid[i + 1], 1.0, grid[1], spread=1.0) for i in range(6)]
    wide = [noise_std(flow_sde_step, grid[i], grid[i + 1], 1.3, grid[1], spread=1.0) for i in range(6)]
    assert [100 * n - 100 for n in narrow] == pytest.approx([-0.03, -0.15, -0.41, -0.87, -1.64, -2.89], abs=0.01)
    assert all(abs(n - 1) < abs(w - 1) for n, w in zip(narrow, wide, strict=True))


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampled_noise_has_the_level_that_the_formula_predicts(name):
    generator = torch.Generator().manual_seed(0)
    image, noise, fresh = (torch.randn(1, 400, 500, generator=generator) for _ in range(3))
    t, t_next, level = 0.9, 0.7, 0.8
    x = (1 - t) * image + t * noise
    mean, std = SAMPLERS[name](x, noise - image, t, t_next, level, 0.95)
    left_over = mean + std * fresh - (1 - t_next) * image
    expected = t_next * noise_std(SAMPLERS[name], t, t_next, level, 0.95)
    # 200,000 numbers: the standard error of a std is std / 632
    assert float(left_over.std()) == pytest.approx(expected, rel=0.01)
    assert abs(float((left_over * image).mean())) < 0.01


def test_second_time_acts_at_one_exactly_and_nowhere_else():
    t = torch.tensor([1.0, 0.999, 0.5], dtype=torch.float64)
    low, high = flow_sigma(t, 1.0, 0.9), flow_sigma(t, 1.0, 0.99)
    assert low[0] == pytest.approx(math.sqrt(10)) and high[0] == pytest.approx(10.0)
    assert torch.equal(low[1:], high[1:])
    assert low[2] == 1.0


def test_bounded_sigma_holds_t_and_makes_the_second_time_irrelevant():
    t = torch.tensor([1.0, 0.98, 0.5], dtype=torch.float64)
    bounded = flow_sigma(t, 0.9, 0.975, sigma_t_max=0.96)
    assert bounded.tolist() == pytest.approx([0.9 * math.sqrt(24)] * 2 + [0.9])
    assert torch.equal(bounded, flow_sigma(t, 0.9, 0.5, sigma_t_max=0.96))


def test_ode_step_with_the_true_velocity_lands_on_the_straight_path():
    image, noise = torch.tensor([[[2.0]]]), torch.tensor([[[-1.0]]])
    x = 0.2 * image + 0.8 * noise
    assert float(ode_step(x, noise - image, 0.8, 0.5)) == pytest.approx(0.5)
    assert float(ode_step(x, noise - image, 0.8, 0.0)) == pytest.approx(2.0)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_arithmetic_is_float32_at_least_whatever_the_model_computes_in(name, dtype):
    x = torch.ones(2, 3, 4, dtype=dtype)
    mean, std = SAMPLERS[name](x, x, 0.5, 0.4, 0.5, 0.9)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert mean.dtype == std.dtype == log_prob_mean(x, mean, std).dtype == expected
    assert mean.shape == x.shape and std.shape == (2,)


@pytest.mark.parametrize("name", SAMPLERS)
def test_rows_and_window_steps_are_independent(name):
    generator = torch.Generator().manual_seed(2)
    x, velocity = (torch.randn(3, 2, 4, 5, generator=generator) for _ in range(2))
    t = torch.tensor([[1.0, 0.9], [0.8, 0.7], [0.6, 0.5]])
    mean, std = SAMPLERS[name](x, velocity, t, t - 0.1, 0.7, 0.9)
    for row in range(3):
        for column in range(2):
            one_mean, one_std = SAMPLERS[name](
                x[row, column][None], velocity[row, column][None], t[row, column], t[row, column] - 0.1, 0.7, 0.9
            )
            assert torch.equal(mean[row, column], one_mean[0]) and std[row, column] == one_std[0]
    assert log_prob_mean(x, mean, std).shape == (3, 2)


def test_gradient_reaches_the_mean_and_not_the_sample():
    x_next = torch.ones(1, 2, 2, requires_grad=True)
    mean = torch.zeros(1, 2, 2, requires_grad=True)
    log_prob_mean(x_next, mean, torch.tensor([0.5])).sum().backward()
    assert x_next.grad is None
    # d/dm of mean(-(1 - m)^2 / (2 * 0.25)) over 4 numbers
    assert mean.grad is not None and mean.grad.flatten().tolist() == [1.0] * 4


X = torch.zeros(1, 2, 2)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(("t", "t_next"), [(0.5, 0.5), (0.4, 0.5), (1.1, 0.5), (0.5, -0.1), (math.nan, 0.5)])
def test_times_out_of_order_are_refused(name, t, t_next):
    with pytest.raises(ValueError, match="expected 1 >= t > t_next >= 0"):
        SAMPLERS[name](X, X, t, t_next, 0.7, 0.9)
    with pytest.raises(ValueError, match="expected 1 >= t > t_next >= 0"):
        ode_step(X, X, t, t_next)


@pytest.mark.parametrize("name", SAMPLERS)
def test_noise_level_zero_is_refused_and_points_to_the_ode(name):
    with pytest.raises(ValueError, match="use ode_step"):
        SAMPLERS[name](X, X, 0.5, 0.4, 0.0, 0.9)


@pytest.mark.parametrize("noise_level", [-0.1, 1.3, math.nan])
def test_cps_refuses_levels_outside_its_quarter_turn(noise_level):
    with pytest.raises(ValueError, match=r"noise_level of cps"):
        cps_step(X, X, 0.5, 0.4, noise_level, 0.9)


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="sigma_t_max of cps"):
        cps_step(X, X, 0.5, 0.4, 0.5, 0.9, sigma_t_max=0.96)
    with pytest.raises(ValueError, match="sigma_t_max: got 1"):
        flow_sde_step(X, X, 0.5, 0.4, 0.5, 0.9, sigma_t_max=1.0)
    with pytest.raises(ValueError, match="t_second: got 1"):
        flow_sde_step(X, X, 1.0, 0.4, 0.5, 1.0)
    with pytest.raises(ValueError, match="std: got 0"):
        log_prob_mean(X, X, torch.tensor([0.0]))
