"""The trainer: what moves, what is frozen, what is checked and what is logged."""

import copy
import sys
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch

from editenv.agents import policy as seam
from editenv.agents.flow import sample_window
from editenv.agents.metrics import group_by_turn
from editenv.agents.trainer import EditR2Trainer, RolloutCallback
from editenv.agents.unified.context import ImageBlock, TextBlock
from editenv.agents.unified.policy import UnifiedPolicy
from tests.tiny_editor import BrightnessScorer, brightness_envs, tiny_policy, tiny_settings, tiny_trainer, weights

RATE = 1e-3
TABLE = {"model.latent_pos_embed.pos_embed"}
FAR = 0.1 * RATE
"""AdamW's first step moves a weight with any gradient by about its rate, decay alone by 1e-7 of itself."""


def far_moved(before, model) -> set[str]:
    """Names of weights of which some element moved farther than weight decay can carry it."""
    return {name for name, value in model.state_dict().items() if (value - before[name]).abs().max() > FAR}


def moved(before, model) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def learnt(policy, space: str) -> set[str]:
    return {name for name, _ in policy.named_parameters() if policy.parameter_space(name) == space}


@pytest.fixture
def checkpoint():
    return tiny_policy()


def test_one_iteration_moves_every_trainable_weight_and_never_the_reference(tmp_path, checkpoint):
    before = weights(checkpoint)
    trainer = tiny_trainer(tmp_path, checkpoint)
    coder = weights(checkpoint.autoencoder)
    trainer.train()
    assert far_moved(before, checkpoint) == set(before) - TABLE
    assert not moved(before, trainer.reference)
    assert not moved(coder, checkpoint.autoencoder)


@pytest.mark.parametrize(("off", "trained"), [("flow_weight", "text"), ("text_weight", "flow")])
def test_an_expert_without_a_loss_is_frozen(tmp_path, checkpoint, off, trained):
    """Also against gradients that reach it through the shared attention."""
    before = weights(checkpoint)
    tiny_trainer(tmp_path, checkpoint, **{off: 0.0}, context_gradient=True).train()
    names = learnt(checkpoint, trained) - TABLE
    assert moved(before, checkpoint) == far_moved(before, checkpoint) == names


def test_text_updates_of_narrow_scope_leave_every_picture_as_it_was(tmp_path, checkpoint):
    before = weights(checkpoint)
    tiny_trainer(tmp_path, checkpoint, flow_weight=0.0, text_scope="text_only").train()
    text_only = checkpoint.text_parameters("text_only")
    assert moved(before, checkpoint) == {name for name, _ in checkpoint.named_parameters() if text_only(name)}


@pytest.mark.parametrize(("rate", "moving"), [("text_rate", "flow"), ("flow_rate", "text")])
def test_each_expert_has_its_own_learning_rate(tmp_path, checkpoint, rate, moving):
    before = weights(checkpoint)
    tiny_trainer(tmp_path, checkpoint, **{rate: 0.0}).train()
    assert moved(before, checkpoint) == learnt(checkpoint, moving) - {"model.latent_pos_embed.pos_embed"}


def test_adapters_learn_in_two_steps_and_the_weights_below_them_stay(tmp_path, checkpoint):
    """B starts at zero, so that A cannot move in the first step."""
    base = weights(checkpoint)
    trainer = tiny_trainer(tmp_path, checkpoint, lora_rank=2, lora_alpha=128)
    before = weights(trainer.model)
    trainer.train()
    adapters = {name for name in before if "lora_" in name}
    assert len(adapters) == 2 * 2 * 2 * 7, "A and B, in 2 layers, of 2 experts, with 7 projections each"
    assert far_moved(before, trainer.model) == moved(before, trainer.model) == adapters
    with trainer.model.disable_adapter():
        assert torch.equal(reading(trainer.policy.model), reading(with_weights(base).model))
    merged = trainer.merged_model()
    assert merged.state_dict().keys() == base.keys()
    torch.testing.assert_close(reading(merged.model), reading(checkpoint.model), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("off", "kept"), [("flow_weight", "text"), ("text_weight", "flow")])
def test_adapters_sit_on_the_expert_that_trains_alone(tmp_path, checkpoint, off, kept):
    trainer = tiny_trainer(tmp_path, checkpoint, lora_rank=2, **{off: 0.0})
    names = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert names and all(trainer.policy.parameter_space(name) == kept and "lora_" in name for name in names)


@pytest.mark.parametrize("rank", [0, 2])
def test_ratios_are_one_before_the_first_update_of_every_iteration(tmp_path, rank):
    trainer = tiny_trainer(tmp_path, iterations=3, lora_rank=rank, lora_alpha=128)
    trainer.train()
    logs = group_by_turn(trainer.state.log_history, 2)
    assert [log["iteration"] for log in logs] == [0, 1, 2]
    for log in logs:
        assert log["text_ratio_error"] < 1e-4 and log["flow_ratio_error"] < 1e-4
        assert log["text_clip_fraction"] + log["flow_clip_fraction"] > 0, "the second update's ratios left 1"


