"""Whatever the network computes in, log-probs, densities, distances and losses are float32."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from editenv.agents.distributed import autocast, check_precision, masters_in_float32
from editenv.agents.edit_r2 import (
    ActionLogProbs,
    PolicyTerm,
    clipped_policy_loss,
    gaussian_kl,
    joint_loss,
    plain_log_ratio,
    text_kl,
)
from editenv.agents.flow import cps_step, flow_sde_step, window_log_prob
from editenv.agents.settings import AlgorithmSettings
from editenv.agents.train import training_settings
from editenv.agents.trainer import _known_to_trl
from editenv.agents.unified.model import UnifiedModel, UnifiedOutput
from editenv.agents.variants import guarded_log_ratio, velocity_kl
from editenv.configs.compose import compose
from tests.tiny_editor import TINY, tiny_policy

HALVES = [torch.bfloat16, torch.float16]
SAMPLERS = {"flow_sde": flow_sde_step, "cps": cps_step}


def numbers(*shape, dtype, seed=0):
    """Numbers that the small type holds exactly."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_float32_of(found, expected):
    """The float64 result of the same numbers, as float32 knows it."""
    assert found.dtype == torch.float32 and expected.dtype == torch.float64
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", HALVES)
def test_log_probs_of_tokens(dtype, monkeypatch):
    """Fails where log-softmax or the division by the temperature is done in the logits' type."""
    logits, policy = numbers(2, 3, 50, dtype=dtype) * 8, tiny_policy()
    turn = {
        "intent_ids": torch.tensor([[1, 2, 3], [4, 5, 0]]),
        "intent_mask": torch.tensor([[True] * 3, [True, True, False]]),
        "transcript_ids": torch.ones(2, 4).long(),
        "transcript_mask": torch.ones(2, 4).bool(),
        "source": torch.zeros(2, 16, 8),
    }
    monkeypatch.setattr(UnifiedModel, "forward", lambda *_, **__: UnifiedOutput(logits=logits))
    assert_float32_of(
        policy(turn, replace(TINY, temperature=0.7)).text_log_prob,
        torch.log_softmax(logits.double() / 0.7, -1)
        .gather(-1, turn["intent_ids"][..., None])[..., 0]
        .masked_fill(~turn["intent_mask"], 0.0),
    )


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_densities_of_steps(dtype, name):
    velocity, latents = numbers(2, 2, 4, 3, dtype=dtype), numbers(2, 3, 4, 3, dtype=dtype, seed=1)
    times = torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.5, 0.25]])
    found = window_log_prob(velocity, latents, times, SAMPLERS[name], 0.7, 0.9)
    expected = window_log_prob(velocity.double(), latents.double(), times.double(), SAMPLERS[name], 0.7, 0.9)
    for value, true in zip(found, expected, strict=True):
        assert_float32_of(value, true)


@pytest.mark.parametrize("dtype", HALVES)
def test_ratios_distances_and_losses(dtype):
    """A log-ratio of 1e-3 beside a log-prob of -4 is nothing in bfloat16, which there steps by 1/32."""
    now, old = numbers(2, 3, dtype=dtype), numbers(2, 3, dtype=dtype, seed=1)
    mean, before = numbers(2, 3, 4, 2, dtype=dtype, seed=2), numbers(2, 3, 4, 2, dtype=dtype, seed=3)
    std, gain = numbers(2, 3, dtype=dtype, seed=4).abs() + 0.5, numbers(2, 1, dtype=dtype, seed=5)
    wide = [value.double() for value in (now, old, mean, before, std, gain)]
    mine, theirs = ActionLogProbs(None, now, mean, std, mean), ActionLogProbs(None, old, before, std, before)
    both = [ActionLogProbs(None, prob, m, wide[4], m) for prob, m in ((wide[0], wide[2]), (wide[1], wide[3]))]
    then, exactly = (
        {"flow_log_prob_mean": one.flow_log_prob_mean, "flow_mean": one.flow_mean} for one in (theirs, both[1])
    )
    for ratio in (plain_log_ratio, guarded_log_ratio):
        assert_float32_of(ratio(mine, then), ratio(both[0], exactly))
    assert_float32_of(text_kl(now, old), text_kl(*wide[:2]))
    for kl in (gaussian_kl, velocity_kl):
        assert_float32_of(kl(mine, theirs, {}), kl(*both, {}))
    assert_float32_of(clipped_policy_loss(now, gain, 0.2), clipped_policy_loss(wide[0], wide[5], 0.2))


def test_a_joint_loss_of_small_types_is_float32():
    term = PolicyTerm(numbers(4, 2, dtype=torch.bfloat16), torch.ones(4, 2).bool(), torch.ones(4), 0.2)
    every = torch.ones(4).bool()
    total, _ = joint_loss({"text": term}, every)
    wide = term._replace(log_ratio=term.log_ratio.double())
    expected, _ = joint_loss({"text": wide}, every)
    assert total.dtype == torch.float32 and float(total) == pytest.approx(float(expected), abs=1e-6)


def test_bfloat16_is_refused_before_anything_starts_where_there_is_no_gpu(tmp_path):
    with pytest.raises(ValueError, match="is 'bfloat16', expected 'float32' where there is no CUDA"):
        check_precision("bfloat16", cuda=False)
    with pytest.raises(ValueError, match="precision 'bfloat' is not known, did you mean 'bfloat16'"):
        check_precision("bfloat", cuda=True)
    check_precision("bfloat16", cuda=True)
    if not torch.cuda.is_available():
        config = compose("train", ["algorithm.precision=bfloat16"], out=str(tmp_path))
        with pytest.raises(ValueError, match="no CUDA device"):
            training_settings(config)


def test_float32_opens_no_autocast_and_bfloat16_none_of_the_cpu():
    assert isinstance(autocast("float32"), nullcontext)
    context = autocast("bfloat16")
    assert isinstance(context, torch.autocast)
    assert context.device == "cuda" and context.fast_dtype == torch.bfloat16


def test_what_trains_is_held_in_float32_beside_small_frozen_weights():
    """Fails where an update of 1e-3 is lost on a weight of 1."""
    model = tiny_policy().bfloat16()
    adapters = LoraConfig(r=2, target_modules=model.lora_targets(True, True))
    model = get_peft_model(_known_to_trl(model), adapters)
    masters_in_float32(model)
    kinds = {True: set(), False: set()}
    for parameter in model.parameters():
        kinds[parameter.requires_grad].add(parameter.dtype)
    assert kinds == {True: {torch.float32}, False: {torch.bfloat16}}
    trained = next(parameter for parameter in model.parameters() if parameter.requires_grad)
    trained.data.fill_(1.0).add_(1e-3)
    assert math.isclose(float(trained.flatten()[0]), 1.001, rel_tol=1e-6)


def test_training_settings_hold_float32_by_default():
    assert AlgorithmSettings().precision == "float32"
