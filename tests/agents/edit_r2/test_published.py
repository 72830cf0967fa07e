"""`algorithm=edit_r2_published` trains, with the published numbers wherever size lets them be."""

from dataclasses import replace

import pytest
import torch

from editenv.agents import objective
from editenv.agents.policy import load_policy
from editenv.agents.train import training_settings
from editenv.configs.compose import compose
from tests.tiny_editor import TINY, played, tensors_of, tiny_policy, tiny_trainer, train_for_brightness

SMALL = {"max_intent_tokens": 5, "lora_rank": 2}
"""The tiny model would write 150 tokens, and 64 ranks are more than its width has."""


def published(out, model, **changes):
    own = {"iterations": 2, "groups": 2, "group_size": 3, "save_every": 10, "eval_every": 0, "image_every": 0}
    words = ["algorithm=edit_r2_published", f"out={out}", f"model={model}", "threads=1"]
    return compose("train", words, **own | changes)


def test_two_iterations_train_with_ratios_of_one_before_the_first_update(tmp_path):
    tiny_policy().save(tmp_path / "start")
    config = published(tmp_path / "run", tmp_path / "start")
    result = train_for_brightness(replace(config, algorithm=replace(config.algorithm, **SMALL)))
    assert [log["iteration"] for log in result.logs] == [0, 1]
    for log in result.logs:
        assert log["text_ratio_error"] <= 1e-6 and log["flow_ratio_error"] <= 1e-6
        assert log["flow_rollout_error"] < 1e-4 and log["text_rollout_error"] < 1e-4
        assert log["flow_clip_fraction"] > 0, "the second update leaves so narrow a range"
    assert 0 <= result.logs[0]["flow_kl"] < result.logs[1]["flow_kl"]
    before, after = (load_policy(tmp_path / name).model.state_dict() for name in ("start", "run"))
    moved = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert any("mlp.up_proj" in name for name in moved) and any("mlp_moe_gen.up" in name for name in moved)


def test_the_published_numbers(tmp_path):
    own = training_settings(published(tmp_path, "base")).algorithm
    assert (own.intent_from_turn, own.context, own.temperature) == (2, "interleaved", 0.7)
    assert (own.steps, own.shift, own.text_guidance, own.image_guidance) == (14, 3.0, 4.0, 2.0)
    assert (own.window, own.window_low, own.window_high) == (2, 0, 5)
    assert (own.window_placement, own.noise_level, own.sigma_t_max) == ("random", 1.3, None)
    assert own.shared_noise and own.sampler == "flow_sde"
    assert (own.advantage, own.advantage_clip, own.advantage_std) == ("pooled", 5.0, "batch")
    assert own.filter == "first_failure"
    assert (own.flow_clip, own.text_clip, own.flow_kl, own.kl) == (1e-5, 1e-5, 0.01, "published")
    assert (own.text_kl, own.text_weight, own.flow_weight, own.updates_per_iteration) == (0.0, 0.5, 1.0, 2)
    assert (own.context_gradient, own.ratio, own.objective) == (False, "plain", "policy")
    assert (own.lora_rank, own.lora_alpha) == (64, 128.0)
    assert (own.text_rate, own.flow_rate) == (1e-4, 1e-4)
    assert (own.beta2, own.whole_groups, own.clip_text_advantage) == (0.999, True, False)


@pytest.mark.parametrize("high", [6, 12])
def test_a_window_may_start_anywhere_on_the_published_grid(tmp_path, high):
    """Fails where the window is held to another grid than the one of 14 steps."""
    config = compose("train", ["algorithm=edit_r2_published", f"algorithm.window_high={high}"], out=str(tmp_path))
    assert training_settings(config).algorithm.window_high == high
    with pytest.raises(ValueError, match="all its steps inside the grid's 14 steps"):
        training_settings(replace(config, algorithm=replace(config.algorithm, window_high=13)))


def test_recomputing_replaces_rounding_and_refuses_another_policy():
    checkpoint = tiny_policy()
    sessions, every = tensors_of(played(checkpoint)), torch.ones(6, 3)
    sessions |= {"advantage": every, "loss_mask": every.bool(), "scored_mask": every.bool()}
    half = [{name: value[:3].clone() for name, value in sessions.items()}]
    half[0]["text_log_prob"] += 1e-3 * half[0]["intent_mask"]
    errors = objective.recompute_old_log_probs(checkpoint, half, TINY)
    assert errors["text_rollout_error"] == pytest.approx(1e-3, rel=0.1)
    torch.testing.assert_close(half[0]["text_log_prob"], sessions["text_log_prob"][:3], atol=1e-5, rtol=0)
    half[0]["flow_log_prob_mean"] += 0.1
    with pytest.raises(RuntimeError, match="the flow ratio between rollout and training"):
        objective.recompute_old_log_probs(checkpoint, half, TINY)


def test_bfloat16_is_forgiven_more_rounding(monkeypatch):
    """Logits between 16 and 32 are 1/8 apart there; twice the probability is no rounding there either."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    objective.check_rounding("text", 0.3)
    with pytest.raises(RuntimeError, match=r"by 1\.10e\+00, expected at most 1e\+00"):
        objective.check_rounding("text", 1.1)
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match=r"by 3\.00e-01, expected at most 1e-02"):
        objective.check_rounding("text", 0.3)


def test_recomputed_ratios_are_one_to_the_bit_in_the_first_minibatch(tmp_path):
    trainer = tiny_trainer(tmp_path, recompute=True, iterations=2)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "text_ratio_error" in log]
    assert [(log["text_ratio_error"], log["flow_ratio_error"]) for log in logs] == [(0.0, 0.0)] * 2
