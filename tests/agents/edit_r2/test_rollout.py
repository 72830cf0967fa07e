"""Rollouts: what is shared in a group, what is a function of names alone, what does not train."""

import math
from dataclasses import replace

import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents.edit_r2.padding import trimmed
from editenv.agents.edit_r2.rollout import RolloutSettings, collect
from editenv.agents.metrics import Timer
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import ROLLOUT, BrightnessScorer, brightness_envs, tiny_checkpoint

PLAIN = replace(ROLLOUT, window_high=0)


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint()


@pytest.fixture(scope="module")
def played(checkpoint):
    return played_of(checkpoint)


def played_of(checkpoint, settings=ROLLOUT, specs=2, iteration=0, seed=0, scorer=None):
    envs = brightness_envs(specs * settings.rollouts, scorer)
    return collect(checkpoint, envs, settings, seed, iteration, specs, Timer())


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name].nan_to_num(-1.0), other[name].nan_to_num(-1.0)) for name in one
    )


def test_rows_of_a_spec_play_one_session_and_differ_in_what_they_draw(played):
    assert played.tensors["group_id"].tolist() == [0, 0, 0, 1, 1, 1]
    assert [session.index for session in played.sessions] == [0, 0, 0, 1, 1, 1]
    assert len({session.spec.id for session in played.sessions[:3]}) == 1
    ends = played.tensors["latents"][:, 0, -1]
    assert len({row.numpy().tobytes() for row in ends}) == 6
    assert len({tuple(row) for row in played.tensors["intent_ids"][:3, 0].tolist()}) > 1


def test_later_iterations_play_the_sessions_that_follow(checkpoint):
    assert played_of(checkpoint, iteration=3).tensors["group_id"].unique().tolist() == [6, 7]


def test_seed_and_iteration_say_everything_whatever_ran_before(checkpoint):
    envs = brightness_envs(6)
    first = collect(checkpoint, envs, ROLLOUT, 0, 1, 2, Timer()).tensors
    other = collect(checkpoint, envs, ROLLOUT, 0, 2, 2, Timer()).tensors
    torch.manual_seed(99)
    again = collect(checkpoint, envs, ROLLOUT, 0, 1, 2, Timer()).tensors
    assert same(first, again)
    assert not torch.equal(first["latents"], other["latents"])
    assert not torch.equal(first["latents"], played_of(checkpoint, iteration=1, seed=1).tensors["latents"])


def test_what_stands_beside_a_row_changes_it_by_float_noise_alone(checkpoint, played):
    alone = played_of(checkpoint, specs=1).tensors
    beside = {name: value[:3] for name, value in played.tensors.items()}
    for name in ("latents", "flow_mean", "flow_log_prob_mean", "times", "source"):
        torch.testing.assert_close(alone[name], beside[name], atol=2e-4, rtol=1e-4)
    for kind in ("intent", "condition", "transcript"):
        left = kind == "transcript"
        mine, theirs = (
            trimmed(batch[f"{kind}_ids"].flatten(0, 1), batch[f"{kind}_mask"].flatten(0, 1), left).ids
            for batch in (alone, beside)
        )
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("shared", [True, False])
def test_shared_noise_shares_where_a_picture_starts_and_nothing_else(checkpoint, shared):
    latents = played_of(checkpoint, replace(PLAIN, shared_noise=shared)).tensors["latents"]
    starts = {row.numpy().tobytes() for row in latents[:, :, 0].flatten(0, 1)}
    assert len(starts) == (2 * 3 if shared else 6 * 3)
    assert torch.equal(latents[0, 0, 0], latents[2, 0, 0]) is shared
    after = {row.numpy().tobytes() for row in latents[:, :, 1].flatten(0, 1)}
    assert len(after) == 6 * 3


def test_initial_noise_is_standard_normal(checkpoint):
    noise = played_of(checkpoint, PLAIN).tensors["latents"][:, :, 0]
    assert abs(float(noise.mean())) < 5 / math.sqrt(noise.numel())
    assert float(noise.std()) == pytest.approx(1.0, abs=5 / math.sqrt(2 * noise.numel()))


def test_the_windows_starts_occur_equally_often_and_change_between_turns(checkpoint):
    turn = replace(ROLLOUT.turn, steps=2, max_intent_tokens=1)
    settings = replace(ROLLOUT, turn=turn, window=1, window_low=0, window_high=1)
    times = played_of(checkpoint, settings, specs=24).tensors["times"][..., 0]
    drawn = 24 * 3 * 3
    first, second = ((times == t).sum().item() for t in turn.times()[:2])
    assert first + second == drawn
    assert abs(first - drawn / 2) < 4 * math.sqrt(drawn / 4)
    assert not torch.equal(times[:, 0], times[:, 1])


