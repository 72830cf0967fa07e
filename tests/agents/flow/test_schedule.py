import numpy as np
import pytest
import torch

from editenv.agents.flow import fixed_window, random_window, shifted_times, sliding_window


def test_shift_three_on_five_points_is_derived_by_hand():
    times = shifted_times(5, 3.0, torch.float64)
    assert times.tolist() == pytest.approx([1.0, 9 / 10, 3 / 4, 1 / 2, 0.0], abs=1e-15)


def test_shift_one_leaves_the_grid_uniform():
    assert shifted_times(5, 1.0).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("points", [2, 9, 15, 50])
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0, 6.0])
def test_every_grid_starts_at_exactly_one_and_goes_down_to_exactly_zero(points, shift):
    times = shifted_times(points, shift)
    assert times.dtype == torch.float32 and times.shape == (points,)
    assert times[0] == 1.0 and times[-1] == 0.0
    assert (times[1:] < times[:-1]).all()


@pytest.mark.parametrize(("points", "shift"), [(1, 3.0), (15, 0.0), (15, -1.0)])
def test_impossible_grids_are_refused(points, shift):
    with pytest.raises(ValueError, match=r"points|shift"):
        shifted_times(points, shift)


def test_all_starts_occur_equally_often_on_an_even_spread_of_uniforms():
    uniforms = (torch.arange(6000, dtype=torch.float64) + 0.5) / 6000
    starts = random_window(uniforms, 0, 5)
    assert torch.bincount(starts, minlength=6).tolist() == [1000] * 6


def test_all_starts_occur_equally_often_under_a_generator():
    starts = random_window(torch.rand(6000, generator=torch.Generator().manual_seed(0)), 2, 7)
    counts = np.bincount(starts.numpy(), minlength=8)
    assert counts[:2].sum() == 0
    # five standard deviations of a binomial count around 1000
    assert np.abs(counts[2:] - 1000).max() < 5 * np.sqrt(6000 / 6 * 5 / 6)


def test_the_largest_number_below_one_stays_inside_the_range():
    below_one = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    assert random_window(below_one[None], 0, 5).tolist() == [5]


def test_a_single_possible_start_is_always_taken():
    assert random_window(torch.rand(4, 3), 3, 3).unique().tolist() == [3]


@pytest.mark.parametrize(("uniform", "low", "high"), [(0.5, 3, 2), (0.5, -1, 2), (1.0, 0, 5), (-0.1, 0, 5)])
def test_impossible_draws_are_refused(uniform, low, high):
    with pytest.raises(ValueError, match=r"window range|uniforms"):
        random_window(torch.tensor([uniform]), low, high)


def test_placements_by_hand():
    """A window that slides rests two iterations at each step from 1 to 3, then stays."""
    numbers = torch.tensor([0.0, 0.34, 0.99])
    assert [sliding_window(numbers, 1, 3, i, 2).tolist() for i in (0, 1, 2, 5, 40)] == [
        [1] * 3,
        [1] * 3,
        [2] * 3,
        [3] * 3,
        [3] * 3,
    ]
    assert fixed_window(numbers, 1, 3, 9, 2).tolist() == [1, 1, 1]
    assert random_window(numbers, 1, 3, 9, 2).tolist() == [1, 2, 3]
