"""Ratios of stochastic steps by hand: what is plain about one and guarded about the other."""

import pytest
import torch

from editenv.agents.edit_r2 import ActionLogProbs, plain_log_ratio
from editenv.agents.flow import log_prob_mean
from editenv.agents.variants import guarded_log_ratio


def moved(shift, noise, std):
    """Both log-ratios of a step x' = 0 + std noise whose mean moved by shift."""
    old, mean = torch.zeros_like(shift), shift
    sample = std * noise
    width = torch.tensor([std])
    probs = [log_prob_mean(sample, centre, width) for centre in (mean, old)]
    now, then = ActionLogProbs(None, probs[0], mean, width), {"flow_log_prob_mean": probs[1], "flow_mean": old}
    return [float(ratio(now, then)) for ratio in (plain_log_ratio, guarded_log_ratio)]


@pytest.mark.parametrize("std", [0.1, 1.0, 3.0])
def test_the_guarded_ratio_is_the_mean_of_noise_times_shift_at_every_std(std):
    """eps (1, -1) and d (0.2, 0.1): mean(eps d) = 0.05; plain is 0.05 / s - 0.025 / (2 s^2)."""
    shift, noise = torch.tensor([[[0.2, 0.1]]]), torch.tensor([[[1.0, -1.0]]])
    plain, guarded = moved(shift, noise, std)
    assert guarded == pytest.approx(0.05, rel=1e-4)
    assert plain == pytest.approx(0.05 / std - 0.025 / (2 * std**2), rel=1e-4)


def test_plain_ratios_lean_below_one_and_guarded_ones_do_not():
    noise = torch.randn(4000, 1, 4, generator=torch.Generator().manual_seed(0))
    rows = [moved(torch.full((1, 1, 4), 0.3), row[None], 0.5) for row in noise]
    plain, guarded = torch.tensor(rows).mean(0).tolist()
    assert abs(guarded) < 4 * 0.15 / 4000**0.5
    assert plain == pytest.approx(-(0.3**2) / (2 * 0.5**2), abs=4 * 0.3 / 4000**0.5)


def test_the_gradient_of_the_guarded_ratio_is_the_noise():
    mean = torch.zeros(1, 1, 2, requires_grad=True)
    noise, std = torch.tensor([[[1.0, -3.0]]]), torch.tensor([0.2])
    new = log_prob_mean(0.2 * noise, mean, std)
    then = {"flow_log_prob_mean": new.detach(), "flow_mean": torch.zeros(1, 1, 2)}
    guarded_log_ratio(ActionLogProbs(None, new, mean, std), then).sum().backward()
    torch.testing.assert_close(mean.grad, noise / 2)
