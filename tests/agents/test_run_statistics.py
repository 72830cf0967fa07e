"""Statistics equal rliable's stored values, and hand-derived ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from editenv.agents.stats import (
    cautions,
    estimate,
    gap_closed,
    iqm,
    paired_difference,
    pass_at_k,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)

CASES = json.loads((Path(__file__).parents[1] / "data" / "rliable.json").read_text())["cases"]
# Two bootstraps of some thousand resamples differ by about this much of the interval's width.
NOISE = 0.05


def close(interval, expected):
    width = expected[1] - expected[0]
    return np.allclose(interval, expected, atol=max(NOISE * width, 1e-12), rtol=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("arm", ["A", "B"])
def test_iqm_equals_rliable(case, arm):
    assert iqm(case[arm]) == pytest.approx(case["iqm"][arm], abs=1e-9)
    assert close(stratified_bootstrap(iqm, case[arm]), case["iqm_interval"][arm])


@pytest.mark.parametrize("case", CASES)
def test_probability_of_improvement_equals_rliable(case):
    assert probability_of_improvement(case["B"], case["A"]) == pytest.approx(
        case["probability_of_improvement"], abs=1e-9
    )
    found = stratified_bootstrap(probability_of_improvement, case["B"], case["A"], resamples=1500)
    assert close(found, case["probability_interval"])


@pytest.mark.parametrize("case", CASES)
def test_performance_profiles_equal_rliable(case):
    for arm in ("A", "B"):
        assert performance_profile(case[arm], case["taus"]) == pytest.approx(case["profile"][arm], abs=1e-9)


def test_iqm_by_hand():
    assert iqm([[0.0], [1.0], [2.0], [100.0]]) == pytest.approx(1.5)


def test_one_run_has_no_interval():
    assert estimate(iqm, [[0.5, 0.7]]).low is None


def test_paired_difference_by_hand():
    same = paired_difference([[0, 1, 1, 0]] * 2, [[0, 1, 0, 0]] * 3)
    assert same.value == pytest.approx(0.25)
    assert same.low is not None and same.high is not None and same.low <= 0.25 <= same.high


def test_pairing_takes_the_sessions_difficulty_out():
    """Sessions differ much, arms by 0.1: the interval is a point. Fails where arms are drawn apart."""
    hard = np.linspace(0, 1, 50)
    found = paired_difference([hard + 0.1], [hard])
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_missing_scores_are_left_out():
    assert paired_difference([[1, np.nan, 1]], [[0, 0, 0]]).value == pytest.approx(1.0)


def test_other_sessions_are_refused():
    with pytest.raises(ValueError, match="3 and 2 sessions"):
        paired_difference([[1, 1, 1]], [[0, 0]])


def test_pass_at_k_by_hand():
    # One success in three tries: C(2,1)/C(3,1) = 2/3 miss with one try, C(2,2)/C(3,2) = 1/3 with two.
    tries = [[1, 0], [0, 0], [0, 0]]
    assert pass_at_k(tries, 1) == pytest.approx((1 / 3 + 0) / 2)
    assert pass_at_k(tries, 2) == pytest.approx((2 / 3 + 0) / 2)
    with pytest.raises(ValueError, match="k is 4, expected 1 to 3"):
        pass_at_k(tries, 4)


def test_share_of_the_gap_by_hand():
    assert gap_closed(0.5, 0.6, 1.0) == pytest.approx(0.2)
    assert gap_closed(1.0, 1.0, 1.0) is None


def test_few_seeds_are_said():
    assert any("One seed" in said for said in cautions(1, 1024))
    assert any("3 seeds" in said for said in cautions(3, 1024))
    assert cautions(5, 1024) == []
