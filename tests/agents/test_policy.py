"""The model as a policy: what it draws from, what it remembers, and the exact parts in its place."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from editenv.agents.editor.checkpoint import save_checkpoint
from editenv.agents.editor.policy import (
    EditorMemory,
    EditorPolicy,
    ExactPainter,
    ModelPainter,
    ModelWriter,
    OracleWriter,
    editor_policy,
    model_policy,
)
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.episodes import run_episodes, turn_scores
from editenv.build import make_vector_env
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene, SceneObject
from tests.fakes import FakeWorld, FlatScorer, ScriptUser
from tests.tiny_editor import tiny_checkpoint

FAST = TurnSettings(steps=2, max_intent_tokens=6)
WARM = TurnSettings(steps=2, max_intent_tokens=6, temperature=1.0)


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint()


def envs_of(num_envs):
    return make_vector_env(num_envs=num_envs, autoreset_mode="Disabled", split="test")


def begun(policy, rows=3):
    envs = envs_of(rows)
    observations, _ = envs.reset(seed=0)
    return observations, policy.start(observations, range(rows))


def test_right_intents_carried_out_exactly_score_one():
    """Fails where a canonical intent loses anything of the turn, or the exact editor misreads one."""
    envs = envs_of(16)
    policy = EditorPolicy(OracleWriter(envs), ExactPainter(64, 4))
    scores = turn_scores(run_episodes(envs, policy, range(40), seed=0))
    assert {value for session in scores["global_awareness"] for value in session} == {1.0}
    assert policy.counts() == {"left_alone_share": 0.0}


def test_the_batch_changes_nothing(checkpoint):
    one, many = (run_episodes(envs_of(n), model_policy(checkpoint, WARM), range(4), seed=3) for n in (1, 4))
    for first, second in zip(one, many, strict=True):
        assert first.intents == second.intents
        # Sums in another order round differently, by a level of 255 at most.
        assert np.abs(np.int16(first.pictures) - np.int16(second.pictures)).max() <= 1


def test_noise_is_a_function_of_seed_and_turn(checkpoint):
    painter = ModelPainter(checkpoint, FAST)
    picture = np.full((64, 64, 3), 200, np.uint8)
    memories = [EditorMemory(0, 5), EditorMemory(1, 5), EditorMemory(0, 6), EditorMemory(0, 5, turn=1)]
    same, again, other_seed, other_turn = painter.paint([picture] * 4, ["remove the star"] * 4, memories)
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other_seed) and not np.array_equal(same, other_turn)


def test_warm_intents_are_drawn_by_seed_and_turn(checkpoint):
    writer = ModelWriter(checkpoint, TurnSettings(temperature=5.0, max_intent_tokens=6))
    observations = {"instruction": ("x",) * 200, "transcript": (("remove the star",),) * 200}
    seeds = [EditorMemory(0, seed) for seed in range(200)]  # few of them end within six tokens
    first, again = writer.write(observations, seeds), writer.write(observations, seeds)
    assert first == again and len(set(first)) > 1


def test_memories_can_be_branched(checkpoint):
    policy = model_policy(checkpoint, WARM)
    observations, memories = begun(policy)
    kept = list(memories)
    first, after = policy.act(observations, memories)
    second, _ = policy.act(observations, memories)
    assert memories == kept and [memory.turn for memory in after] == [1, 1, 1]
    assert np.array_equal(first["image"], second["image"]) and first["intent"] == second["intent"]


def test_an_unfinished_intent_falls_back_to_the_users_words(checkpoint):
    """One token is either no word or no end."""
    policy = model_policy(checkpoint, TurnSettings(steps=1, max_intent_tokens=1))
    observations, memories = begun(policy)
    actions, _ = policy.act(observations, memories)
    assert actions["intent"] == observations["instruction"]
    assert policy.counts() == {"fallback_share": 1.0}


def test_before_intent_from_turn_the_users_words_serve(checkpoint):
    writer = ModelWriter(checkpoint, TurnSettings(intent_from_turn=2, max_intent_tokens=1))
    observations = {"instruction": ("one", "two"), "transcript": (("one",), ("one", "two"))}
    assert writer.write(observations, [EditorMemory(0, 0, turn=0), EditorMemory(1, 0, turn=0)]) == [
        "one",
        "two",
    ]
    assert writer.counts() == {"fallback_share": 0.0}
    writer.write(observations, [EditorMemory(0, 0, turn=0), EditorMemory(1, 0, turn=1)])
    assert writer.counts() == {"fallback_share": 1.0}


def test_the_exact_painter_leaves_alone_what_it_cannot_do():
    scene = Scene((SceneObject("star", "red"), None, None, None), "white")
    picture, noise = render(scene, 32), np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    painter = ExactPainter(32, 2)
    wishes = ["remove the star", "remove the circle", "please do something", "remove the star"]
    done, *left = painter.paint([picture, picture, picture, noise], wishes, [])
    assert parse([done], 2) == [scene.put(0, None)]
    assert all(np.array_equal(a, b) for a, b in zip(left, [picture, picture, noise], strict=True))
    assert painter.counts() == {"left_alone_share": 0.75}


def test_parts_are_chosen_by_name_and_loaded_only_where_used(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path)
    envs = envs_of(1)
    both = editor_policy(envs, str(tmp_path), "model", "model", FAST)
    assert isinstance(both.writer, ModelWriter) and isinstance(both.painter, ModelPainter)
    assert both.writer.checkpoint is both.painter.checkpoint
    exact = editor_policy(envs, "no such model", "oracle", "exact", FAST)
    assert isinstance(exact.writer, OracleWriter) and isinstance(exact.painter, ExactPainter)


@pytest.mark.parametrize(
    ("intent", "image", "message"),
    [
        ("oracel", "exact", "intent 'oracel' is not known, did you mean 'oracle'"),
        ("oracle", "pixel", "image 'pixel' is not known, expected one of exact, model"),
    ],
)
def test_unknown_parts_are_named(intent, image, message):
    with pytest.raises(ValueError, match=message):
        editor_policy(envs_of(1), "none", intent, image, FAST)


def test_the_exact_painter_needs_studio_scenes():
    envs = MICEEditVectorEnv(
        1, FakeWorld(), ScriptUser(), FlatScorer(), autoreset_mode=AutoresetMode.DISABLED
    )
    with pytest.raises(ValueError, match="the world is 'fake'"):
        editor_policy(envs, "none", "oracle", "exact", FAST)
