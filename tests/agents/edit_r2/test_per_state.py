"""What further tries from a state are paid, by hand and in expectation."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from editenv.agents.variants import per_state

NAN = math.nan


def paid(reward, state, when, again, std="batch"):
    """Turns one a row, in columns of their own; what was not played is not scored."""
    rows, columns = len(reward), max(when) + 1
    where = torch.arange(rows), torch.tensor(when)
    value = torch.full((rows, columns), NAN, dtype=torch.float64)
    value[where] = torch.tensor(reward, dtype=torch.float64)
    start = torch.full((rows, columns, 2), -1)
    start[where] = torch.tensor([[name, 0] for name in state])
    branch = torch.zeros(rows, columns, dtype=torch.bool)
    branch[where] = torch.tensor(again)
    rollout = SimpleNamespace(reward=value, scored_mask=~value.isnan(), start_state=start, is_branch=branch)
    return per_state(rollout, std=std)[where]


def test_tries_are_paid_against_their_state_until_then_and_nothing_else_is():
    # state 5: an attempt's turn worth 1, two tries at once worth 0 and 2, one later worth 5, one unscored
    value = paid(
        [1.0, 0.0, 2.0, 5.0, NAN, 9.0], [5, 5, 5, 5, 5, 6], [1, 1, 1, 2, 2, 1], [False, True, True, True, True, False]
    )
    spread = torch.tensor([1.0, 0.0, 2.0, 5.0, 9.0]).double().std(correction=0)
    expected = torch.tensor([0.0, -1.0, 1.0, 3.0, 0.0, 0.0]).double() / (spread + 1e-4)
    torch.testing.assert_close(value, expected)


def test_the_spread_of_a_group_is_that_of_what_it_is_measured_against():
    value = paid([1.0, 0.0, 9.0], [5, 5, 6], [0, 0, 0], [False, True, False], std="group")
    assert value.tolist() == pytest.approx([0.0, -0.5 / (0.5 + 1e-4), 0.0])


def test_no_try_no_number():
    assert paid([1.0, 2.0], [0, 0], [0, 0], [False, False]).tolist() == [0.0, 0.0]


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
            value = paid(reward, [0] * 4, [0, 0, 1, 1], [False, False, True, True])
            gains = [float(value[2 + at]) * (spread + 1e-4) * slope[a] for at, a in enumerate(second)]
            total += weight * math.prod(chance[a] for a in second) * sum(gains)
    assert total == pytest.approx(reached * 2 * (1 - 1 / 4) * p * (1 - p))
