"""Temperatures over a run, and the entropy of tokens in the loss."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical

from editenv.agents.edit_r2.exploration import at_iteration, temperature_at, token_entropy
from editenv.agents.edit_r2.loss import PolicyTerm, joint_loss
from editenv.agents.edit_r2.metrics import nested
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.update import UpdateSettings, policy_trains
from tests.tiny_editor import ROLLOUT, tiny_trainer

TEMPERATURE = 0.7


def logits_and_mask():
    draws = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(4, 5, 11, generator=draws)).requires_grad_()
    mask = torch.rand(4, 5, generator=draws) > 0.3
    return logits, mask


def test_the_entropy_and_its_gradient_are_those_of_the_distribution():
    logits, mask = logits_and_mask()
    mine = token_entropy(logits, mask, TEMPERATURE)
    theirs = Categorical(logits=logits / TEMPERATURE).entropy() * mask
    torch.testing.assert_close(mine, theirs)
    weights = torch.rand(mine.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((mine * weights).sum(), logits)
    (expected,) = torch.autograd.grad((theirs * weights).sum(), logits)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(gradient, expected)


def test_a_sure_policy_has_no_entropy_and_a_finite_gradient():
    logits = torch.tensor([[[0.0, 1e4, -torch.inf]]], requires_grad=True)
    entropy = token_entropy(logits, torch.ones(1, 1, dtype=torch.bool))
    entropy.sum().backward()
    assert entropy.item() == 0.0 and torch.isfinite(logits.grad[..., :2]).all()


def test_the_joint_loss_takes_the_mean_entropy_of_the_tokens_that_train_off():
    logits, mask = logits_and_mask()
    log_prob = torch.zeros(4, 5, requires_grad=True) + 0.0
    keep = torch.tensor([True, True, False, True])
    ones = torch.ones(4, dtype=torch.bool)
    entropy = token_entropy(logits, mask)

    def loss(**more):
        term = PolicyTerm(log_prob, log_prob.detach(), mask, 0.2, 2.0, **more)
        return joint_loss(None, term, torch.ones(4), keep, ones)

    with_bonus, without = loss(entropy=entropy, entropy_weight=0.3), loss()
    own = Categorical(logits=logits).entropy() * mask * keep[:, None]
    expected = -2.0 * 0.3 * (own.sum(-1) / mask.sum(-1).clamp(min=1)).mean()
    assert (with_bonus.total - without.total).item() == pytest.approx(expected.item(), rel=1e-5)
    assert with_bonus.parts["text_entropy"].item() == pytest.approx(
        (own.sum() / (mask & keep[:, None]).sum()).item(), rel=1e-5
    )
    (gradient,) = torch.autograd.grad(with_bonus.total, logits)
    (by_hand,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, by_hand)


def test_turns_without_an_advantage_train_where_entropy_is_paid():
    yes = torch.ones(2, dtype=torch.bool)
    turns = {"keep": yes, "valid": torch.tensor([True, False]), "advantage": torch.zeros(2)}
    assert policy_trains(turns, UpdateSettings()).tolist() == [False, False]
    assert policy_trains(turns, UpdateSettings(text_entropy=0.1)).tolist() == [True, False]


@pytest.mark.parametrize(("iteration", "expected"), [(0, 0.5), (3, 0.8), (10, 1.5), (12, 1.5)])
def test_temperatures_lie_on_a_line_over_the_run(iteration, expected):
    assert temperature_at(iteration, 11, 0.5, 1.5) == pytest.approx(expected)
    assert temperature_at(iteration, 11, 0.5, None) == 0.5
    assert temperature_at(0, 1, 0.5, 1.5) == 0.5


def test_the_settings_of_an_iteration_differ_in_temperature_alone():
    settings = replace(ROLLOUT, temperature_end=1.9)
    later = at_iteration(settings, 1, 3)
    assert later.turn.temperature == pytest.approx(1.4)
    assert replace(later, turn=settings.turn) == settings
    assert at_iteration(ROLLOUT, 1, 3) is ROLLOUT


def test_rollout_and_update_use_the_temperature_of_the_iteration_and_entropy_is_logged(tmp_path):
    """The check of the ratio stops the run where the two temperatures differ."""
    trainer = tiny_trainer(
        tmp_path,
        iterations=2,
        updates_per_iteration=1,
        temperature_end=2.5,
        text_entropy=0.5,
        flow_weight=0.0,
    )
    trainer.train()
    logs = nested(trainer.state.log_history, 1)
    assert logs[1]["text_entropy"] > logs[0]["text_entropy"] + 0.05
    assert trainer.sampling.turn.temperature == pytest.approx(2.5)


@pytest.mark.parametrize("end", [0.0, -1.0])
def test_a_temperature_of_no_sampling_is_refused(end):
    with pytest.raises(ValueError, match=f"temperature_end is {end}, expected above 0"):
        RolloutSettings(temperature_end=end)


def test_a_negative_entropy_weight_is_refused():
    with pytest.raises(ValueError, match=r"text_entropy is -0\.1, expected 0 or more"):
        UpdateSettings(text_entropy=-0.1)
