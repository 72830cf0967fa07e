"""Rollouts that branch read with the growing cache what others read anew."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents.edit_r2.credit import CreditSettings, credit
from editenv.agents.edit_r2.objective.policy import policy_gradient
from editenv.agents.edit_r2.objective.protocol import Policies
from editenv.agents.edit_r2.rollout import collect
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.update import UpdateSettings
from editenv.agents.editor.growing import growing, rereading
from editenv.agents.metrics import Timer
from editenv.agents.unified import ImageBlock, UnifiedModel
from editenv.types import Scores
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import ROLLOUT, brightness_envs, tiny_checkpoint

SPECS, ROLLOUTS, TURNS, PICTURE = 2, 4, 3, 16 + 2
TURN = replace(ROLLOUT.turn, context="interleaved", intent_from_turn=2, text_guidance=4.0, image_guidance=2.0)
WAYS = {
    "resample": SpendSettings(filter="resample"),
    "plain": SpendSettings(),
}


class HalfFail:
    """Pays for brightness; every second turn fails, by chance of its picture."""

    version = "half 1"

    def score(self, turns):
        return [
            Scores(float(int(t.after.sum()) % 2), None, 0.0, reward=float(t.after.mean() / 255))
            for t in turns
        ]


def envs():
    made = brightness_envs(1).engine
    sides = SPECS * ROLLOUTS
    return MICEEditVectorEnv(sides, made.world, made.user, HalfFail(), autoreset_mode=AutoresetMode.DISABLED)


def settings(way):
    return replace(ROLLOUT, turn=TURN, rollouts=ROLLOUTS, spending=WAYS[way])


@pytest.fixture(scope="module")
def played():
    """By way and reader: the rollout, and how many pictures, texts and tokens were read for contexts."""
    checkpoint, found, true = tiny_checkpoint(), {}, UnifiedModel.append
    read = SimpleNamespace(pictures=0, texts=0, tokens=0)

    def counting(model, context, block):
        before = context.length
        true(model, context, block)
        read.tokens += context.batch_size * (context.length - before)
        read.pictures += isinstance(block, ImageBlock)
        read.texts += not isinstance(block, ImageBlock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnifiedModel, "append", counting)
        for way in WAYS:
            for reader in (growing, rereading):
                read.pictures = read.texts = read.tokens = 0
                rollout = collect(checkpoint, envs(), settings(way), 0, 0, SPECS, Timer(), reader=reader)
                found[way, reader] = rollout, SimpleNamespace(**vars(read))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_the_cache_holds_what_reading_anew_gives_to_the_last_bit(played, way):
    mine, theirs = (played[way, reader][0] for reader in (growing, rereading))
    assert mine.places == theirs.places
    for name, value in mine.tensors.items():
        assert torch.equal(value.nan_to_num(), theirs.tensors[name].nan_to_num()), name


def test_rows_did_go_on_elsewhere(played):
    """Else the comparison would show no more than that of plain rollouts."""
    places = played["resample", growing][0].places
    own = [tuple((row, at) for at in range(column)) for row, column in places]
    assert sum(place.past != past for place, past in zip(places.values(), own, strict=True)) > 5


@pytest.mark.parametrize("way", WAYS)
def test_no_picture_and_no_intent_is_read_twice(played, way):
    """Each turn adds its own picture and intent, the intent once more for the view without pictures."""
    rollout, read = played[way, growing]
    assert (read.pictures, read.texts) == (TURNS, 2 * TURNS)
    longest = rollout.tensors["condition_mask"].sum(-1).amax(0).sum()
    assert read.tokens == SPECS * ROLLOUTS * (TURNS * PICTURE + 2 * int(longest))
    assert played[way, rereading][1].tokens > 2 * read.tokens


def test_later_turns_follow_intents_whose_pictures_rules_drew():
    """The ratio is 1 only if both read the intents of turns in which the model itself drew nothing."""
    sampled = replace(settings("plain"), behaviour="exact_pictures", spending=SpendSettings(filter="none"))
    checkpoint = tiny_checkpoint()
    rollout = collect(checkpoint, envs(), sampled, 0, 0, SPECS, Timer())
    paid, _ = credit(rollout, ROLLOUTS, CreditSettings(filter="none"), {})
    turns = {
        name: value
        for name, value in (rollout.tensors | paid).items()
        if name not in ("reward", "instruction_following")
    }
    policies = Policies(checkpoint.model, checkpoint.model, lambda: None)
    update = UpdateSettings(flow_weight=0.0)
    _, numbers = policy_gradient(policies, turns, sampled, update, True)
    assert numbers["text_ratio_error"] < 2e-5
