import math
from pathlib import Path

import numpy as np
import pytest
import torch

from editenv.agents import edit_r2
from editenv.agents.edit_r2 import ActionLogProbs, PolicyTerm, clipped_policy_loss, first_failure, pooled, ratio_errors

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
    loss = clipped_policy_loss(log_prob, torch.tensor([advantage]), 0.2)
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(expected)
    assert log_prob.grad is not None and float(log_prob.grad) == pytest.approx(slope)


def test_the_advantage_gets_no_gradient_and_the_type_stays():
    advantage = torch.ones(2, dtype=torch.float64, requires_grad=True)
    loss = clipped_policy_loss(torch.zeros(2, requires_grad=True), advantage, 0.2)
    loss.sum().backward()
    assert advantage.grad is None and loss.dtype == torch.float32


def text_error(log_prob, old, mask=None):
    """The ratio's error of one turn's tokens."""
    mask = torch.ones_like(log_prob, dtype=torch.bool) if mask is None else mask
    turns = {"text_log_prob": old[None], "intent_mask": mask[None]}
    return ratio_errors(ActionLogProbs(log_prob[None]), turns)["text"]


def test_ratio_error_by_hand():
    log_prob = torch.log(torch.tensor([1.0, 1.3, 0.7, 1.05], dtype=torch.float64))
    old = torch.zeros(4, dtype=torch.float64)
    assert text_error(log_prob, old) == pytest.approx(0.3)
    assert text_error(log_prob, old, torch.tensor([True, False, False, True])) == pytest.approx(0.05)


def test_ratio_error_sees_differences_far_below_float32s_spacing_at_one_and_reports_nan():
    assert text_error(torch.tensor([1e-9]), torch.tensor([0.0])) == pytest.approx(1e-9)
    assert math.isnan(text_error(torch.tensor([math.nan]), torch.tensor([0.0])))


def term(log_ratio, mask=None, **settings):
    mask = torch.ones_like(log_ratio, dtype=torch.bool) if mask is None else mask
    return PolicyTerm(log_ratio, mask, torch.zeros(()), settings.pop("clip", 0.2), **settings)


def joint_loss(terms, advantage, trains):
    """Of terms that share their advantages."""
    return edit_r2.joint_loss({n: t._replace(advantage=advantage) for n, t in terms.items()}, trains)


def zeros(*shape):
    return torch.zeros(*shape, requires_grad=True)


ON = torch.ones(2, dtype=torch.bool)


def test_joint_loss_by_hand():
    # at ratio 1 each element's loss is -A; turn 0 has 2 tokens, turn 1 wrote no intent
    text_mask = torch.tensor([[True, True, False], [False, False, False]])
    flow, text = term(zeros(2, 2), weight=3.0), term(zeros(2, 3), text_mask, weight=0.5)
    total, numbers = joint_loss({"flow": flow, "text": text}, torch.tensor([1.0, -2.0]), ON)
    assert numbers["flow_loss"] == pytest.approx((-1 + 2) / 2)
    assert numbers["text_loss"] == pytest.approx(-1 / 2)
    assert float(total.detach()) == pytest.approx(3.0 * 0.5 + 0.5 * -0.5)


def gradient(flow_steps=2, flow_weight=1.0, text_weight=1.0, trains=ON):
    flow, text = zeros(2, flow_steps), zeros(2, 3)
    terms = {"flow": term(flow, weight=flow_weight), "text": term(text, weight=text_weight)}
    joint_loss(terms, torch.tensor([1.0, -2.0]), trains)[0].backward()
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


def test_a_turn_that_is_left_out_trains_neither_space_and_is_not_made_up_for():
    flow, text = gradient()
    flow_off, text_off = gradient(trains=torch.tensor([True, False]))
    assert torch.equal(flow_off[0], flow[0]) and torch.equal(text_off[0], text[0])
    assert not flow_off[1].any() and not text_off[1].any()


def test_padding_may_hold_anything():
    text = torch.tensor([[0.0, math.nan], [0.0, 1e30]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, False]])
    total, numbers = joint_loss({"text": term(text, mask)}, torch.tensor([1.0, -2.0]), ON)
    total.backward()
    assert text.grad is not None and text.grad.tolist() == [[-0.5, 0.0], [1.0, 0.0]]
    assert set(numbers) == {"text_loss", "text_clip_fraction"}


def test_kl_enters_with_its_weight_and_is_logged_over_training_elements_only():
    kl = torch.tensor([[0.1, 0.3], [9.0, 9.0]], requires_grad=True)
    keep = torch.tensor([True, False])
    flow = term(zeros(2, 2), kl=kl, kl_weight=2.0)
    total, numbers = joint_loss({"flow": flow}, torch.zeros(2), keep)
    assert float(total.detach()) == pytest.approx(2.0 * 0.2 / 2)
    assert numbers["flow_kl"] == pytest.approx(0.2)
    total.backward()
    assert kl.grad is not None and kl.grad.tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_clip_fraction_is_logged_over_training_elements_only():
    moved = torch.tensor([[1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    _, numbers = joint_loss({"flow": term(moved)}, torch.ones(2), torch.tensor([True, False]))
    assert numbers["flow_clip_fraction"] == 0.5


def test_weights_of_all_turns_agree_with_the_published_accumulation():
    rewards = torch.from_numpy(DATA["rewards_total_fp32"])
    every = torch.ones_like(rewards, dtype=torch.bool)
    advantage = pooled(rewards, every).clamp(-5, 5)
    keep = first_failure(torch.from_numpy(DATA["if"]), every).loss_mask
    flow = torch.zeros(54, 2, requires_grad=True)
    joint_loss({"flow": term(flow)}, advantage.flatten(), keep.flatten())[0].backward()
    assert flow.grad is not None
    published = torch.from_numpy(DATA["final_per_turn_weight"] / DATA["grad_scale"])
    expected = -advantage * published / (3 * 6 * 3 * 2)
    torch.testing.assert_close(flow.grad, expected.float().flatten()[:, None].expand(54, 2))


def test_each_space_has_its_own_advantages():
    """The published code bounds the flow's alone."""
    flow, text = (term(zeros(1, 1))._replace(advantage=torch.tensor([gain])) for gain in (5.0, 9.0))
    _, numbers = edit_r2.joint_loss({"flow": flow, "text": text}, torch.ones(1).bool())
    assert (numbers["flow_loss"], numbers["text_loss"]) == (-5.0, -9.0)
