import math
from pathlib import Path

import numpy as np
import pytest
import torch

from editenv.agents.edit_r2.advantage import pooled
from editenv.agents.edit_r2.filter import first_failure
from editenv.agents.edit_r2.loss import (
    PolicyTerm,
    clip_fraction,
    clipped_policy_loss,
    joint_loss,
    ratio_error,
)

DATA = dict(np.load(Path(__file__).parents[2] / "data" / "advantage.npz"))


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 1.0, -1.1, -1.1),
        (1.5, 1.0, -1.2, 0.0),  # already pushed far enough: clipped, no gradient
        (0.5, 1.0, -0.5, -0.5),  # wrong side: the gradient stays
        (0.5, -1.0, 0.8, 0.0),
        (1.5, -1.0, 1.5, 1.5),
    ],
)
def test_clipped_loss_and_its_slope_by_hand(ratio, advantage, expected, slope):
    log_prob = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    loss = clipped_policy_loss(log_prob, torch.zeros(1, dtype=torch.float64), torch.tensor([advantage]), 0.2)
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(expected)
    assert log_prob.grad is not None and float(log_prob.grad) == pytest.approx(slope)


def test_old_log_prob_and_advantage_get_no_gradient_and_the_type_stays():
    old = torch.zeros(2, requires_grad=True)
    advantage = torch.ones(2, dtype=torch.float64, requires_grad=True)
    loss = clipped_policy_loss(torch.zeros(2, requires_grad=True), old, advantage, 0.2)
    loss.sum().backward()
    assert old.grad is None and advantage.grad is None and loss.dtype == torch.float32


def test_an_advantage_that_could_broadcast_along_tokens_is_refused():
    with pytest.raises(ValueError, match="advantage: got shape"):
        clipped_policy_loss(torch.zeros(3, 3), torch.zeros(3, 3), torch.ones(3), 0.2)


def test_clip_fraction_and_ratio_error_by_hand():
    log_prob = torch.log(torch.tensor([1.0, 1.3, 0.7, 1.05], dtype=torch.float64))
    old = torch.zeros(4, dtype=torch.float64)
    assert float(clip_fraction(log_prob, old, 0.2)) == 0.5
    assert ratio_error(log_prob, old) == pytest.approx(0.3)
    mask = torch.tensor([True, False, False, True])
    assert float(clip_fraction(log_prob, old, 0.04, mask)) == 0.5
    assert ratio_error(log_prob, old, mask) == pytest.approx(0.05)
    assert float(clip_fraction(log_prob, old, 0.2, torch.zeros(4, dtype=torch.bool))) == 0.0


def test_ratio_error_sees_differences_far_below_float32s_spacing_at_one_and_reports_nan():
    assert ratio_error(torch.tensor([1e-9]), torch.tensor([0.0])) == pytest.approx(1e-9)
    assert math.isnan(ratio_error(torch.tensor([math.nan]), torch.tensor([0.0])))


def term(log_prob, mask=None, **settings):
    old = log_prob.detach().clone()
    mask = torch.ones_like(log_prob, dtype=torch.bool) if mask is None else mask
    return PolicyTerm(log_prob, settings.pop("old", old), mask, settings.pop("clip", 0.2), **settings)


def zeros(*shape):
    return torch.zeros(*shape, requires_grad=True)


ON = torch.ones(2, dtype=torch.bool)


def test_joint_loss_by_hand():
    # at ratio 1 each element's loss is -A; turn 0 has 2 tokens, turn 1 wrote no intent
    text_mask = torch.tensor([[True, True, False], [False, False, False]])
    flow, text = term(zeros(2, 2), weight=3.0), term(zeros(2, 3), text_mask, weight=0.5)
    result = joint_loss(flow, text, torch.tensor([1.0, -2.0]), ON, ON)
    assert float(result.parts["flow_loss"]) == pytest.approx((-1 + 2) / 2)
    assert float(result.parts["text_loss"]) == pytest.approx(-1 / 2)
    assert float(result.total.detach()) == pytest.approx(3.0 * 0.5 + 0.5 * -0.5)
    assert not any(part.requires_grad for part in result.parts.values())


