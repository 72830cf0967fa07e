"""Rollouts: what is shared in a group, what is a function of names alone, what does not train."""

import math
from dataclasses import replace

import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents.edit_r2 import time_grid
from editenv.agents.objective import check_algorithm
from editenv.agents.rollout import script_numbers
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import TINY, BrightnessScorer, brightness_envs, played, tensors_of, tiny_policy

PLAIN = replace(TINY, window_high=0)


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_policy()


@pytest.fixture(scope="module")
def rollout(checkpoint):
    return played(checkpoint)


@pytest.fixture(scope="module")
def tensors(rollout):
    return tensors_of(rollout)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name].nan_to_num(-1.0), other[name].nan_to_num(-1.0)) for name in one
    )


def test_rows_of_a_spec_play_one_session_and_differ_in_what_they_draw(rollout, tensors):
    assert tensors["group_id"].tolist() == [0, 0, 0, 1, 1, 1]
    assert [session.index for session in rollout.sessions] == [0, 0, 0, 1, 1, 1]
    assert len({session.spec.id for session in rollout.sessions[:3]}) == 1
    ends = tensors["latents"][:, 0, -1]
    assert len({row.numpy().tobytes() for row in ends}) == 6
    assert len({tuple(row) for row in tensors["intent_ids"][:3, 0].tolist()}) > 1


def test_later_iterations_play_the_sessions_that_follow(checkpoint):
    assert tensors_of(played(checkpoint, iteration=3))["group_id"].unique().tolist() == [6, 7]


def test_seed_and_iteration_say_everything_whatever_ran_before(checkpoint):
    envs = brightness_envs(6)
    first, other = (tensors_of(played(checkpoint, envs=envs, iteration=number)) for number in (1, 2))
    torch.manual_seed(99)
    again = tensors_of(played(checkpoint, envs=envs, iteration=1))
    assert same(first, again)
    assert not torch.equal(first["latents"], other["latents"])
    assert not torch.equal(first["latents"], tensors_of(played(checkpoint, iteration=1, seed=1))["latents"])


def test_what_stands_beside_a_row_changes_it_by_float_noise_alone(checkpoint, rollout, tensors):
    alone = tensors_of(played(checkpoint, groups=1))
    beside = {name: value[:3] for name, value in tensors.items()}
    for name in ("latents", "flow_mean", "flow_log_prob_mean", "times", "source"):
        torch.testing.assert_close(alone[name], beside[name], atol=2e-4, rtol=1e-4)
    for kind in ("intent", "condition", "transcript"):
        for row in range(3):
            for turn in range(3):
                mine, theirs = (
                    batch[f"{kind}_ids"][row, turn][batch[f"{kind}_mask"][row, turn]] for batch in (alone, beside)
                )
                assert torch.equal(mine, theirs)


@pytest.mark.parametrize("shared", [True, False])
def test_shared_noise_shares_where_a_picture_starts_and_nothing_else(checkpoint, shared):
    latents = tensors_of(played(checkpoint, replace(PLAIN, shared_noise=shared)))["latents"]
    starts = {row.numpy().tobytes() for row in latents[:, :, 0].flatten(0, 1)}
    assert len(starts) == (2 * 3 if shared else 6 * 3)
    assert torch.equal(latents[0, 0, 0], latents[2, 0, 0]) is shared
    after = {row.numpy().tobytes() for row in latents[:, :, 1].flatten(0, 1)}
    assert len(after) == 6 * 3


def test_initial_noise_is_standard_normal(checkpoint):
    noise = tensors_of(played(checkpoint, PLAIN))["latents"][:, :, 0]
    assert abs(float(noise.mean())) < 5 / math.sqrt(noise.numel())
    assert float(noise.std()) == pytest.approx(1.0, abs=5 / math.sqrt(2 * noise.numel()))


def test_the_windows_starts_occur_equally_often_and_change_between_turns(checkpoint):
    settings = replace(TINY, steps=2, max_intent_tokens=1, window=1, window_low=0, window_high=1)
    times = tensors_of(played(checkpoint, settings, groups=24))["times"][..., 0]
    drawn = 24 * 3 * 3
    first, second = ((times == t).sum().item() for t in time_grid(settings)[:2])
    assert first + second == drawn
    assert abs(first - drawn / 2) < 4 * math.sqrt(drawn / 4)
    assert not torch.equal(times[:, 0], times[:, 1])


@pytest.mark.parametrize(("placement", "iteration", "step"), [("fixed", 7, 0), ("sliding", 0, 0), ("sliding", 7, 2)])
def test_a_placed_window_starts_where_it_should_in_all_rows(checkpoint, placement, iteration, step):
    settings = replace(TINY, window_placement=placement, window_every=3)
    times = tensors_of(played(checkpoint, settings, iteration=iteration))["times"]
    assert (times[..., 0] == time_grid(settings)[step]).all()


def test_what_is_conditioned_on_is_what_the_session_keeps(checkpoint, rollout, tensors):
    decode = checkpoint.tokenizer.batch_decode
    for turn in range(3):
        ids = tensors["condition_ids"][:, turn]
        texts = decode(ids.where(tensors["condition_mask"][:, turn], 0), skip_special_tokens=True)
        kept = [session.intents[turn] for session in rollout.sessions]
        assert texts == decode(checkpoint.tokenizer(kept)["input_ids"], skip_special_tokens=True)


