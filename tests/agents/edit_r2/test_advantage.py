from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from editenv.agents import edit_r2, variants
from editenv.agents.metrics import constant_groups as share_of_constant_groups
from editenv.agents.settings import ADVANTAGES
from editenv.agents.variants import ScoreParts
from editenv.registry import load_class

DATA = dict(np.load(Path(__file__).parents[2] / "data" / "advantage.npz"))
NAN = float("nan")


def of(function, rewards, scored=None, **more):
    return function(rewards, ~rewards.isnan() if scored is None else scored, **more)


def pooled(rewards, scored=None, **more):
    return of(edit_r2.pooled, rewards, scored, **more)


def per_turn(rewards, scored=None, **more):
    return of(variants.per_turn, rewards, scored, **more)


def return_to_go(rewards, scored=None, **more):
    return of(variants.return_to_go, rewards, scored, **more)


def broadcast(rewards, scored=None, **more):
    return of(variants.broadcast, rewards, scored, **more)


def fused(rewards, scored=None, **more):
    return of(variants.fused, rewards, scored, **more)


def constant_groups(rewards, scored=None, **more):
    return of(share_of_constant_groups, rewards, scored, **more)


def advantage_of(name, rewards, scored=None):
    """By name, of rewards that one score alone makes up."""
    parts = ScoreParts(rewards[..., None], torch.ones(1))
    return of(load_class("advantage", name, ADVANTAGES), rewards, scored, parts=parts)


def fixture(name):
    return torch.from_numpy(DATA[name])


@pytest.mark.parametrize(("source", "tolerance"), [("rewards_total_fp32", 1e-9), ("rewards_total", 1e-5)])
def test_pooled_reproduces_the_published_advantages(source, tolerance):
    rewards = fixture(source)
    raw = pooled(rewards)
    assert float((raw - fixture("global_std.adv_raw")).abs().max()) < tolerance
    masked = pooled(rewards).clamp(-5, 5) * fixture("mask")
    assert float((masked - fixture("global_std.adv_image_clipped")).abs().max()) < tolerance


def test_per_turn_reproduces_the_reference_tracker_keyed_by_turn():
    ours = per_turn(fixture("rewards_total_fp32"))
    assert float((ours - fixture("global_std.alt_per_turn_group_adv_raw")).abs().max()) < 1e-9


def test_pooled_by_hand():
    # group means 0.5 and 1, batch mean 0.75, batch variance (9/16 + 1/16 + 1/16 + 1/16) / 4 = 3/16
    rewards = torch.tensor([[[0.0], [1.0]], [[1.0], [1.0]]])
    step = 0.5 / ((3 / 16) ** 0.5 + 1e-4)
    assert pooled(rewards).flatten().tolist() == pytest.approx([-step, step, 0.0, 0.0])


def test_per_turn_does_not_reward_an_easy_turn():
    rewards = torch.tensor([[[1.0, 0.0], [1.0, 0.5]]])
    easy, hard = per_turn(rewards)[0].unbind(dim=1)
    assert easy.tolist() == [0.0, 0.0]
    assert hard[0] < 0 < hard[1]
    assert (pooled(rewards)[0, :, 0] > 0).all()


@pytest.mark.parametrize("name", ADVANTAGES)
def test_an_invalid_turn_gets_zero_and_leaves_the_statistics(name):
    rewards = torch.tensor([[[0.2], [0.8], [1000.0]]])
    valid = torch.tensor([[[True], [True], [False]]])
    alone = advantage_of(name, rewards[:, :2])
    assert advantage_of(name, rewards, valid).flatten().tolist() == [*alone.flatten().tolist(), 0.0]


@pytest.mark.parametrize("name", ADVANTAGES)
def test_a_turn_without_a_score_counts_as_invalid(name):
    rewards = torch.tensor([[[0.2], [0.8], [NAN]]])
    valid = torch.tensor([[[True], [True], [False]]])
    expected = advantage_of(name, rewards, valid)
    assert torch.equal(advantage_of(name, rewards), expected)
    assert torch.equal(advantage_of(name, rewards, torch.ones_like(valid)), expected)


@pytest.mark.parametrize("name", ADVANTAGES)
def test_nothing_scored_teaches_nothing(name):
    nothing = torch.zeros(2, 3, 1, dtype=torch.float64)
    assert torch.equal(advantage_of(name, torch.full((2, 3, 1), NAN)), nothing)


def test_the_std_of_each_group_by_hand():
    # group means 0.5 and 1, stds 0.5 and 0: the second group has no spread to be measured by
    rewards = torch.tensor([[[0.0], [1.0]], [[1.0], [1.0]]])
    step = 0.5 / (0.5 + 1e-4)
    assert pooled(rewards, std="group").flatten().tolist() == pytest.approx([-step, step, 0.0, 0.0])


def test_return_to_go_by_hand():
    # returns 1, 1 and 1, 0: nothing to choose at the first turn; batch mean 0.75, variance 3/16
    rewards = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    step = 0.5 / ((3 / 16) ** 0.5 + 1e-4)
    assert return_to_go(rewards).flatten().tolist() == pytest.approx([0.0, step, 0.0, -step])
    assert per_turn(rewards)[0, :, 0].tolist() != [0.0, 0.0]


