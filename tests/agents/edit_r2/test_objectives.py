"""Objectives by hand: what pulls where, what trains, and that training with each moves the right weights."""

import math
from dataclasses import replace

import pytest
import torch

from editenv.agents.metrics import group_by_turn
from editenv.agents.nft import adaptive_x0_loss, add_noise_and_old_velocity, better_share, nft_loss
from editenv.agents.objective import check_algorithm
from editenv.agents.settings import X0_LOSSES
from editenv.agents.sft import add_noise, imitation_loss, x0_loss
from editenv.registry import load_class
from editenv.rewards.exact import ExactScorer
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import TINY, played, tensors_of, tiny_policy, tiny_trainer, weights

PLAIN = replace(TINY, window=0)


def noised(image, noise, t):
    """x_t = (1 - t) image + t noise."""
    return (1 - t)[..., None, None] * image + t[..., None, None] * noise


def test_the_image_error_by_hand():
    """x = (1, 3), v = (2, -2), t = 1/2 leads to (0, 4); from (1, 4) that is (1 + 0) / 2, over 1/4."""
    x, velocity = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[2.0, -2.0]]])
    image = torch.tensor([[[1.0, 4.0]]])
    assert x0_loss(x, torch.tensor([0.5]), velocity, image).tolist() == [2.0]
    # at t = 1/10 it leads to (0.8, 3.2): (0.04 + 0.64) / 2, over 1/16 and not 1/100
    assert x0_loss(x, torch.tensor([0.1]), velocity, image).item() == pytest.approx(0.34 * 16)


def test_the_adaptive_error_by_hand():
    """Distances (-1, 0): 1/2 over 1/2; (-0.2, -0.8): 0.34 over 1/2. The half does not bend the gradient."""
    x, image = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 4.0]]])
    velocity = torch.tensor([[[2.0, -2.0]]], requires_grad=True)
    error = adaptive_x0_loss(x, torch.tensor([0.5]), velocity, image)
    assert error.tolist() == [1.0]
    (gradient,) = torch.autograd.grad(error.sum(), velocity)
    # -2 t d / 2 over 1/2
    assert gradient.tolist() == [[[1.0, 0.0]]]
    assert adaptive_x0_loss(x, torch.tensor([0.1]), velocity, image).item() == pytest.approx(0.68)
    exact = adaptive_x0_loss(x, torch.tensor([0.5]), torch.tensor([[[0.0, -2.0]]]), image)
    assert exact.tolist() == [0.0], "and not 0 / 0"


@pytest.mark.parametrize(("name", "expected"), [("bounded", 3.64), ("adaptive", 0.95)])
def test_the_nft_error_by_hand(name, expected):
    """v+ = 0.2 and v- = -0.2 lead from 1 to 0.9 and 1.1, where 0 should be; r = 3/4.

    0.75 * 0.81 / 0.25 + 0.25 * 1.21 / 0.25;  0.75 * 0.81 / 0.9 + 0.25 * 1.21 / 1.1
    """
    x, old, image, t = torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([0.5])
    velocity = torch.full((1, 1, 1), 0.4)
    error = nft_loss(x, t, velocity, old, image, torch.tensor([0.75]), 0.5, load_class("x0_loss", name, X0_LOSSES))
    assert error.item() == pytest.approx(expected)


def test_the_weight_that_is_set_is_the_losss(tmp_path):
    """Before the first update v = v_old, so that the loss is the mean error itself, whatever r."""
    logged = {}
    for name in X0_LOSSES:
        trainer = tiny_trainer(
            tmp_path / name, objective="nft", window=0, filter="none", x0_loss=name, text_weight=0.0
        )
        trainer.train()
        (log,) = group_by_turn(trainer.state.log_history, 2)
        logged[name] = log["flow_loss"]
    assert logged["adaptive"] > 0 and abs(logged["adaptive"] / logged["bounded"] - 1) > 0.2


