"""What turns are paid, and how many were in vain."""

import math
from types import SimpleNamespace

import pytest
import torch

from editenv.agents.edit_r2.credit import CreditSettings, credit, score_weights
from editenv.agents.edit_r2.rollout import Rollout
from editenv.types import Scores

WEIGHTS = {"instruction_following": 0.5, "global_awareness": 0.5, "rule_kept": 0.0}


def played(*sessions):
    """A rollout of sessions given as (IF, GA) a turn; the reward is their mean."""
    scores = [
        [Scores(following, None, aware, reward=(following + aware) / 2) for following, aware in turns]
        for turns in sessions
    ]
    reward = torch.tensor([[score.reward for score in turns] for turns in scores], dtype=torch.float64)
    following = [[score.instruction_following for score in turns] for turns in scores]
    tensors = {
        "reward": reward,
        "instruction_following": torch.tensor(following, dtype=torch.float64),
        "valid": torch.ones_like(reward).bool(),
        "intent_mask": torch.ones(*reward.shape, 4).bool(),
    }
    return Rollout(tuple(SimpleNamespace(scores=turns) for turns in scores), tensors, 0.0)


FAILED_FIRST = ((0.0, 0.0), (1.0, 0.0))
RIGHT = ((1.0, 1.0), (1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "wasted"), [("none", 0.0), ("first_failure", 0.25), ("exclude", 0.5), ("threshold", 0.25)]
)
def test_the_wasted_share_by_hand(name, wasted):
    """One of four turns is filtered; with `exclude` the other session's second turn has nobody to beat."""
    settings = CreditSettings(advantage="turn", filter=name)
    paid, log = credit(played(FAILED_FIRST, RIGHT), 2, settings, {})
    assert log["wasted_share"] == wasted
    assert log["filtered_share"] == (0.0 if name == "none" else 0.25)
    assert paid["keep"].tolist() == [[True, name == "none"], [True, True]]


def test_a_group_without_a_difference_is_in_vain_too():
    _, log = credit(played(RIGHT, RIGHT), 2, CreditSettings(), {})
    assert log["wasted_share"] == 1.0 and log["filtered_share"] == 0.0


def test_filtered_rewards_count_in_the_statistics_unless_excluded():
    rollout = played(FAILED_FIRST, RIGHT)
    first, second = (
        credit(rollout, 2, CreditSettings(filter=name), {})[0]["advantage"]
        for name in ("first_failure", "exclude")
    )
    # rewards 0, 0.5, 1, 1: mean 0.625; without the filtered 0.5: mean 2/3
    assert first[0, 0] / first[1, 0] == pytest.approx(-0.625 / 0.375)
    assert second[0, 0] / second[1, 0] == pytest.approx(-2.0) and second[0, 1] == 0


@pytest.mark.parametrize("advantage", ["return_to_go", "broadcast", "fused"])
def test_a_turn_that_does_not_count_need_not_be_known(advantage):
    """The judge fails after a failed turn: `exclude` never asks for it, and the failed turn still trains.

    Where filtered turns count the session's return is unknown, and teaches nothing.
    """
    rollout = played(FAILED_FIRST, RIGHT)
    rollout.sessions[0].scores[1] = Scores(error="judge: timed out")
    rollout.tensors["reward"][0, 1] = rollout.tensors["instruction_following"][0, 1] = math.nan
    rollout.tensors["valid"][0, 1] = False
    first, second = (
        credit(rollout, 2, CreditSettings(advantage, filter=name), WEIGHTS)[0]["advantage"]
        for name in ("first_failure", "exclude")
    )
    assert first[0].tolist() == [0.0, 0.0]
    assert second[0, 0] < -0.5 and second[0, 1] == 0.0


def test_fused_advantages_read_the_scores_that_are_paid_for():
    # session means: IF 0.5 and 1, GA 0 and 1, each standardised to -1 and 1 in its group
    settings = CreditSettings(advantage="fused", advantage_std="group", filter="none")
    paid, _ = credit(played(FAILED_FIRST, RIGHT), 2, settings, WEIGHTS)
    step = (0.25 / (0.25 + 1e-4) + 0.5 / (0.5 + 1e-4)) / 2
    assert paid["advantage"].tolist() == [
        [pytest.approx(-step, rel=1e-6)] * 2,
        [pytest.approx(step, rel=1e-6)] * 2,
    ]
    with pytest.raises(ValueError, match="fused"):
        credit(played(RIGHT, RIGHT), 2, settings, {})


def test_the_advantages_bound_is_a_setting():
    rollout = played(*[RIGHT] * 30, FAILED_FIRST)
    assert credit(rollout, 31, CreditSettings(advantage_clip=1.5), {})[0]["advantage"].min() == -1.5
    assert credit(rollout, 31, CreditSettings(advantage_clip=math.inf), {})[0]["advantage"].min() < -5


def test_weights_come_from_the_scorer_that_has_some():
    weights = SimpleNamespace(by_name=lambda: WEIGHTS)
    envs = SimpleNamespace(engine=SimpleNamespace(scorer=SimpleNamespace(weights=weights)))
    assert score_weights(envs) == WEIGHTS
    assert score_weights(SimpleNamespace(engine=SimpleNamespace(scorer=object()))) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advantage": "poold"}, "advantage 'poold' is not known, did you mean 'pooled'"),
        ({"filter": "first_failures"}, "filter 'first_failures' is not known, did you mean 'first_failure'"),
        ({"advantage": "xyz"}, "advantage 'xyz' is not known, expected one of broadcast, fused, pooled"),
        ({"advantage_std": "groups"}, "advantage_std 'groups' is not known, did you mean 'group'"),
        ({"advantage_clip": 0.0}, "advantage_clip is 0.0, expected above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CreditSettings(**changes)
