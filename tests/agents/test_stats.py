import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest

from editenv.agents.stats import Interval, bootstrap_interval, paired_difference, summarise, summarise_difference


def test_interval_agrees_with_the_normal_one_on_many_values():
    values = np.random.default_rng(0).normal(0.4, 0.2, 2000).tolist()
    interval = bootstrap_interval(values, resamples=4000)
    half = 1.96 * np.std(values) / math.sqrt(2000)
    assert interval.value == pytest.approx(np.mean(values))
    assert interval.low == pytest.approx(interval.value - half, abs=0.1 * half)
    assert interval.high == pytest.approx(interval.value + half, abs=0.1 * half)
    assert interval.count == 2000


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        interval = bootstrap_interval((rng.random(60) < 0.3).astype(float).tolist(), 0.9, 400, seed)
        hits += interval.low <= 0.3 <= interval.high
    # 180 expected, binomial standard deviation 4.2
    assert 160 <= hits <= 195


def test_missing_values_are_left_out_and_not_zeros():
    values = [1.0, None, 0.0, float("nan"), 1.0, 1.0]
    assert bootstrap_interval(values) == bootstrap_interval([1.0, 0.0, 1.0, 1.0])
    assert bootstrap_interval(values).value == 0.75 and bootstrap_interval(values).count == 4


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(2).random(50).tolist()
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_a_higher_level_is_wider():
    values = np.random.default_rng(2).random(50).tolist()
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_few_and_constant_values_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bootstrap_interval([]) == Interval(None, None, None, 0)
        assert bootstrap_interval([None, None]) == Interval(None, None, None, 0)
        assert bootstrap_interval([0.5]) == Interval(0.5, None, None, 1)
        assert bootstrap_interval([0.85] * 18) == Interval(0.85, 0.85, 0.85, 18)
        two = bootstrap_interval([0.0, 1.0])
    assert (two.low, two.high) == (0.0, 1.0)


def test_pairing_removes_what_both_share():
    difficulty = np.random.default_rng(3).random(100)
    gain = paired_difference([difficulty + 0.1], [difficulty])
    assert gain.value == pytest.approx(0.1)
    assert gain.high - gain.low < 1e-9


def test_only_whole_pairs_count():
    gain = paired_difference([[1.0, 1.0, float("nan"), 0.0]], [[0.0, None, 1.0, 0.0]])
    assert gain.value == 0.5 and gain.count == 2


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="got 1 and 2 sessions"):
        paired_difference([[1.0]], [[1.0, 0.0]])
    with pytest.raises(ValueError, match="level: got 95"):
        bootstrap_interval([1.0, 0.0], level=95)
    with pytest.raises(ValueError, match="infinite"):
        bootstrap_interval([1.0, math.inf])


SCORES = {
    "instruction_following": [[1.0, 0.0], [1.0, 1.0], [1.0, None], [1.0]],
    "rule_kept": [[None, None], [None, 1.0], [None, 0.0], [None]],
}


def test_means_intervals_and_counts_by_hand():
    summary = summarise(SCORES)
    assert summary["instruction_following"] == [1.0, 0.5]
    assert summary["rule_kept"] == [None, 0.5]
    assert summary["intervals"]["instruction_following"] == [[1.0, 1.0], [0.0, 1.0]]
    assert summary["intervals"]["rule_kept"][0] == [None, None]
    assert summary["scored"] == {"instruction_following": [4, 2], "rule_kept": [0, 2]}
    assert summary["sessions"] == 4


def test_a_summary_is_strict_json():
    summary = summarise(SCORES)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_no_session_at_all():
    assert summarise({"reward": []}) == {
        "reward": [],
        "intervals": {"reward": []},
        "scored": {"reward": []},
        "sessions": 0,
    }


def test_difference_pairs_the_sessions():
    base = {"reward": [[0.0, 0.0], [1.0, None]], "rule_kept": [[1.0], [1.0]]}
    trained = {"reward": [[1.0, 1.0], [1.0, 1.0]]}
    difference = summarise_difference(base, trained)
    assert difference["reward"] == [0.5, 1.0]
    assert difference["scored"] == {"reward": [2, 1]}
    assert difference["intervals"]["reward"] == [[0.0, 1.0], [None, None]]
    assert "rule_kept" not in difference and difference["sessions"] == 2


def test_different_sessions_are_refused():
    with pytest.raises(ValueError, match="sessions: got 1 of base and 2 of trained"):
        summarise_difference({"reward": [[1.0]]}, {"reward": [[1.0], [0.0]]})
    with pytest.raises(ValueError, match="scores: got sessions"):
        summarise({"reward": [[1.0]], "rule_kept": []})


def test_reporting_imports_neither_torch_nor_trl():
    code = (
        "import sys, editenv.agents.tables, editenv.agents.plots;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'trl', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