def test_an_excluded_turn_adds_nothing_to_a_return():
    rewards = torch.tensor([[[0.0, 1.0], [1.0, 9.0]]])
    valid = torch.tensor([[[True, True], [True, False]]])
    # returns 1, 1 and 1, nothing: no difference at either turn
    assert return_to_go(rewards, valid).flatten().tolist() == [0.0, 0.0, 0.0, 0.0]


def test_a_judge_that_failed_leaves_the_returns_before_it_unknown():
    """Fails where a missing score counts as 0 in a return."""
    rewards = torch.tensor([[[0.0, 1.0, 0.5], [1.0, NAN, 0.5], [0.5, 0.0, 1.0]]])
    advantages = return_to_go(rewards)[0]
    assert advantages[1, :2].tolist() == [0.0, 0.0] and advantages[1, 2] != 0
    assert advantages[0, 0] == -advantages[2, 0] == 0.0, "1.5 each"
    assert advantages[0, 1] > 0 > advantages[2, 1]
    assert broadcast(rewards)[0, 1].tolist() == [0.0, 0.0, 0.0]


def test_broadcast_by_hand():
    # session means 0.5, 1, 0.5, 0.5; group means 0.75 and 0.5; batch variance (3 * 1/64 + 9/64) / 4 = 3/64
    rewards = torch.tensor([[[0.0, 1.0], [1.0, 1.0]], [[0.5, 0.5], [0.25, 0.75]]])
    step = 0.25 / ((3 / 64) ** 0.5 + 1e-4)
    assert broadcast(rewards).flatten().tolist() == pytest.approx([-step, -step, step, step] + [0.0] * 4)


def test_fused_by_hand():
    """Two scores of weight 0.25 and 0.75; the second varies a tenth as much, yet weighs its weight."""
    scores = torch.tensor([[[[0.0, 0.5]], [[1.0, 0.4]]]])
    rewards = scores @ torch.tensor([0.25, 0.75])
    parts = ScoreParts(scores, torch.tensor([0.25, 0.75]))
    step = 0.75 * 0.05 / (0.05 + 1e-4) - 0.25 * 0.5 / (0.5 + 1e-4)
    ours = fused(rewards, parts=parts, std="group")
    assert ours.flatten().tolist() == pytest.approx([step, -step], rel=1e-5)
    assert broadcast(rewards)[0, 0] < 0 < ours[0, 0], "summed up first, the wide score decides"


def test_a_score_that_does_not_apply_leaves_its_weight_to_the_others():
    scores = torch.tensor([[[[0.0, NAN]], [[1.0, NAN]]]])
    parts = ScoreParts(scores, torch.tensor([0.25, 0.75]))
    step = 0.5 / (0.5 + 1e-4)
    assert fused(scores[..., 0], parts=parts).flatten().tolist() == pytest.approx([-step, step])


def test_fused_needs_the_scores():
    with pytest.raises(ValueError, match="fused"):
        fused(torch.zeros(1, 2, 1))


@given(st.lists(st.floats(0, 1, width=32), min_size=12, max_size=12))
def test_advantages_are_centred_in_their_group_and_ordered_as_the_rewards(values):
    rewards = torch.tensor(values).reshape(2, 3, 2)
    advantages = pooled(rewards)
    assert advantages.dtype == torch.float64
    assert advantages.mean(dim=(1, 2)).abs().max() < 1e-9
    for group in range(2):
        order = rewards[group].flatten().argsort(stable=True)
        assert (advantages[group].flatten()[order].diff() >= 0).all()


def test_eighteen_equal_rewards_are_constant_although_their_float32_std_is_not_zero():
    rewards = torch.full((1, 6, 3), 0.85)
    rewards[0, 0, 0] = 0.3 * torch.tensor(1.0) + 0.3 * torch.tensor(0.5) + 0.4 * torch.tensor(1.0)
    assert np.std(np.full(18, 0.85, dtype=np.float32)) > 0
    assert constant_groups(rewards) == 1.0
    assert pooled(rewards).abs().max() < 1e-2


def test_constant_groups_is_a_share_over_valid_turns():
    rewards = torch.tensor([[[0.5], [0.5]], [[0.5], [0.6]], [[0.5], [NAN]], [[NAN], [NAN]]])
    assert constant_groups(rewards) == 0.75
    assert constant_groups(rewards[:2]) == 0.5
    valid = torch.ones(2, 2, 1, dtype=torch.bool)
    valid[1, 1] = False
    assert constant_groups(rewards[:2], valid) == 1.0
    assert constant_groups(rewards[:2], tolerance=0.2) == 1.0


def test_wrong_shapes_and_infinite_rewards_are_refused():
    with pytest.raises(ValueError, match=r"rewards and scored: got shapes"):
        pooled(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"rewards and scored: got shapes"):
        pooled(torch.zeros(1, 3, 2), torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="infinite"):
        pooled(torch.full((1, 2, 1), float("inf")))
