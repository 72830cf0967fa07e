"""What rows play after a failure: nothing that started from one, and everything from the state it says."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents import distributed
from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.model import CHANNELS, known_checkpoint
from editenv.agents.audit.world import BrightnessJudge, FlatWorld, Reader
from editenv.agents.distributed import gather_rollout
from editenv.agents.edit_r2.credit import CreditSettings, credit
from editenv.agents.edit_r2.objective.policy import policy_gradient
from editenv.agents.edit_r2.objective.protocol import Policies
from editenv.agents.edit_r2.rollout import RolloutSettings, collect
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.update import UpdateSettings
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.metrics import Timer
from editenv.types import Scores
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import ROLLOUT, brightness_envs, tiny_checkpoint

SPECS, ROLLOUTS, TURNS = 6, 4, 3
WAYS = {
    "resample": SpendSettings(filter="resample"),
}
TURN = TurnSettings(max_intent_tokens=4, temperature=1.0, steps=4)


class Judge(BrightnessJudge):
    """Half of all turns fail, and all first ones of sessions that start dark."""

    def score(self, turns):
        return [
            Scores(
                float(int(t.after.sum()) % 2 and (t.turn or t.spec.start > 60)), None, 0.0, reward=s.reward
            )
            for t, s in zip(turns, super().score(turns), strict=True)
        ]


def envs(count, judge=None):
    disabled = AutoresetMode.DISABLED
    return MICEEditVectorEnv(count, FlatWorld(), Reader(), judge or Judge(), autoreset_mode=disabled)


def played(way, rows=slice(None), seed=0, **changes):
    settings = RolloutSettings(turn=TURN, rollouts=ROLLOUTS, spending=WAYS[way], **changes)
    count = len(range(SPECS * ROLLOUTS)[rows])
    checkpoint = known_checkpoint(KnownPolicy(CHANNELS))
    return collect(checkpoint, envs(count), settings, seed, 0, SPECS, Timer(), rows)


@pytest.fixture(scope="module")
def rollouts():
    return {way: played(way) for way in WAYS}


def failed(rollout, at) -> bool:
    return bool(rollout.tensors["instruction_following"][at] == 0)


@pytest.mark.parametrize("way", WAYS)
def test_no_turn_is_begun_after_a_failure(rollouts, way):
    rollout = rollouts[way]
    assert any(failed(rollout, at) for at in rollout.places)
    assert not any(failed(rollout, at) for place in rollout.places.values() for at in place.past)


@pytest.mark.parametrize("way", WAYS)
def test_every_row_plays_all_its_turns(rollouts, way):
    """The budget is neither left over nor overdrawn."""
    places = rollouts[way].places
    assert sorted(places) == list(itertools.product(range(SPECS * ROLLOUTS), range(TURNS)))
    assert rollouts[way].tensors["valid"].all()


@pytest.mark.parametrize("way", WAYS)
def test_a_turn_starts_from_the_picture_that_its_past_ends_with(rollouts, way):
    tensors, places = rollouts[way].tensors, rollouts[way].places
    for at, place in places.items():
        assert len(place.past) == place.turn
        assert torch.equal(tensors["source"][at], tensors["source"][place.state])
        if place.past:
            ended = ((tensors["image"][place.past[-1]] + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
            torch.testing.assert_close(tensors["source"][at], ended, atol=1e-6, rtol=0)
            before = places[place.past[-1]]
            assert before.group == place.group and before.turn == place.turn - 1


def test_tries_go_to_the_deepest_turns_that_the_group_has_reached_cleanly(rollouts):
    rollout = rollouts["resample"]
    places, late = rollout.places, 0
    tries = [(at, place) for at, place in places.items() if place.again]
    for (row, column), place in tries:
        assert failed(rollout, (row, 0)) or failed(rollout, (row, 1))
        own = [p for at, p in places.items() if p.group == place.group and at[1] == column and not p.again]
        reached = max((p.turn for p in own), default=None)
        if reached is None:
            late += 1
            assert place.turn < column
            clean = [p.turn for p in places.values() if p.group == place.group and not p.again]
            assert place.turn == max(clean)
        else:
            assert place.turn == column == reached
    assert len(tries) > 10 and late > 3


def test_tries_of_a_group_spread_evenly_over_its_states(rollouts):
    places = rollouts["resample"].places
    counts = {}
    for (_, column), place in places.items():
        if place.again and place.past:
            at_once = counts.setdefault((place.group, column), {})
            at_once[place.state] = at_once.get(place.state, 0) + 1
    assert all(max(found.values()) - min(found.values()) <= 1 for found in counts.values())


@pytest.mark.parametrize("way", WAYS)
def test_the_same_names_play_the_same_and_other_seeds_do_not(rollouts, way):
    torch.manual_seed(7)
    again, other = played(way), played(way, seed=1)
    assert again.places == rollouts[way].places
    assert torch.equal(again.tensors["latents"], rollouts[way].tensors["latents"])
    assert not torch.equal(other.tensors["latents"], again.tensors["latents"])


def test_tries_from_one_state_differ_and_share_their_noise_where_it_is_shared():
    for shared in (True, False):
        rollout = played("resample", shared_noise=shared)
        at, place = next((at, p) for at, p in rollout.places.items() if p.again)
        start, owner = (rollout.tensors["latents"][where] for where in (at, place.state))
        same_window = torch.equal(*(rollout.tensors["times"][where] for where in (at, place.state)))
        assert not torch.equal(start[-1], owner[-1])
        if same_window and rollout.tensors["times"][at][0] == 1:
            assert torch.equal(start[0], owner[0]) is shared


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("std", ["batch", "group"])
def test_processes_pay_what_one_pays(rollouts, monkeypatch, way, std):
    half = SPECS * ROLLOUTS // 2
    parts = [played(way, slice(0, half)), played(way, slice(half, None))]
    pieces = []
    monkeypatch.setattr(distributed, "process", lambda: type("Two", (), {"num_processes": 2}))
    monkeypatch.setattr(distributed, "gather_object", pieces.extend)
    for part in parts:
        with pytest.raises(TypeError):  # nobody has answered yet
            gather_rollout(part)
    monkeypatch.setattr(distributed, "gather_object", lambda _: pieces)
    paying = CreditSettings(filter=WAYS[way].filter, advantage="turn", advantage_std=std)
    mine, _ = credit(gather_rollout(parts[0]), ROLLOUTS, paying, {})
    alone, _ = credit(rollouts[way], ROLLOUTS, paying, {})
    torch.testing.assert_close(mine["advantage"], alone["advantage"], atol=1e-6, rtol=0)
    assert torch.equal(mine["keep"], alone["keep"])


@pytest.mark.parametrize("way", WAYS)
def test_every_turn_sampled_trains_where_none_lacks_others_to_be_measured_by(rollouts, way):
    paying = CreditSettings(filter=WAYS[way].filter, advantage="turn")
    paid, log = credit(rollouts[way], ROLLOUTS, paying, {})
    assert paid["keep"].all() and log["filtered_share"] == 0.0
    alone = math.prod(paid["advantage"].shape) - int((paid["advantage"] != 0).sum())
    assert log["wasted_share"] == pytest.approx(alone / paid["advantage"].numel())
    assert log["wasted_share"] < 0.1


@pytest.mark.parametrize("way", WAYS)
def test_training_reads_the_past_that_a_rollout_read(way):
    """Interleaved, and with intents from turn 2 on: the ratio is 1 only if each turn has its own past."""
    turn = replace(ROLLOUT.turn, context="interleaved", intent_from_turn=2)
    settings = replace(ROLLOUT, turn=turn, rollouts=4, spending=WAYS[way])
    checkpoint = tiny_checkpoint()
    made = brightness_envs(4).engine
    judge = Judge()
    judge.score = lambda turns: [
        Scores(float(int(t.after.sum()) % 2), None, 0.0, reward=float(t.after.mean() / 255)) for t in turns
    ]
    sessions = MICEEditVectorEnv(4, made.world, made.user, judge, autoreset_mode=AutoresetMode.DISABLED)
    rollout = collect(checkpoint, sessions, settings, 2, 0, 1, Timer())
    strange = [
        p for at, p in rollout.places.items() if p.past and p.past != tuple((at[0], c) for c in range(at[1]))
    ]
    assert strange
    paid, _ = credit(rollout, 4, CreditSettings(filter=settings.spending.filter, advantage="turn"), {})
    policies = Policies(checkpoint.model, checkpoint.model, lambda: None)
    update = UpdateSettings(flow_kl=0.0)
    turns = {
        k: v for k, v in (rollout.tensors | paid).items() if k not in ("reward", "instruction_following")
    }
    _, numbers = policy_gradient(policies, turns, settings, update, True)
    assert numbers["text_ratio_error"] < 1e-4 and numbers["flow_ratio_error"] < 1e-4
