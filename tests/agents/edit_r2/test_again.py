"""What further tries from a state are paid, by hand and in expectation."""

import itertools
import math

import pytest
import torch

from editenv.agents.edit_r2.advantage.again import same_state

NAN = math.nan


def paid(reward, state, when, again, **rest):
    reward = torch.tensor(reward, dtype=torch.float64)
    tensors = (torch.tensor(state), torch.tensor(when), torch.tensor(again))
    return same_state(reward, ~reward.isnan(), *tensors, **rest)


def test_tries_are_paid_against_their_state_until_then_and_nothing_else_is():
    # state 5: an attempt's turn worth 1, two tries at once worth 0 and 2, one later worth 5, one unscored
    value = paid(
        [1.0, 0.0, 2.0, 5.0, NAN, 9.0],
        [5, 5, 5, 5, 5, 6],
        [1, 1, 1, 2, 2, 1],
        [False, True, True, True, True, False],
        eps=0.0,
        clip=100.0,
    )
    spread = torch.tensor([1.0, 0.0, 2.0, 5.0, 9.0]).double().std(correction=0)
    expected = torch.tensor([0.0, -1.0, 1.0, 3.0, 0.0, 0.0]).double() / spread
    torch.testing.assert_close(value, expected)


def test_the_spread_of_a_group_is_that_of_what_it_is_measured_against():
    value = paid([1.0, 0.0, 9.0], [5, 5, 6], [0, 0, 0], [False, True, False], eps=0.0, std="group")
    assert value.tolist() == [0.0, -1.0, 0.0]


def test_no_try_no_number():
    assert paid([1.0, 2.0], [0, 0], [0, 0], [False, False]).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="advantage_std 'bach' is not known, did you mean 'batch'"):
        paid([1.0], [0], [0], [True], std="bach")


def test_tries_after_a_failure_point_along_the_gradient_of_the_states_reward():
    """All outcomes of two attempts, and of two tries only where both attempts failed, by their probabilities.

    A policy succeeds with p = sigmoid(theta), so grad log p is 1 - p or -p. Each of the two tries, measured
    against four turns, gives (1 - 1/4) p (1 - p), whatever the failures before them were.
    """
    p = 0.3
    chance = {1: p, 0: 1 - p}
    slope = {1: 1 - p, 0: -p}
    total = reached = 0.0
    for first in itertools.product((0, 1), repeat=2):
        if sum(first):
            continue
        weight = math.prod(chance[a] for a in first)
        reached += weight
        for second in itertools.product((0, 1), repeat=2):
            reward = [float(a) for a in (*first, *second)]
            spread = float(torch.tensor(reward).std(correction=0))
            value = paid(reward, [0] * 4, [0, 0, 1, 1], [False, False, True, True], clip=100.0)
            gains = [float(value[2 + at]) * (spread + 1e-4) * slope[a] for at, a in enumerate(second)]
            total += weight * math.prod(chance[a] for a in second) * sum(gains)
    assert total == pytest.approx(reached * 2 * (1 - 1 / 4) * p * (1 - p))
