"""The model as a policy: what it draws from, what it remembers, and the exact parts in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from editenv.agents.editor import EditorMemory, EditorPolicy, ExactEditor, OracleWriter, editor_policy
from editenv.agents.episodes import run_episodes, shares, turn_scores
from editenv.agents.settings import GenerationSettings
from editenv.build import make_vector_env
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene, SceneObject
from tests.fakes import FakeWorld, FlatScorer, ScriptUser
from tests.tiny_editor import tiny_policy

FAST = GenerationSettings(steps=2, max_intent_tokens=6, temperature=0.0)
WARM = GenerationSettings(steps=2, max_intent_tokens=6, temperature=1.0)


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_policy()


def envs_of(num_envs):
    return make_vector_env(num_envs=num_envs, autoreset_mode="Disabled", split="test")


def begun(policy, rows=3):
    envs = envs_of(rows)
    observations, _ = envs.reset(seed=0)
    return observations, policy.start(observations, range(rows))


def test_right_intents_carried_out_exactly_score_one():
    """Fails where a canonical intent loses anything of the turn, or the exact editor misreads one."""
    envs = envs_of(16)
    policy = EditorPolicy(None, FAST, OracleWriter(envs), ExactEditor(envs))
    scores = turn_scores(run_episodes(envs, policy, range(40), seed=0))
    assert {value for session in scores["global_awareness"] for value in session} == {1.0}
    assert shares(policy.counts()) == {"left_alone_share": 0.0}


def test_the_batch_changes_nothing(checkpoint):
    one, many = (run_episodes(envs_of(n), EditorPolicy(checkpoint, WARM), range(4), seed=3) for n in (1, 4))
    for first, second in zip(one, many, strict=True):
        assert first.intents == second.intents
        # Sums in another order round differently, by a level of 255 at most.
        assert np.abs(np.int16(first.pictures) - np.int16(second.pictures)).max() <= 1


def observations_of(*transcripts):
    """Sessions on one grey picture, each with what was said so far."""
    picture = np.full((64, 64, 3), 200, np.uint8)
    return {
        "instruction": tuple(said[-1] for said in transcripts),
        "transcript": transcripts,
        "image": np.stack([picture] * len(transcripts)),
    }


def test_noise_is_a_function_of_seed_and_turn(checkpoint):
    memories = [EditorMemory(0, 5), EditorMemory(1, 5), EditorMemory(0, 6), EditorMemory(0, 5, turn=1)]
    late = replace(FAST, intent_from_turn=9)
    actions, _ = EditorPolicy(checkpoint, late).act(observations_of(*[("remove the star",)] * 4), memories)
    same, again, other_seed, other_turn = actions["image"]
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other_seed) and not np.array_equal(same, other_turn)


def test_warm_intents_are_drawn_by_seed_and_turn(checkpoint):
    policy = EditorPolicy(checkpoint, replace(FAST, steps=1, temperature=5.0))
    observations = observations_of(*[("remove the star",)] * 200)
    seeds = [EditorMemory(0, seed) for seed in range(200)]  # few of them end within six tokens
    first, again = (policy.act(observations, seeds)[0]["intent"] for _ in range(2))
    assert first == again and len(set(first)) > 1


def test_memories_can_be_branched(checkpoint):
    policy = EditorPolicy(checkpoint, WARM)
    observations, memories = begun(policy)
    kept = list(memories)
    first, after = policy.act(observations, memories)
    second, _ = policy.act(observations, memories)
    assert memories == kept and [memory.turn for memory in after] == [1, 1, 1]
    assert np.array_equal(first["image"], second["image"]) and first["intent"] == second["intent"]


def test_an_unfinished_intent_falls_back_to_the_users_words(checkpoint):
    """One token is either no word or no end."""
    policy = EditorPolicy(checkpoint, replace(FAST, steps=1, max_intent_tokens=1))
    observations, memories = begun(policy)
    actions, _ = policy.act(observations, memories)
    assert actions["intent"] == observations["instruction"]
    assert shares(policy.counts()) == {"fallback_share": 1.0}


def test_before_intent_from_turn_the_users_words_serve(checkpoint):
    policy = EditorPolicy(checkpoint, replace(FAST, intent_from_turn=2, max_intent_tokens=1))
    observations = observations_of(("one",), ("one", "two"))
    actions, _ = policy.act(observations, [EditorMemory(0, 0), EditorMemory(1, 0)])
    assert actions["intent"] == ("one", "two") and shares(policy.counts()) == {"fallback_share": 0.0}
    policy.act(observations, [EditorMemory(0, 0), EditorMemory(1, 0, turn=1)])
    assert shares(policy.counts()) == {"fallback_share": 1.0}


def test_the_exact_editor_leaves_alone_what_it_cannot_do():
    scene = Scene((SceneObject("star", "red"), None, None, None), "white")
    picture, noise = render(scene, 32), np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    envs = make_vector_env(num_envs=1, autoreset_mode="Disabled", size=32, grid=2)
    exact = ExactEditor(envs)
    wishes = ["remove the star", "remove the circle", "please do something", "remove the star"]
    done, *left = exact.edit([picture, picture, picture, noise], wishes)
    assert parse([done], 2) == [scene.put(0, None)]
    assert all(np.array_equal(a, b) for a, b in zip(left, [picture, picture, noise], strict=True))
    assert shares(EditorPolicy(None, FAST, OracleWriter(envs), exact).counts()) == {"left_alone_share": 0.75}


def test_parts_are_chosen_by_name_and_loaded_only_where_used(checkpoint, tmp_path):
    checkpoint.save(tmp_path)
    envs = envs_of(1)
    both = editor_policy(envs, str(tmp_path), "model", "model", FAST, "free")
    assert both.policy is not None and both.writer is None and both.exact is None
    exact = editor_policy(envs, "no such model", "oracle", "exact", FAST, "free")
    assert exact.policy is None and exact.writer is not None and exact.exact is not None


@pytest.mark.parametrize(
    ("intent", "image", "message"),
    [
        ("oracel", "exact", "intent 'oracel' is not known, did you mean 'oracle'"),
        ("oracle", "pixel", "image 'pixel' is not known, expected one of exact, model"),
    ],
)
def test_unknown_parts_are_named(intent, image, message):
    with pytest.raises(ValueError, match=message):
        editor_policy(envs_of(1), "none", intent, image, FAST, "free")


def test_the_exact_editor_needs_studio_scenes():
    envs = MICEEditVectorEnv(1, FakeWorld(), ScriptUser(), FlatScorer(), autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="the world is 'fake'"):
        editor_policy(envs, "none", "oracle", "exact", FAST, "free")