@pytest.mark.parametrize(
    ("placement", "iteration", "step"), [("fixed", 7, 0), ("sliding", 0, 0), ("sliding", 7, 2)]
)
def test_a_placed_window_starts_where_it_should_in_all_rows(checkpoint, placement, iteration, step):
    settings = replace(ROLLOUT, window_placement=placement, window_every=3)
    times = played_of(checkpoint, settings, iteration=iteration).tensors["times"]
    assert (times[..., 0] == settings.turn.times()[step]).all()


def test_what_is_conditioned_on_is_what_the_session_keeps(checkpoint, played):
    decode = checkpoint.tokenizer.batch_decode
    for turn in range(3):
        ids = played.tensors["condition_ids"][:, turn]
        texts = decode(ids.where(played.tensors["condition_mask"][:, turn], 0), skip_special_tokens=True)
        kept = [session.intents[turn] for session in played.sessions]
        assert texts == decode(checkpoint.tokenizer(kept)["input_ids"], skip_special_tokens=True)


def test_intents_that_never_stop_fall_back_to_the_users_words(checkpoint, played):
    stop = checkpoint.tokenizer.eos_token_id
    fell = (played.tensors["intent_ids"] != stop).all(-1)
    assert fell.any()
    users = torch.tensor(
        [[i == said for i, said in zip(s.intents, s.transcript, strict=True)] for s in played.sessions]
    )
    assert torch.equal(fell & users, fell)
    assert played.fallbacks >= float(fell.double().mean())


def test_tokens_that_nobody_used_train_or_not_as_is_chosen(checkpoint):
    """Everything else stays as it was, the pictures of those turns too."""
    settings = replace(ROLLOUT, turn=replace(ROLLOUT.turn, max_intent_tokens=40))
    played, chosen = (
        played_of(checkpoint, replace(settings, fallbacks_train=which)) for which in (True, False)
    )
    stop, mask = checkpoint.tokenizer.eos_token_id, played.tensors["intent_mask"]
    ended = ((played.tensors["intent_ids"] == stop) & mask).any(-1)
    assert mask.any(-1).all() and 0 < int(ended.sum()) < ended.numel()
    trains = chosen.tensors["intent_mask"].any(-1)
    assert int((~trains).sum()) == round(18 * chosen.fallbacks) and not trains[~ended].any()
    assert (chosen.tensors["text_log_prob"][~ended] == 0).all()
    assert torch.equal(chosen.tensors["intent_mask"][trains], mask[trains])
    assert chosen.fallbacks == played.fallbacks
    assert torch.equal(chosen.tensors["image"], played.tensors["image"])


def test_before_intent_from_turn_the_users_words_serve_and_no_token_trains(checkpoint):
    late = replace(ROLLOUT, turn=replace(ROLLOUT.turn, intent_from_turn=2))
    played = played_of(checkpoint, late)
    mask = played.tensors["intent_mask"]
    assert not mask[:, 0].any() and mask[:, 1:].any(-1).all()
    assert all(session.intents[0] == session.transcript[0] for session in played.sessions)


def test_deferred_scores_train_the_same(checkpoint, played):
    """Fails where scores are read in the middle of a session, when there are only placeholders."""
    made = brightness_envs(6).engine
    envs = MICEEditVectorEnv(
        6,
        made.world,
        made.user,
        made.scorer,
        scoring="deferred",
        autoreset_mode=AutoresetMode.DISABLED,
    )
    later = collect(checkpoint, envs, ROLLOUT, 0, 0, 2, Timer())
    assert same(later.tensors, played.tensors) and not later.tensors["reward"].isnan().any()


def test_turns_after_a_judge_failed_are_not_valid(checkpoint):
    tensors = played_of(checkpoint, scorer=BrightnessScorer(fails=[(1, 1)])).tensors
    assert tensors["valid"].tolist() == [[True] * 3] * 3 + [[True, False, False]] * 3
    failed = torch.zeros(6, 3).bool()
    failed[3:, 1] = True
    assert torch.equal(tensors["reward"].isnan(), failed), "what was never played earns 0"
    assert torch.equal(tensors["instruction_following"].isnan(), ~tensors["valid"])


def test_a_judge_that_always_fails_ends_the_rollout_after_one_turn(checkpoint):
    tensors = played_of(checkpoint, scorer=BrightnessScorer(fails=[(0, 0), (1, 0)])).tensors
    assert tensors["valid"].tolist() == [[False]] * 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "flow_sd"}, "sampler 'flow_sd' is not known, did you mean 'flow_sde'"),
        ({"window_high": 7}, "window is 2 with starts 0 to 7, expected 0 or more steps, all inside"),
        ({"window": -1}, "window is -1"),
        ({"behaviour": "orcale"}, "behaviour 'orcale' is not known, did you mean 'oracle'"),
        ({"window_placement": "slide"}, "window_placement 'slide' is not known, did you mean 'sliding'"),
        ({"window_every": 0}, "window_every is 0, expected 1 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RolloutSettings(**changes)
