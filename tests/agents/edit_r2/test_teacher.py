"""Rollouts in which rules do one half of a turn: the other half alone is tried, paid and trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents.editor import ExactEditor, teacher_of
from editenv.rewards.exact import ExactScorer
from editenv.sims.replay import ReplayUser
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import TINY, tiny_policy, tiny_trainer, weights
from tests.tiny_editor import played as play


def played(behaviour: str):
    world = StudioWorld("mixed")
    envs = MICEEditVectorEnv(6, world, ReplayUser(), ExactScorer(world), autoreset_mode=AutoresetMode.DISABLED)
    checkpoint = tiny_policy()
    teacher = teacher_of(behaviour, envs, "free")
    return envs, checkpoint, play(checkpoint, TINY, envs=envs, teacher=teacher)


def test_right_intents_are_given_and_pictures_are_tried():
    _, _, rollout = played("oracle_intents")
    for session in rollout.sessions:
        assert session.intents == [turn.intent for turn in session.spec.turns]
    tensors = rollout.turns
    assert not tensors["intent_mask"].any()
    ends = tensors["latents"][:3, 0, -1]
    assert len({row.numpy().tobytes() for row in ends}) == 3
    assert rollout.fallback_share == 0.0


def test_intents_are_tried_and_drawn_by_rules():
    envs, checkpoint, rollout = played("oracle_images")
    tensors = rollout.turns
    assert "latents" not in tensors and tensors["intent_mask"].any(-1).all()
    for row, session in enumerate(rollout.sessions):
        for turn, intent in enumerate(session.intents):
            drawn = ExactEditor(envs).edit([session.pictures[turn]], [intent])
            np.testing.assert_array_equal(session.pictures[turn + 1], drawn[0])
            torch.testing.assert_close(tensors["image"][row, turn], checkpoint.encode_images(drawn)[0])


def test_exactly_drawn_right_words_follow_every_instruction():
    """The painter is no part of the score: with the oracle's words it is right in every turn."""
    envs, _, _ = played("oracle_images")
    observations, _ = envs.reset(seed=0)
    painter = ExactEditor(envs)
    for turn in range(3):
        words = [session.spec.turns[turn].intent for session in envs.sessions]
        pictures = painter.edit(observations["image"], words)
        observations, *_ = envs.step({"image": np.stack(pictures), "intent": tuple(words)})
    assert all(s.instruction_following == 1.0 for session in envs.sessions for s in session.scores)


@pytest.mark.parametrize(
    ("behaviour", "frozen"), [("oracle_intents", "text_weight"), ("oracle_images", "flow_weight")]
)
def test_training_moves_the_half_that_was_tried(tmp_path, behaviour, frozen):
    trainer = tiny_trainer(tmp_path, behaviour=behaviour, iterations=1, **{frozen: 0.0})
    before = weights(trainer.policy)
    trainer.train()
    after = weights(trainer.policy)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved
    assert all((trainer.policy.parameter_space(name) == "flow") == (behaviour == "oracle_intents") for name in moved)