def test_above_a_quarter_the_image_error_is_that_of_the_velocity():
    image, noise, t = torch.rand(3, 2, 4), torch.randn(3, 2, 4), torch.tensor([0.3, 0.6, 1.0])
    x, velocity = noised(image, noise, t), torch.randn(3, 2, 4)
    expected = (velocity - (noise - image)).square().mean(dim=(1, 2))
    torch.testing.assert_close(x0_loss(x, t, velocity, image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("better", [0.0, 0.5, 0.8, 1.0])
def test_nft_pulls_by_two_r_minus_one(better):
    """At v = v_old the gradient is beta (2 r - 1) times that of the error itself."""
    torch.manual_seed(0)
    image, noise, t = torch.rand(1, 2, 4), torch.randn(1, 2, 4), torch.tensor([0.5])
    x, old = noised(image, noise, t), torch.randn(1, 2, 4)
    velocity = old.clone().requires_grad_()
    nft_loss(x, t, velocity, old, image, torch.tensor([better]), 0.3, x0_loss).sum().backward()
    expected = 0.3 * (2 * better - 1) * 2 * (old - (noise - image)) / 8
    torch.testing.assert_close(velocity.grad, expected, rtol=1e-4, atol=1e-6)


def test_with_beta_one_a_certainly_better_picture_is_imitated():
    image, t = torch.rand(1, 2, 4), torch.tensor([0.5])
    x, velocity, old = torch.rand(1, 2, 4), torch.rand(1, 2, 4), torch.rand(1, 2, 4)
    ours = nft_loss(x, t, velocity, old, image, torch.ones(1), 1.0, x0_loss)
    torch.testing.assert_close(ours, x0_loss(x, t, velocity, image))


def test_the_share_that_counts_as_better_by_hand():
    advantages = torch.tensor([-9.0, -2.5, 0.0, 1.0, 9.0])
    assert better_share(advantages, 5.0).tolist() == pytest.approx([0.0, 0.25, 0.5, 0.6, 1.0])


def test_the_imitation_loss_by_hand():
    """Tokens of probability 1/2 and 1/4: their mean is 1.5 log 2; half of the turns train."""
    log_prob = torch.log(torch.tensor([[0.5, 0.25], [0.1, 0.1]]))
    mask = torch.ones(2, 2).bool()
    update = replace(TINY, text_weight=2.0, flow_weight=3.0)
    error = torch.tensor([[1.0, 3.0], [9.0, 9.0]])
    trains = torch.tensor([True, False])
    loss, parts = imitation_loss(log_prob, mask, error, trains, update)
    assert parts == {"text_loss": pytest.approx(0.75 * math.log(2)), "flow_loss": pytest.approx(1.0)}
    assert float(loss) == pytest.approx(2 * 0.75 * math.log(2) + 3.0)


def test_noise_of_the_forward_process_is_a_function_of_names_alone():
    checkpoint = tiny_policy()
    sessions = tensors_of(played(checkpoint, PLAIN))
    both = add_noise(checkpoint, sessions, PLAIN)
    half = add_noise(checkpoint, {n: v[3:] for n, v in sessions.items()}, PLAIN)
    assert torch.equal(both["noised"][3:], half["noised"])
    t = both["noised_times"]
    assert t.shape == (6, 3, 2) and len(t.unique()) == 36 and (t > 0).all() and (t <= 1).all()
    noise = (both["noised"] - (1 - t)[..., None, None] * sessions["image"][:, :, None]) / t[..., None, None]
    assert float(noise.std()) == pytest.approx(1.0, abs=0.05)


def test_old_velocities_are_worked_out_where_a_loss_uses_them():
    checkpoint = tiny_policy()
    sessions = tensors_of(played(checkpoint, PLAIN))
    trains = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    kept = {"loss_mask": torch.ones(6, 3).bool(), "scored_mask": torch.ones(6, 3).bool()}
    full = add_noise_and_old_velocity(checkpoint, sessions | kept | {"advantage": torch.ones(6, 3)}, PLAIN)
    some = add_noise_and_old_velocity(checkpoint, sessions | kept | {"advantage": trains.float()}, PLAIN)
    assert 0 < trains.sum() < trains.numel() and (full["old_velocity"].abs().amax((2, 3, 4)) > 0).all()
    torch.testing.assert_close(some["old_velocity"][trains], full["old_velocity"][trains])
    assert (some["old_velocity"][~trains] == 0).all()


def far_moved(before, model):
    return {n for n, value in model.state_dict().items() if (value - before[n]).abs().max() > 1e-4}


@pytest.mark.parametrize("objective", ["nft", "rft"])
def test_training_moves_both_experts(tmp_path, objective):
    checkpoint = tiny_policy()
    before = weights(checkpoint)
    trainer = tiny_trainer(tmp_path, checkpoint, objective=objective, window=0)
    trainer.train()
    assert far_moved(before, checkpoint) == set(before) - {"model.latent_pos_embed.pos_embed"}
    (log,) = group_by_turn(trainer.state.log_history, 2)
    assert log["flow_loss"] > 0 and "flow_clip_fraction" not in log
    assert ("text_clip_fraction" in log) is (objective == "nft")
    if objective == "nft":
        assert log["text_ratio_error"] < 1e-4 and 0 <= log["text_kl"] < 1e-9
    assert ("accepted_share" in log) is (objective == "rft")


def test_a_rejection_takes_the_turns_that_beat_their_group(tmp_path):
    trainer = tiny_trainer(tmp_path, objective="rft", window=0, filter="none", updates_per_iteration=1)
    seen = []
    true = trainer.record
    trainer.record = lambda values: (seen.append(dict(values)), true(values))
    trainer.train()
    (share,) = [values["accepted_share"] for values in seen if "accepted_share" in values]
    assert 0 < share < 1


def test_text_alone_leaves_pictures_alone(tmp_path):
    checkpoint = tiny_policy()
    before = weights(checkpoint)
    tiny_trainer(tmp_path, checkpoint, objective="nft", window=0, flow_weight=0.0).train()
    moved = far_moved(before, checkpoint)
    assert moved and not any(checkpoint.parameter_space(name) == "flow" for name in moved)


def test_imitating_an_oracle_makes_its_turns_likelier(tmp_path):
    """The oracle's sessions score 1, and four iterations on them lower the intents' loss."""
    world = StudioWorld("mixed")
    trainer = tiny_trainer(
        tmp_path, scorer=ExactScorer(world), objective="supervised", behaviour="oracle", filter="none", iterations=4
    )
    trainer.train()
    logs = group_by_turn(trainer.state.log_history, 2)
    for log in logs:
        assert log["reward"] == pytest.approx([1.0] * 3) and log["fallback_share"] == 0.0
    assert logs[-1]["text_loss"] < logs[0]["text_loss"] - 0.1
    assert all(log["flow_loss"] > 0 for log in logs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "polic"}, "objective 'polic' is not known, did you mean 'policy'"),
        ({"objective": "supervised"}, "behaviour is 'policy', expected 'oracle'"),
        ({"behaviour": "oracle"}, "behaviour is 'oracle', expected 'policy' or 'oracle_intents'"),
        ({"behaviour": "oracle_intents"}, "text_weight is 1.0, expected 0 where behaviour is 'oracle_intents'"),
        ({"behaviour": "oracle_images"}, "flow_weight is 1.0, expected 0 where behaviour is 'oracle_i"),
        ({"window": 0}, "window is 0, expected 1 or more for objective 'policy'"),
        ({"x0_loss": "adaptiv"}, "x0_loss 'adaptiv' is not known, did you mean 'adaptive'"),
        ({"objective": "nft", "flow_kl": 0.1}, "kl is 'gaussian', expected 'velocity' for objective 'nft'"),
        ({"objective": "rft", "flow_kl": 0.1}, "objective is 'rft', expected 'policy'"),
        ({"objective": "rft", "recompute": True}, "objective is 'rft', expected 'policy'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_algorithm(replace(TINY, **changes))


def test_nft_may_hold_images_near_the_reference_by_their_velocities(tmp_path):
    """0 before the first update; the loss holds the distance times its weight."""
    held = []
    for weight in (1e-4, 1e4):
        policy = tiny_policy()
        nft = {"objective": "nft", "window": 0, "kl": "velocity", "text_weight": 0.0, "filter": "none"}
        trainer = tiny_trainer(tmp_path / str(weight), policy, flow_kl=weight, iterations=2, **nft)
        trainer.train()
        logs = group_by_turn(trainer.state.log_history, 2)
        assert logs[0]["flow_kl"] >= 0 and logs[1]["flow_kl"] > 0
        held.append(logs[1]["flow_loss"] / weight)
    # Nearly all of the loss where the weight is large.
    assert held[1] == pytest.approx(logs[1]["flow_kl"], rel=0.1)
