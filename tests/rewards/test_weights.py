"""The reward is the published weighted sum, and a missing score never counts as zero."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from editenv.rewards.weights import RewardWeights, weighted_reward, weights_from_json, with_reward
from editenv.types import Scores

PUBLISHED = RewardWeights()


def test_published_weights() -> None:
    assert weighted_reward(Scores(1.0, 1.0, 1.0), PUBLISHED) == pytest.approx(1.0)
    assert weighted_reward(Scores(1.0, 0.5, 0.0), PUBLISHED) == pytest.approx(0.3 + 0.15)
    assert weighted_reward(Scores(0.0, 0.0, 1.0), PUBLISHED) == pytest.approx(0.4)


def test_score_that_does_not_apply_rescales_the_rest() -> None:
    assert weighted_reward(Scores(1.0, None, 0.0), PUBLISHED) == pytest.approx(0.3 / 0.7)
    assert weighted_reward(Scores(1.0, None, 1.0), PUBLISHED) == pytest.approx(1.0)
    assert weighted_reward(Scores(), PUBLISHED) == 0.0


def test_failed_judge_pays_nothing() -> None:
    failed = Scores(1.0, 1.0, 1.0, error="no answer in 30 seconds")
    assert with_reward(failed, PUBLISHED).reward == 0.0


def test_weights_by_name_leave_the_others_at_zero() -> None:
    weights = weights_from_json({"global_awareness": 2.0})
    assert weighted_reward(Scores(0.0, 0.0, 0.5), weights) == 1.0
    assert weights_from_json(None) == PUBLISHED


def test_unpaid_scores_change_nothing() -> None:
    assert weighted_reward(Scores(1.0, 1.0, 1.0, turn_consistency=0.0, rule_kept=0.0), PUBLISHED) == 1.0


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), "0.3", True])
def test_bad_weight_is_named(weight: object) -> None:
    with pytest.raises(ValueError, match="content_consistency"):
        weights_from_json({"content_consistency": weight})  # type: ignore[dict-item]


def test_unknown_and_empty_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="'beauty' names no score"):
        weights_from_json({"beauty": 1.0})
    with pytest.raises(ValueError, match="all reward weights are 0"):
        weights_from_json({})


def test_nothing_but_the_reward_is_changed_by_it() -> None:
    """Fails where Scores gets a field that the reward's copy forgets."""
    scores = Scores(*[0.1 * number for number in range(5)], reward=9.0, detail={"a": 1}, error="e")
    assert with_reward(scores, RewardWeights()) == replace(scores, reward=0.0)
    unscored = replace(scores, error=None)
    paid = weighted_reward(unscored, PUBLISHED)
    assert paid > 0 and with_reward(unscored, PUBLISHED) == replace(unscored, reward=paid)
    assert len(fields(Scores)) == 8
