"""Advantages of whole rollouts: which turns count, which train, and how many were in vain."""

import math
from types import SimpleNamespace

import pytest
import torch

from editenv.agents.edit_r2 import compute_advantages
from editenv.agents.metrics import group_by_turn, rollout_metrics
from editenv.agents.rollout import RolloutBatch
from editenv.agents.settings import OBJECTIVES, AlgorithmSettings
from editenv.agents.variants import score_parts
from editenv.registry import load_class
from editenv.types import Scores
from tests.tiny_editor import tiny_trainer

NAN = math.nan
WEIGHTS = {"instruction_following": 0.5, "global_awareness": 0.5, "rule_kept": 0.0}


def rollout_of(reward, following, sessions):
    """A plain rollout of one group; NaN marks turns that were not scored."""
    rows, columns = reward.shape
    columns_of = torch.arange(columns).expand(rows, -1)
    start = torch.stack([torch.arange(rows)[:, None].expand(-1, columns), columns_of], -1)
    return RolloutBatch(
        sessions=tuple(SimpleNamespace(scores=scores) for scores in sessions),
        turns={"intent_mask": torch.ones(rows, columns, 4).bool()},
        reward=reward,
        instruction_following=following,
        scored_mask=~reward.isnan(),
        group_id=torch.zeros(rows).long(),
        rng_keys=torch.zeros(rows, 4).long(),
        turn_index=columns_of.clone(),
        is_branch=torch.zeros(rows, columns).bool(),
        start_state=start,
        history=torch.full((rows, columns, columns - 1), -1),
        fallback_share=0.0,
    )


def played(*sessions):
    """A rollout of sessions given as (IF, GA) a turn; the reward is their mean."""
    scores = [
        [Scores(following, None, aware, reward=(following + aware) / 2) for following, aware in turns]
        for turns in sessions
    ]
    reward = torch.tensor([[score.reward for score in turns] for turns in scores], dtype=torch.float64)
    following = [[score.instruction_following for score in turns] for turns in scores]
    return rollout_of(reward, torch.tensor(following, dtype=torch.float64), scores)


def paid_and_log(rollout, group_size=2, weights=None, objective="policy", **settings):
    settings = AlgorithmSettings(**settings)
    parts = weights and score_parts(rollout, group_size, weights)
    paid = compute_advantages(rollout, group_size, settings, parts)
    used = load_class("objective", objective, OBJECTIVES).select(paid, settings)
    return paid, rollout_metrics(rollout, paid, used, group_size)


FAILED_FIRST = ((0.0, 0.0), (1.0, 0.0))
RIGHT = ((1.0, 1.0), (1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "wasted"), [("none", 0.0), ("first_failure", 0.25), ("exclude", 0.5), ("threshold", 0.25)]
)
def test_the_wasted_share_by_hand(name, wasted):
    """One of four turns is filtered; with `exclude` the other session's second turn has nobody to beat."""
    paid, log = paid_and_log(played(FAILED_FIRST, RIGHT), advantage="turn", filter=name)
    assert log["wasted_share"] == wasted
    assert log["filtered_share"] == (0.0 if name == "none" else 0.25)
    assert paid["loss_mask"].tolist() == [[True, name == "none"], [True, True]]


def test_a_group_without_a_difference_is_in_vain_too():
    _, log = paid_and_log(played(RIGHT, RIGHT))
    assert log["wasted_share"] == 1.0 and log["filtered_share"] == 0.0


def test_filtered_rewards_count_in_the_statistics_unless_excluded():
    rollout = played(FAILED_FIRST, RIGHT)
    first, second = (paid_and_log(rollout, filter=name)[0]["advantage"] for name in ("first_failure", "exclude"))
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
    rollout.reward[0, 1] = rollout.instruction_following[0, 1] = math.nan
    rollout.scored_mask[0, 1] = False
    first, second = (
        paid_and_log(rollout, weights=WEIGHTS, advantage=advantage, filter=name)[0]["advantage"]
        for name in ("first_failure", "exclude")
    )
    assert first[0].tolist() == [0.0, 0.0]
    assert second[0, 0] < -0.5 and second[0, 1] == 0.0