def test_intents_that_never_stop_fall_back_to_the_users_words(checkpoint, rollout, tensors):
    stop = checkpoint.tokenizer.eos_token_id
    fell = (tensors["intent_ids"] != stop).all(-1)
    assert fell.any()
    users = torch.tensor(
        [[i == said for i, said in zip(s.intents, s.transcript, strict=True)] for s in rollout.sessions]
    )
    assert torch.equal(fell & users, fell)
    assert rollout.fallback_share >= float(fell.double().mean())


def test_tokens_that_nobody_used_train_or_not_as_is_chosen(checkpoint):
    """Everything else stays as it was, the pictures of those turns too."""
    settings = replace(TINY, max_intent_tokens=40)
    usual, chosen = (played(checkpoint, replace(settings, fallbacks_train=which)) for which in (True, False))
    stop, mask = checkpoint.tokenizer.eos_token_id, usual.turns["intent_mask"]
    ended = ((usual.turns["intent_ids"] == stop) & mask).any(-1)
    assert mask.any(-1).all() and 0 < int(ended.sum()) < ended.numel()
    trains = chosen.turns["intent_mask"].any(-1)
    assert int((~trains).sum()) == round(18 * chosen.fallback_share) and not trains[~ended].any()
    assert (chosen.turns["text_log_prob"][~ended] == 0).all()
    assert torch.equal(chosen.turns["intent_mask"][trains], mask[trains])
    assert chosen.fallback_share == usual.fallback_share
    assert torch.equal(chosen.turns["image"], usual.turns["image"])


def test_before_intent_from_turn_the_users_words_serve_and_no_token_trains(checkpoint):
    late = replace(TINY, intent_from_turn=2)
    rollout = played(checkpoint, late)
    mask = rollout.turns["intent_mask"]
    assert not mask[:, 0].any() and mask[:, 1:].any(-1).all()
    assert all(session.intents[0] == session.transcript[0] for session in rollout.sessions)


def test_deferred_scores_train_the_same(checkpoint, rollout, tensors):
    """Fails where scores are read in the middle of a session, when there are only placeholders."""
    made = brightness_envs(6).engine
    envs = MICEEditVectorEnv(
        6, made.world, made.user, made.scorer, scoring="deferred", autoreset_mode=AutoresetMode.DISABLED
    )
    later = tensors_of(played(checkpoint, envs=envs))
    assert same(later, tensors) and not later["reward"].isnan().any()


def test_turns_after_a_judge_failed_are_not_valid(checkpoint):
    tensors = tensors_of(played(checkpoint, scorer=BrightnessScorer(fails=[(1, 1)])))
    assert tensors["scored_mask"].tolist() == [[True] * 3] * 3 + [[True, False, False]] * 3
    failed = torch.zeros(6, 3).bool()
    failed[3:, 1] = True
    assert torch.equal(tensors["reward"].isnan(), failed), "what was never played earns 0"
    assert torch.equal(tensors["instruction_following"].isnan(), ~tensors["scored_mask"])


def test_a_judge_that_always_fails_ends_the_rollout_after_one_turn(checkpoint):
    tensors = tensors_of(played(checkpoint, scorer=BrightnessScorer(fails=[(0, 0), (1, 0)])))
    assert tensors["scored_mask"].tolist() == [[False]] * 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "flow_sd"}, "sampler 'flow_sd' is not known, did you mean 'flow_sde'"),
        ({"window_high": 7}, "window is 2 with starts 0 to 7, expected all its steps inside"),
        ({"window_placement": "slide"}, "window_placement 'slide' is not known, did you mean 'sliding'"),
        ({"advantage": "json:dumps"}, "advantage is 'json:dumps', expected a function pooled.*: too many positional"),
        ({"filter": f"{__name__}:TINY"}, "expected a class or function"),
        ({"objective": "json:dumps"}, "objective is 'json:dumps', a function, expected an Objective"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_algorithm(replace(TINY, **changes))


def test_a_training_on_so_many_scripts_plays_each_once_before_any_again():
    """In an order that the seed decides, anew in each round; without a bound scripts never come back."""
    played = [number for iteration in range(6) for number in script_numbers(3, iteration, 2, 4)]
    rounds = [played[start : start + 4] for start in (0, 4, 8)]
    assert all(sorted(one) == [0, 1, 2, 3] for one in rounds) and len({tuple(one) for one in rounds}) > 1
    assert played == [n for i in range(6) for n in script_numbers(3, i, 2, 4)]
    assert [script_numbers(3, i, 2, None) for i in (0, 5)] == [[0, 1], [10, 11]]


def test_a_script_that_comes_twice_in_an_iteration_is_drawn_twice(checkpoint):
    """The last of one round may be the first of the next; its six rollouts still differ."""
    rollout = played(checkpoint, groups=2, iteration=1, sessions=3)
    keys = [tuple(key) for key in rollout.rng_keys.tolist()]
    assert len(set(keys)) == 6 and set(rollout.group_id.tolist()) <= {0, 1, 2}
    for iteration in range(20):
        numbers = script_numbers(0, iteration, 3, 4)
        if len(set(numbers)) < 3:
            twice = played(checkpoint, groups=3, group_size=1, iteration=iteration, sessions=4)
            assert len({tuple(key) for key in twice.rng_keys.tolist()}) == 3
            return
    raise AssertionError("no iteration had a script twice")