def test_intents_sampled_at_another_temperature_stop_the_run(tmp_path, monkeypatch):
    true = UnifiedPolicy.generate_intents

    def hotter(policy, context, settings, uniforms):
        return true(policy, context, replace(settings, temperature=settings.temperature * 1.1), uniforms)

    monkeypatch.setattr(UnifiedPolicy, "generate_intents", hotter)
    with pytest.raises(RuntimeError, match=r"the text ratio differs from 1 by .*, expected at most 1e-04"):
        tiny_trainer(tmp_path).train()


def test_images_sampled_at_another_noise_level_stop_the_run(tmp_path, monkeypatch):
    def noisier(velocity, start, plan):
        return sample_window(velocity, start, replace(plan, noise_level=plan.noise_level * 1.1))

    monkeypatch.setattr(seam, "sample_window", noisier)
    with pytest.raises(RuntimeError, match=r"the flow ratio differs from 1 by .*, expected at most 1e-04"):
        tiny_trainer(tmp_path).train()


class Seen(EditR2Trainer):
    """Keeps the minibatches, and the flow's KL worked out by hand before an iteration's first update."""

    def _compute_loss(self, model, inputs):
        if not hasattr(self, "batches"):
            self.batches, self.by_hand = [], {}
        self.batches.append(inputs)
        if self.iteration not in self.by_hand:
            self.by_hand[self.iteration] = flow_kl_by_hand(self, inputs)
        return super()._compute_loss(model, inputs)


@torch.no_grad()
def flow_kl_by_hand(trainer, inputs) -> float:
    """Mean over what trains of (mean - mean_ref)^2 / (2 std^2); the means differ by velocities alone."""
    settings = trainer.algorithm
    total, counted = 0.0, 0
    for row in range(len(inputs["group_id"])):
        for turn in range(inputs["loss_mask"].shape[1]):
            if not (inputs["loss_mask"][row, turn] and inputs["scored_mask"][row, turn]):
                continue
            at = {
                name: value[row, turn][None] for name, value in inputs.items() if name not in ("group_id", "rng_keys")
            }
            length = int(at["condition_mask"].sum())
            context = [ImageBlock(at["source"]), TextBlock(at["condition_ids"][:, :length])]
            for step in range(settings.window):
                t, after = at["times"][:, step], at["times"][:, step + 1]
                x = at["latents"][:, step]
                mine, theirs = (
                    model.velocity(model.build_context(context, 1), x, t, source=at["source"])
                    for model in (trainer.policy.model, trainer.reference.model)
                )
                held = min(float(t), 0.96)
                variance = 0.9**2 * held / (1 - held)
                dt = float(after - t)
                factor = (1 + variance * (1 - float(t)) / (2 * float(t))) * dt
                total += float(((mine - theirs) * factor).square().mean() / (2 * variance * -dt))
                counted += 1
    return total / counted


def seen_trainer(tmp_path, scorer=None, **changes) -> Seen:
    settings = tiny_settings(tmp_path, **changes)
    envs = brightness_envs(settings.groups * settings.group_size, scorer)
    return Seen(tiny_policy(), envs, settings)


@pytest.mark.parametrize("flow_kl", [0.0, 1e-3], ids=["measured", "in the loss"])
def test_the_distance_to_the_reference_starts_at_zero_grows_and_is_what_a_hand_computes(tmp_path, flow_kl):
    trainer = seen_trainer(tmp_path, iterations=3, updates_per_iteration=1, flow_kl=flow_kl)
    trainer.train()
    logs = group_by_turn(trainer.state.log_history, 1)
    assert logs[0]["flow_kl"] < 1e-12 and logs[0]["text_kl"] < 1e-9
    assert logs[1]["flow_kl"] > 1e-9 and logs[1]["text_kl"] > 1e-6
    for log in logs[1:]:
        assert log["flow_kl"] == pytest.approx(trainer.by_hand[log["iteration"]], rel=1e-3)


def test_turns_without_a_score_stay_out_of_loss_and_statistics(tmp_path):
    trainer = seen_trainer(tmp_path, BrightnessScorer(fails=[(1, 1)]), updates_per_iteration=1)
    trainer.train()
    (batch,) = trainer.batches
    unscored = ~batch["scored_mask"]
    assert int(unscored.sum()) == 3 * 2, "three rollouts of session 1, from its second turn on"
    assert (batch["advantage"][unscored] == 0).all() and (batch["advantage"][batch["scored_mask"]] != 0).any()
    (log,) = group_by_turn(trainer.state.log_history, 1)
    assert log["unscored_share"] == pytest.approx(6 / 18)
    sessions = trainer.envs.sessions
    assert log["reward"][1] == pytest.approx(sum(s.scores[1].reward for s in sessions[:3]) / 3)


