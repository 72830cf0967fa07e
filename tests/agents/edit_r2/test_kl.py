import math

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from editenv.agents.edit_r2 import ActionLogProbs, gaussian_kl, text_kl
from editenv.agents.flow import flow_sde_step
from editenv.agents.settings import FLOW_KLS
from editenv.agents.variants import published_kl, velocity_kl
from editenv.registry import load_class


def steps(mean, std, velocity=None):
    return ActionLogProbs(None, None, mean, std, velocity)


def of_step(dt=-0.25):
    """Turns with one stochastic step."""
    return {"times": torch.tensor([[0.8, 0.8 + dt]])}


def test_gaussian_flow_kl_is_the_divergence_of_the_two_transitions():
    generator = torch.Generator().manual_seed(0)
    mean, reference = (torch.randn(3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    std = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    wide = std[:, None, None]
    expected = kl_divergence(Normal(mean, wide), Normal(reference, wide)).mean(dim=(1, 2))
    torch.testing.assert_close(gaussian_kl(steps(mean, std), steps(reference, std), {}), expected)


def test_the_published_form_is_the_true_one_times_the_step():
    x, velocity = torch.ones(1, 2, 2), torch.full((1, 2, 2), 0.3)
    mean, std = flow_sde_step(x, velocity, 0.8, 0.7, 0.9, 0.95)
    reference, _ = flow_sde_step(x, -velocity, 0.8, 0.7, 0.9, 0.95)
    both = steps(mean, std), steps(reference, std), of_step(-0.1)
    assert float(published_kl(*both)) > 0
    assert float(published_kl(*both) / gaussian_kl(*both)) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize(("name", "expected"), [("gaussian", 2.5), ("published", 0.625), ("velocity", 10.0)])
def test_the_registrys_distances_by_hand(name, expected):
    """Means differ by 1 and 3 (mean square 5), std 1, dt -1/4 (so sigma 2); velocities by 2 and 4."""
    one = torch.ones(1, 1)
    now = steps(torch.tensor([[[[1.0, 4.0]]]]), one, torch.tensor([[[[2.0, 5.0]]]]))
    then = steps(torch.tensor([[[[0.0, 1.0]]]]), one, torch.tensor([[[[0.0, 1.0]]]]))
    assert load_class("kl", name, FLOW_KLS)(now, then, of_step()).tolist() == [[pytest.approx(expected)]]


def test_the_velocitys_distance_leaves_the_reference_alone():
    mine, theirs = (torch.ones(1, 2, 3, 4, requires_grad=True) for _ in range(2))
    std = torch.ones(1, 2)
    velocity_kl(steps(mine, std, 2 * mine), steps(theirs, std, theirs), {}).sum().backward()
    assert theirs.grad is None and torch.equal(mine.grad, torch.full((1, 2, 3, 4), 4 / 12))


def test_flow_kl_keeps_window_steps_apart_and_leaves_the_reference_alone():
    mean = torch.ones(2, 3, 4, 5, requires_grad=True)
    reference = torch.zeros(2, 3, 4, 5, requires_grad=True)
    scale = torch.tensor([[1.0, 2.0, 4.0]]).expand(2, 3)
    kl = gaussian_kl(steps(mean, scale), steps(reference, scale), {})
    assert kl.tolist() == [[1 / 2, 1 / 8, 1 / 32]] * 2
    kl.sum().backward()
    assert reference.grad is None and mean.grad is not None and (mean.grad > 0).all()


def test_text_kl_by_hand():
    # d = log 2 - 1 ratio: policy 1/4, reference 1/2 gives 2 - log 2 - 1
    value = text_kl(torch.tensor([math.log(0.25)]), torch.tensor([math.log(0.5)]))
    assert float(value) == pytest.approx(1 - math.log(2), abs=1e-6)
    assert float(text_kl(torch.tensor([-1.0]), torch.tensor([-1.0]))) == 0.0


def policies():
    generator = torch.Generator().manual_seed(3)
    logits, reference = (torch.randn(7, generator=generator, dtype=torch.float64) for _ in range(2))
    return logits.requires_grad_(), reference


def test_text_kl_is_the_divergence_in_the_mean_over_the_policys_tokens():
    logits, reference = policies()
    policy, other = Categorical(logits=logits), Categorical(logits=reference)
    tokens = torch.arange(7)
    values = text_kl(policy.log_prob(tokens), other.log_prob(tokens))
    assert (values >= 0).all()
    torch.testing.assert_close((policy.probs.detach() * values).sum(), kl_divergence(policy, other))


def test_gradient_of_text_kl_on_sampled_tokens_is_that_of_the_other_direction():
    logits, reference = policies()
    policy, other = Categorical(logits=logits), Categorical(logits=reference)
    tokens = torch.arange(7)
    values = text_kl(policy.log_prob(tokens), other.log_prob(tokens))
    (ours,) = torch.autograd.grad((policy.probs.detach() * values).sum(), logits)
    (forward,) = torch.autograd.grad(kl_divergence(other, Categorical(logits=logits)), logits)
    torch.testing.assert_close(ours, forward)