def gradient(flow_steps=2, flow_weight=1.0, text_weight=1.0, keep=ON, valid=ON):
    flow, text = zeros(2, flow_steps), zeros(2, 3)
    terms = term(flow, weight=flow_weight), term(text, weight=text_weight)
    joint_loss(*terms, torch.tensor([1.0, -2.0]), keep, valid).total.backward()
    assert flow.grad is not None and text.grad is not None
    return flow.grad, text.grad


def test_each_token_weighs_one_over_turns_and_tokens_whatever_the_number_of_flow_steps():
    for steps in (1, 2, 5):
        flow, text = gradient(flow_steps=steps)
        assert text[0].tolist() == pytest.approx([-1 / 6] * 3)
        assert flow[1].tolist() == pytest.approx([2 / (2 * steps)] * steps)


def test_the_two_weights_are_independent():
    flow, text = gradient()
    flow_only, no_text = gradient(text_weight=0.0)
    no_flow, text_only = gradient(flow_weight=0.0)
    assert torch.equal(flow, flow_only) and torch.equal(text, text_only)
    assert not no_text.any() and not no_flow.any()


@pytest.mark.parametrize("switch", ["keep", "valid"])
def test_a_turn_that_is_filtered_or_unscored_trains_neither_space_and_is_not_made_up_for(switch):
    flow, text = gradient()
    flow_off, text_off = gradient(**{switch: torch.tensor([True, False])})
    assert torch.equal(flow_off[0], flow[0]) and torch.equal(text_off[0], text[0])
    assert not flow_off[1].any() and not text_off[1].any()


def test_padding_may_hold_anything():
    text = torch.tensor([[0.0, math.nan], [0.0, 1e30]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, False]])
    result = joint_loss(None, term(text, mask, old=torch.zeros(2, 2)), torch.tensor([1.0, -2.0]), ON, ON)
    result.total.backward()
    assert text.grad is not None and text.grad.tolist() == [[-0.5, 0.0], [1.0, 0.0]]
    assert set(result.parts) == {"text_loss", "text_clip_fraction"}


def test_kl_enters_with_its_weight_and_is_logged_over_training_elements_only():
    kl = torch.tensor([[0.1, 0.3], [9.0, 9.0]], requires_grad=True)
    keep = torch.tensor([True, False])
    flow = term(zeros(2, 2), kl=kl, kl_weight=2.0)
    result = joint_loss(flow, None, torch.zeros(2), keep, ON)
    assert float(result.total.detach()) == pytest.approx(2.0 * 0.2 / 2)
    assert float(result.parts["flow_kl"]) == pytest.approx(0.2)
    result.total.backward()
    assert kl.grad is not None and kl.grad.tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_clip_fraction_is_logged_over_training_elements_only():
    moved = torch.tensor([[1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    flow = term(moved, old=torch.zeros(2, 2))
    result = joint_loss(flow, None, torch.ones(2), torch.tensor([True, False]), ON)
    assert float(result.parts["flow_clip_fraction"]) == 0.5


def test_weights_of_all_turns_agree_with_the_published_accumulation():
    rewards = torch.from_numpy(DATA["rewards_total_fp32"])
    advantage, keep = pooled(rewards), first_failure(torch.from_numpy(DATA["if"])).keep
    flow = torch.zeros(3, 6, 3, 2, requires_grad=True)
    joint_loss(term(flow), None, advantage, keep, torch.ones_like(keep)).total.backward()
    assert flow.grad is not None
    published = torch.from_numpy(DATA["final_per_turn_weight"] / DATA["grad_scale"])
    expected = -advantage * published / (3 * 6 * 3 * 2)
    torch.testing.assert_close(flow.grad, expected.float()[..., None].expand(3, 6, 3, 2))


def test_shapes_that_do_not_fit_and_empty_calls_are_refused():
    with pytest.raises(ValueError, match="neither flow nor text"):
        joint_loss(None, None, torch.zeros(2), ON, ON)
    with pytest.raises(ValueError, match=r"flow\.log_prob: got shape"):
        joint_loss(term(zeros(3, 2)), None, torch.zeros(2), ON, ON)
    with pytest.raises(ValueError, match=r"text\.mask: got shape"):
        joint_loss(None, term(zeros(2, 2), ON[:, None]), torch.zeros(2), ON, ON)
    with pytest.raises(ValueError, match="keep: got shape"):
        joint_loss(None, term(zeros(2, 2)), torch.zeros(2), torch.ones(3, dtype=torch.bool), ON)
