"""What rows play after a failure: nothing that started from one, and everything from the state it says."""

import copy
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents import distributed
from editenv.agents.audit.known import CHANNELS, BrightnessJudge, FlatWorld, KnownPolicy
from editenv.agents.distributed import gather_rollout
from editenv.agents.edit_r2 import compute_advantages, policy_gradient, select_trained
from editenv.agents.editor import teacher_of
from editenv.agents.metrics import rollout_metrics
from editenv.agents.objective import check_algorithm
from editenv.agents.policy import Policies
from editenv.agents.settings import AlgorithmSettings
from editenv.agents.trainer import EditR2Trainer, check_groups
from editenv.agents.unified.context import ImageBlock
from editenv.agents.unified.model import UnifiedModel
from editenv.sims.replay import ReplayUser
from editenv.types import Scores
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import TINY, BrightnessScorer, brightness_envs, tensors_of, tiny_policy, tiny_settings
from tests.tiny_editor import played as play

SPECS, ROLLOUTS, TURNS = 6, 4, 3
FLAT = AlgorithmSettings(
    max_intent_tokens=4,
    temperature=1.0,
    steps=4,
    shared_noise=False,
    branch_from_sibling=True,
    filter="exclude",
    advantage="turn",
)


class Judge(BrightnessJudge):
    """Half of all turns fail, and all first ones of sessions that start dark."""

    def score(self, turns):
        return [
            Scores(float(int(t.after.sum()) % 2 and (t.turn or t.spec.start > 60)), None, 0.0, reward=s.reward)
            for t, s in zip(turns, super().score(turns), strict=True)
        ]


def envs(count, judge=None):
    disabled = AutoresetMode.DISABLED
    return MICEEditVectorEnv(count, FlatWorld(), ReplayUser(), judge or Judge(), autoreset_mode=disabled)


def played(rows=slice(None), seed=0, **changes):
    count = len(range(SPECS * ROLLOUTS)[rows])
    return play(
        KnownPolicy(CHANNELS),
        replace(FLAT, **changes),
        SPECS,
        envs=envs(count),
        seed=seed,
        group_size=ROLLOUTS,
        rows=rows,
    )


@pytest.fixture(scope="module")
def rollout():
    return played()


def places(rollout):
    """By row and column: the turn, whether it is a further try, its state and the places that led to it."""
    width, found = rollout.reward.shape[1], {}
    for at in (rollout.turn_index >= 0).nonzero().tolist():
        row, column = at
        past = [divmod(place, width) for place in rollout.history[row, column].tolist() if place >= 0]
        found[row, column] = SimpleNamespace(
            group=int(rollout.group_id[row]),
            turn=int(rollout.turn_index[row, column]),
            again=bool(rollout.is_branch[row, column]),
            state=tuple(rollout.start_state[row, column].tolist()),
            past=tuple(past),
        )
    return found


def failed(rollout, at) -> bool:
    return bool(rollout.instruction_following[at] == 0)


def test_no_turn_is_begun_after_a_failure(rollout):
    assert any(failed(rollout, at) for at in places(rollout))
    assert not any(failed(rollout, at) for place in places(rollout).values() for at in place.past)


def test_every_row_plays_all_its_turns(rollout):
    """The budget is neither left over nor overdrawn."""
    assert sorted(places(rollout)) == list(itertools.product(range(SPECS * ROLLOUTS), range(TURNS)))
    assert rollout.scored_mask.all()