def test_fused_advantages_read_the_scores_that_are_paid_for():
    # session means: IF 0.5 and 1, GA 0 and 1, each standardised to -1 and 1 in its group
    fused = {"advantage": "fused", "advantage_std": "group", "filter": "none"}
    paid, _ = paid_and_log(played(FAILED_FIRST, RIGHT), weights=WEIGHTS, **fused)
    step = (0.25 / (0.25 + 1e-4) + 0.5 / (0.5 + 1e-4)) / 2
    assert paid["advantage"].tolist() == [[pytest.approx(-step, rel=1e-6)] * 2, [pytest.approx(step, rel=1e-6)] * 2]
    with pytest.raises(ValueError, match="fused"):
        paid_and_log(played(RIGHT, RIGHT), **fused)


def test_the_advantages_bound_is_a_setting():
    rollout = played(*[RIGHT] * 30, FAILED_FIRST)
    assert paid_and_log(rollout, 31, advantage_clip=1.5)[0]["advantage"].min() == -1.5
    assert paid_and_log(rollout, 31, advantage_clip=math.inf)[0]["advantage"].min() < -5


def rollout_from(rewards, following):
    reward = torch.tensor(rewards, dtype=torch.float64)
    scores = [Scores(1.0, None, 1.0, reward=0.5)]
    return rollout_of(reward, torch.tensor(following, dtype=torch.float64), [scores for _ in rewards])


def test_a_try_moves_no_return_and_is_paid_by_its_state():
    """The row that failed tries the second turn of the other row; 0.5 there is paid against 0.9."""

    def paid_of(value):
        one = rollout_from([[0.0, value], [0.3, 0.9]], [[0.0, 1.0], [1.0, 1.0]])
        one.is_branch[0, 1] = True
        one.start_state[0, 1] = one.start_state[1, 1]
        settings = {"advantage": "return_to_go", "advantage_std": "group", "filter": "exclude"}
        paid, _ = paid_and_log(one, branch_from_sibling=True, **settings)
        assert paid["loss_mask"].all()
        return paid["advantage"]

    paid, worse = paid_of(0.5), paid_of(0.1)
    ordinary = [(0, 0), (1, 0), (1, 1)]
    assert all(paid[at] == worse[at] for at in ordinary) and paid[1, 0] > 0
    assert paid[0, 1].item() == pytest.approx(-0.2 / (0.2 + 1e-4))
    assert worse[0, 1].item() == pytest.approx(-0.4 / (0.4 + 1e-4))


@pytest.mark.parametrize(
    ("name", "more", "wasted"),
    [
        ("policy", {}, 2 / 4),
        ("policy", {"flow_kl": 0.1}, 1 / 4),
        ("nft", {}, 2 / 4),
        ("rft", {}, 3 / 4),
        ("supervised", {}, 0.0),
    ],
)
def test_what_is_wasted_depends_on_what_the_objective_uses(name, more, wasted):
    """Of four turns one follows a failure and one has nobody to beat; one of the others is the better."""
    one = rollout_from([[0.0, 0.4], [0.8, 0.4]], [[0.0, 1.0], [1.0, 1.0]])
    _, log = paid_and_log(one, objective=name, advantage="turn", filter="exclude", **more)
    assert log["wasted_share"] == wasted


def test_turns_that_were_never_played_are_no_waste_and_unscored_ones_are():
    one = rollout_from([[0.0, 0.0], [0.8, 0.4]], [[1.0, NAN], [1.0, 1.0]])
    one.scored_mask[0, 1], one.turn_index[0, 1] = False, -1
    assert paid_and_log(one, objective="supervised", filter="none")[1]["wasted_share"] == 0.0
    one.reward[0, 1], one.turn_index[0, 1] = NAN, 1
    assert paid_and_log(one, objective="supervised", filter="none")[1]["wasted_share"] == 1 / 4


def test_a_trainer_learns_from_what_is_played_in_place_of_lost_turns(tmp_path):
    branching = {"branch_from_sibling": True, "filter": "exclude", "advantage": "turn"}
    trainer = tiny_trainer(tmp_path, group_size=4, iterations=2, **branching)
    trainer.train()
    logs = group_by_turn(trainer.state.log_history, 2)
    assert [log["iteration"] for log in logs] == [0, 1]
    for log in logs:
        assert log["filtered_share"] == 0.0 and log["text_grad_norm"] > 0 and log["flow_grad_norm"] > 0


def test_the_texts_advantages_may_stay_unbounded():
    rollout = played(*[RIGHT] * 30, FAILED_FIRST)
    both = [paid_and_log(rollout, 31, advantage_clip=1.5, clip_text_advantage=clip)[0] for clip in (True, False)]
    assert [float(paid["advantage"].min()) for paid in both] == [-1.5, -1.5]
    assert float(both[0]["text_advantage"].min()) == -1.5 and float(both[1]["text_advantage"].min()) < -5