def test_a_judge_that_never_answers_teaches_nothing_and_crashes_nothing(tmp_path, checkpoint):
    before = weights(checkpoint)
    trainer = tiny_trainer(tmp_path, checkpoint, BrightnessScorer(fails=[(0, 0), (1, 0)]))
    trainer.train()
    assert not far_moved(before, checkpoint)
    (log,) = group_by_turn(trainer.state.log_history, 2)
    assert log["reward"] == [None] and log["unscored_share"] == 1.0 and log["constant_groups"] == 1.0


def test_minibatches_share_the_sessions_of_an_iteration_out(tmp_path):
    trainer = seen_trainer(tmp_path, updates_per_iteration=3)
    trainer.train()
    assert [len(batch["group_id"]) for batch in trainer.batches] == [2, 2, 2]
    drawn = torch.cat([batch["latents"][:, 0, 0] for batch in trainer.batches])
    assert len({row.numpy().tobytes() for row in drawn}) == 6
    assert sorted(torch.cat([b["group_id"] for b in trainer.batches]).tolist()) == [0, 0, 0, 1, 1, 1]


def test_an_update_may_take_whole_groups(tmp_path):
    trainer = seen_trainer(tmp_path, groups=4, updates_per_iteration=2, whole_groups=True, recompute=True)
    losses, true = [], trainer.objective.loss

    def spied(policies, sessions, *rest):
        losses.append(sessions["group_id"].tolist())
        return true(policies, sessions, *rest)

    trainer.objective = replace(trainer.objective, loss=spied)
    flow_kl = patch.object(sys.modules[__name__], "flow_kl_by_hand", lambda *_: 0.0)
    with flow_kl:
        trainer.train()
    assert sorted(number for one in losses for number in one) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert all(one.count(number) == 3 for one in losses for number in one)
    with pytest.raises(ValueError, match=r"updates_per_iteration is 3, .*groups = 2 with whole_groups=true"):
        tiny_settings(tmp_path, updates_per_iteration=3, whole_groups=True)


@pytest.mark.parametrize(("given", "scale"), [({}, 2.0), ({"lora_alpha": 6.0}, 3.0)])
def test_adapters_are_scaled_by_twice_their_rank_unless_a_number_is_given(tmp_path, given, scale):
    trainer = tiny_trainer(tmp_path, lora_rank=2, **given)
    scales = {m.scaling["default"] for m in trainer.model.modules() if getattr(m, "scaling", None)}
    assert scales == {scale}


def test_the_optimisers_second_beta_is_a_setting(tmp_path):
    optimizer = tiny_trainer(tmp_path, beta2=0.999).create_optimizer()
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}


class EveryOther(RolloutCallback):
    """Looks at every other iteration, and at the advantages of each session."""

    def on_rollout(self, iteration, rollout, advantages, sessions):
        assert advantages["advantage"].shape == rollout.reward.shape
        assert sessions == rollout.sessions, "a process alone has played all of them"
        if iteration % 2 == 0:
            self.trainer.record({"held_out/reward/1": float(iteration)})


def test_what_a_callback_records_is_logged_with_its_iteration(tmp_path):
    settings, callback = tiny_settings(tmp_path, iterations=3), EveryOther()
    trainer = callback.trainer = EditR2Trainer(tiny_policy(), brightness_envs(6), settings, [callback])
    trainer.train()
    logs = group_by_turn(trainer.state.log_history, 2)
    assert [log.get("held_out") for log in logs[:3]] == [{"reward": [0.0]}, None, {"reward": [2.0]}]


def test_the_gradient_of_each_expert_is_bounded_by_itself(tmp_path):
    trainer = tiny_trainer(tmp_path, max_grad_norm=1e-4)
    seen = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        norms = [
            torch.stack([p.grad.norm() for p in group["params"] if p.grad is not None]).norm()
            for group in self.param_groups
        ]
        seen.append([float(norm) for norm in norms])
        return step(self, *args, **kwargs)

    trainer.create_optimizer()
    trainer.optimizer.step = spy.__get__(trainer.optimizer)
    trainer.train()
    assert len(seen) == 2
    assert all(norm == pytest.approx(1e-4, rel=1e-2) for norms in seen for norm in norms)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations is 0, expected 1 or more"),
        ({"groups": 5, "group_size": 6, "updates_per_iteration": 4}, "updates_per_iteration is 4, .* 30"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_settings(tmp_path, **changes)


def with_weights(values):
    model = copy.deepcopy(tiny_policy())
    model.load_state_dict(values)
    return model


@torch.no_grad()
def reading(model):
    """What a model makes of one text and one picture, in one tensor."""
    ids = torch.arange(6, 12)[None]
    source = torch.linspace(-1, 1, 16 * model.config.latent_dim).reshape(1, 16, -1)
    output = model(
        text_context=[TextBlock(ids)],
        intent_ids=ids,
        image_context=[ImageBlock(source), TextBlock(ids)],
        x=source[:, None] * 0.3,
        t=torch.tensor([[0.5]]),
        source=source,
    )
    return torch.cat([output.logits.flatten(), output.velocity.flatten()])