def test_a_turn_starts_from_the_picture_that_its_past_ends_with(rollout):
    tensors, where = rollout.turns, places(rollout)
    for at, place in where.items():
        assert len(place.past) == place.turn
        assert torch.equal(tensors["source"][at], tensors["source"][place.state])
        if place.past:
            ended = ((tensors["image"][place.past[-1]] + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
            torch.testing.assert_close(tensors["source"][at], ended, atol=1e-6, rtol=0)
            before = where[place.past[-1]]
            assert before.group == place.group and before.turn == place.turn - 1


def test_tries_go_to_the_deepest_turns_that_the_group_has_reached_cleanly(rollout):
    where, late = places(rollout), 0
    tries = [(at, place) for at, place in where.items() if place.again]
    for (row, column), place in tries:
        assert failed(rollout, (row, 0)) or failed(rollout, (row, 1))
        own = [p for at, p in where.items() if p.group == place.group and at[1] == column and not p.again]
        reached = max((p.turn for p in own), default=None)
        if reached is None:
            late += 1
            assert place.turn < column
            clean = [p.turn for p in where.values() if p.group == place.group and not p.again]
            assert place.turn == max(clean)
        else:
            assert place.turn == column == reached
    assert len(tries) > 10 and late > 3


def test_tries_of_a_group_spread_evenly_over_its_states(rollout):
    counts = {}
    for (_, column), place in places(rollout).items():
        if place.again and place.past:
            at_once = counts.setdefault((place.group, column), {})
            at_once[place.state] = at_once.get(place.state, 0) + 1
    assert all(max(found.values()) - min(found.values()) <= 1 for found in counts.values())


def test_the_same_names_play_the_same_and_other_seeds_do_not(rollout):
    torch.manual_seed(7)
    again, other = played(), played(seed=1)
    assert places(again) == places(rollout)
    assert torch.equal(again.turns["latents"], rollout.turns["latents"])
    assert not torch.equal(other.turns["latents"], again.turns["latents"])


def test_tries_from_one_state_differ_and_share_their_noise_where_it_is_shared():
    for shared in (True, False):
        rollout = played(shared_noise=shared)
        at, place = next((at, p) for at, p in places(rollout).items() if p.again)
        start, owner = (rollout.turns["latents"][where] for where in (at, place.state))
        same_window = torch.equal(*(rollout.turns["times"][where] for where in (at, place.state)))
        assert not torch.equal(start[-1], owner[-1])
        if same_window and rollout.turns["times"][at][0] == 1:
            assert torch.equal(start[0], owner[0]) is shared


@pytest.mark.parametrize("std", ["batch", "group"])
def test_processes_pay_what_one_pays(rollout, monkeypatch, std):
    half = SPECS * ROLLOUTS // 2
    parts = [played(slice(0, half)), played(slice(half, None))]
    pieces = []
    monkeypatch.setattr(distributed, "process", lambda: SimpleNamespace(num_processes=2))
    monkeypatch.setattr(distributed, "all_gather", lambda part: pieces.append(part) or [part])
    for part in parts:
        gather_rollout(part)
    both = copy.deepcopy(pieces)
    monkeypatch.setattr(distributed, "all_gather", lambda part: both)
    settings = replace(FLAT, advantage_std=std)
    mine = compute_advantages(gather_rollout(parts[0]), ROLLOUTS, settings)
    alone = compute_advantages(rollout, ROLLOUTS, settings)
    torch.testing.assert_close(mine["advantage"], alone["advantage"], atol=1e-6, rtol=0)
    assert torch.equal(mine["loss_mask"], alone["loss_mask"])


def test_every_turn_sampled_trains_where_none_lacks_others_to_be_measured_by(rollout):
    paid = compute_advantages(rollout, ROLLOUTS, FLAT)
    log = rollout_metrics(rollout, paid, select_trained(paid, FLAT), ROLLOUTS)
    assert paid["loss_mask"].all() and log["filtered_share"] == 0.0
    alone = int((paid["advantage"] == 0).sum())
    assert log["wasted_share"] == pytest.approx(alone / paid["advantage"].numel())
    plain = replace(FLAT, branch_from_sibling=False, filter="first_failure")
    other = play(KnownPolicy(CHANNELS), plain, SPECS, envs=envs(SPECS * ROLLOUTS), group_size=ROLLOUTS)
    paid = compute_advantages(other, ROLLOUTS, plain)
    first = rollout_metrics(other, paid, select_trained(paid, plain), ROLLOUTS)
    assert log["wasted_share"] < first["wasted_share"] / 2


class HalfFail(BrightnessScorer):
    """Pays for brightness; every second turn fails, by chance of its picture."""

    def _one(self, turn):
        return replace(super()._one(turn), instruction_following=float(int(turn.after.sum()) % 2))


BRANCHES = replace(
    TINY,
    context="interleaved",
    intent_from_turn=2,
    text_guidance=4.0,
    image_guidance=2.0,
    branch_from_sibling=True,
    filter="exclude",
    advantage="turn",
)
PICTURE = 16 + 2


def test_training_reads_the_past_that_a_rollout_read():
    """Interleaved, and with intents from turn 2 on: the ratio is 1 only if each turn has its own past."""
    policy = tiny_policy()
    rollout = play(policy, BRANCHES, 1, scorer=HalfFail(), group_size=4, seed=2)
    where = places(rollout)
    assert any(p.past and p.past != tuple((at[0], c) for c in range(at[1])) for at, p in where.items())
    batch = rollout.turns | compute_advantages(rollout, 4, BRANCHES)
    _, numbers = policy_gradient(Policies(policy, policy, lambda: None), batch, BRANCHES, True)
    assert numbers["text_ratio_error"] < 1e-4 and numbers["flow_ratio_error"] < 1e-4


@pytest.fixture(scope="module")
def read():
    """By branching and caching: the rollout, and how many pictures, texts and tokens were read."""
    policy, found, true = tiny_policy(), {}, UnifiedModel.append
    count = SimpleNamespace(pictures=0, texts=0, tokens=0)

    def counting(model, context, block):
        before = context.length
        true(model, context, block)
        count.tokens += len(context.valid) * (context.length - before)
        count.pictures += isinstance(block, ImageBlock)
        count.texts += not isinstance(block, ImageBlock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnifiedModel, "append", counting)
        for branches in (True, False):
            for cached in (True, False):
                count.pictures = count.texts = count.tokens = 0
                settings = replace(BRANCHES, branch_from_sibling=branches)
                rollout = play(policy, settings, scorer=HalfFail(), group_size=4, cached=cached)
                found[branches, cached] = rollout, SimpleNamespace(**vars(count))
    return found


@pytest.mark.parametrize("branches", [True, False])
def test_the_cache_holds_what_reading_anew_gives_to_the_last_bit(read, branches):
    mine, theirs = (tensors_of(read[branches, cached][0]) for cached in (True, False))
    for name, value in mine.items():
        assert torch.equal(value.nan_to_num(), theirs[name].nan_to_num()), name


def test_rows_did_go_on_elsewhere(read):
    """Else the comparison would show no more than that of plain rollouts."""
    where = places(read[True, True][0])
    assert sum(p.past != tuple((row, at) for at in range(column)) for (row, column), p in where.items()) > 5


@pytest.mark.parametrize("branches", [True, False])
def test_no_picture_and_no_intent_is_read_twice(read, branches):
    """Each turn adds its own picture and intent, the intent once more for the context without pictures."""
    rollout, count = read[branches, True]
    assert (count.pictures, count.texts) == (TURNS, 2 * TURNS)
    longest = rollout.turns["condition_mask"].sum(-1).amax(0).sum()
    assert count.tokens == 2 * 4 * (TURNS * PICTURE + 2 * int(longest))
    assert read[branches, False][1].tokens > 2 * count.tokens


def test_later_turns_follow_intents_whose_pictures_rules_drew():
    """The ratio is 1 only if both read the intents of turns in which the model itself drew nothing."""
    settings = replace(BRANCHES, branch_from_sibling=False, filter="none", flow_weight=0.0, window=0)
    policy, sessions = tiny_policy(), brightness_envs(6)
    rollout = play(policy, settings, envs=sessions, teacher=teacher_of("oracle_images", sessions, "free"))
    batch = rollout.turns | compute_advantages(rollout, 3, settings)
    _, numbers = policy_gradient(Policies(policy, policy, lambda: None), batch, settings, True)
    assert numbers["text_ratio_error"] < 2e-5


def test_branches_are_refused_where_they_cannot_be(tmp_path):
    settings = tiny_settings(tmp_path, branch_from_sibling=True, updates_per_iteration=1)
    check_groups(settings, 2, deferred=False)
    with pytest.raises(ValueError, match=r"groups is 3 on 2 processes with branch.* expected a multiple"):
        check_groups(replace(settings, groups=3, group_size=2), 2, deferred=False)
    with pytest.raises(ValueError, match="behaviour is 'oracle' with branch_from_sibling"):
        check_algorithm(replace(FLAT, objective="supervised", behaviour="oracle"))
    made = brightness_envs(6).engine
    later = MICEEditVectorEnv(6, made.world, made.user, made.scorer, scoring="deferred")
    with pytest.raises(ValueError, match="scoring is 'deferred' with branch_from_sibling=true"):
        EditR2Trainer(tiny_policy(), later, settings)
