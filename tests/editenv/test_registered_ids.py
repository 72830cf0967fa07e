"""Every id that `import editenv` registers keeps Gymnasium's contract, with warnings as errors."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from inspect import signature
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.wrappers import FlattenObservation, RecordEpisodeStatistics

from editenv import IDS
from editenv.agents.baselines import POLICIES
from editenv.build import make_env
from editenv.records import read_records, replay
from editenv.registry import load_class
from editenv.vector import MICEEditVectorEnv

ID = "MICEEdit-v0"


def test_the_list_of_ids_is_what_is_registered() -> None:
    ours = {name for name, spec in gymnasium.registry.items() if str(spec.entry_point).startswith("editenv.")}
    assert ours == set(IDS)


@pytest.mark.parametrize("settings", [{}, {"render_mode": "rgb_array"}])
@pytest.mark.parametrize("name", IDS)
def test_check_env_has_nothing_to_say(name: str, settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(name, **settings)
        check_env(env.unwrapped)
        env.reset(seed=0)
        env.step(env.action_space.sample())


def test_check_env_has_nothing_to_say_of_histories() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ID, history=True).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_every_spec_survives_json(name: str) -> None:
    made = gymnasium.make(name, suite="mice-cm", split="test")
    assert made.spec is not None
    again = gymnasium.make(EnvSpec.from_json(made.spec.to_json()))
    assert data_equivalence(made.reset(seed=3), again.reset(seed=3), exact=True)


def test_importing_registers_without_torch_or_pillow() -> None:
    code = (
        "import sys, gymnasium; gymnasium.make('editenv:MICEEdit-v0').reset(seed=0);"
        "print([name for name in ('torch', 'transformers', 'trl', 'matplotlib') if name in sys.modules])"
    )
    lazy = "import sys, editenv; print([n for n in ('PIL', 'editenv.env') if n in sys.modules])"
    for program in (code, lazy):
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert run.stdout.strip() == "[]", run.stderr


def test_a_spec_survives_json_and_makes_the_same_environment() -> None:
    weights = {"instruction_following": 1.0, "global_awareness": 1.0}
    made = gymnasium.make(ID, suite="mice-cm", split="test", reward_weights=weights, history=True)
    assert made.spec is not None
    written = made.spec.to_json()
    again = gymnasium.make(EnvSpec.from_json(written))
    assert json.loads(written)["kwargs"]["reward_weights"] == weights
    (seen, info), (other, known) = made.reset(seed=3), again.reset(seed=3)
    assert data_equivalence(seen, other, exact=True)
    assert info == known
    action = {"image": seen["image"], "intent": ""}
    assert made.step(action)[1] == again.step(action)[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"world": "studo"}, "world 'studo' is not known, did you mean 'studio'"),
        ({"user": "repaly"}, "user 'repaly' is not known, did you mean 'replay'"),
        ({"scorer": "exat"}, "scorer 'exat' is not known, did you mean 'exact'"),
        ({"scorer": "qqq"}, "scorer 'qqq' is not known, expected one of exact"),
        ({"split": "tset"}, "split is 'tset', expected one of train, validation, test"),
        ({"reward_weights": {"beauty": 1.0}}, "reward weight 'beauty' names no score"),
        ({"render_mode": "svg"}, "render_mode is 'svg', expected None, 'rgb_array' or 'ansi'"),
        ({"suit": "mixed"}, "setting 'suit' is not known, did you mean 'suite'"),
        ({"user": "ters"}, "user 'ters' is not known, did you mean 'terse'"),
        ({"user": ["terse"]}, r"user is \['terse'\], expected one name or text"),
        ({"user": None}, "user is None, expected a value"),
        ({"scorer": "sys:maxsize"}, "scorer is 'sys:maxsize', which is a int, expected a class or function"),
        ({"world": "json:dumps"}, "world 'json:dumps' lacks the setting 'obj'|cannot be called"),
        ({"size": "64"}, "size is '64', expected a whole number"),
        ({"size": 10**6}, "size is 1000000, expected 4096 pixels at most"),
        ({"grid": 2.5}, "grid is 2.5, expected a whole number"),
        ({"history": "yes"}, "history is 'yes', expected true or false"),
        ({"scorer_settings": [1]}, r"scorer_settings is \[1\], expected settings by name"),
        ({"record_to": 3}, "record_to is 3, expected one name or text"),
    ],
)
def test_unknown_names_come_back_with_the_nearest(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gymnasium.make(ID, **settings)


def test_words_shown_are_a_whole_number() -> None:
    with pytest.raises(ValueError, match="tokens is 'x', expected a whole number"):
        gymnasium.make("editenv:MICEEditTools-v0", tokens="x")


def test_classes_of_other_packages_are_named_with_their_module() -> None:
    env: Any = gymnasium.make(ID, user="tests.fakes:ScriptUser").unwrapped
    assert env.engine.user.version == "script 1"
    with pytest.raises(ValueError, match=r"user is 'tests\.fakes:Nobody', expected package\.module:Name"):
        gymnasium.make(ID, user="tests.fakes:Nobody")
    with pytest.raises(ValueError, match=r"scorer is 'no\.where:Scorer', expected package\.module:Name"):
        gymnasium.make(ID, scorer="no.where:Scorer")


def test_a_persona_is_a_user() -> None:
    env: Any = gymnasium.make(ID, user="terse", user_settings={"patience": 1}).unwrapped
    named: Any = gymnasium.make(ID, user="goal", user_settings={"persona": "terse", "patience": 1}).unwrapped
    assert env.engine.user.version == named.engine.user.version and "terse" in env.engine.user.version


@pytest.mark.parametrize("name", IDS)
def test_a_session_is_shown_in_every_render_mode(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = {}
    for mode in ("rgb_array", "rgb_array_list", "ansi", "human"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env = gymnasium.make(name, render_mode=mode)
            env.reset(seed=0)
            shown[mode] = env.render()
            env.close()
    assert np.array_equal(shown["rgb_array"], shown["rgb_array_list"][-1])
    assert "user:" in shown["ansi"] and shown["human"] is None


def vector(count: int, **settings: Any) -> MICEEditVectorEnv:
    made = gymnasium.make_vec(ID, num_envs=count, vectorization_mode="vector_entry_point", **settings)
    assert isinstance(made, MICEEditVectorEnv)
    return made


def test_vector_settings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = vector(2, history=True, autoreset_mode="Disabled", split="test")
    assert made.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert made.engine.split == "test"
    assert "images" in made.reset(seed=0)[0]
    assert vector(2).metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    with pytest.raises(ValueError, match="autoreset_mode 'SameStop' is not known, did you mean 'SameStep'"):
        vector(2, autoreset_mode="SameStop")


def test_studio_rows_are_single_studio_environments() -> None:
    rows = 3
    env = vector(rows, autoreset_mode="Disabled")
    single = gymnasium.make(ID)
    seen, _ = env.reset(seed=11)
    told = []
    for _ in range(3):
        seen, rewards, _, _, infos = env.step({"image": seen["image"], "intent": ("",) * rows})
        told.append((seen, rewards, infos["scores"]))
    for row in range(rows):
        alone, _ = single.reset(seed=11, options={"session": row})
        for seen, rewards, scores in told:
            alone, reward, _, _, info = single.step({"image": alone["image"], "intent": ""})
            assert (reward, info["scores"]) == (rewards[row], scores[row])
            assert alone["transcript"] == seen["transcript"][row]
            assert np.array_equal(alone["image"], seen["image"][row])


def test_a_studio_session_continues_from_its_state() -> None:
    env, other = gymnasium.make(ID).unwrapped, gymnasium.make(ID).unwrapped
    seen, _ = env.reset(seed=5)
    action = {"image": seen["image"], "intent": ""}
    env.step(action)
    state = env.get_state()  # type: ignore[attr-defined]
    first = env.step(action)
    other.set_state(state)  # type: ignore[attr-defined]
    assert data_equivalence(first, other.step(action), exact=True)


def test_a_recorded_studio_session_replays(tmp_path: Any) -> None:
    env = gymnasium.make(ID, record_to=str(tmp_path))
    seen, _ = env.reset(seed=5)
    over = False
    while not over:
        seen, _, terminated, truncated, _ = env.step({"image": seen["image"], "intent": "nothing"})
        over = terminated or truncated
    (record,) = read_records(tmp_path)
    assert replay(record, gymnasium.make(ID)) == list(record.scores)


def test_processes_without_shared_memory() -> None:
    made = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="async", vector_kwargs={"shared_memory": False})
    try:
        assert isinstance(made, AsyncVectorEnv)
        seen, _ = made.reset(seed=4)
        assert seen in made.observation_space
        seen, rewards, _, _, infos = made.step({"image": seen["image"], "intent": ("", "größer")})
        assert seen in made.observation_space
        alone = gymnasium.make(ID)
        first, _ = alone.reset(seed=5)
        _, reward, _, _, info = alone.step({"image": first["image"], "intent": "größer"})
        assert (rewards[1], infos["scores"][1]) == (reward, info["scores"])
    finally:
        made.close()


def test_gymnasiums_wrappers_work() -> None:
    env = RecordEpisodeStatistics(gymnasium.make(ID))
    seen, _ = env.reset(seed=0)
    paid = 0.0
    info: dict[str, Any] = {}
    while "episode" not in info:
        seen, reward, _, _, info = env.step({"image": seen["image"], "intent": ""})
        paid += float(reward)
    assert info["episode"]["r"] == pytest.approx(paid)
    flat = FlattenObservation(gymnasium.make(ID, max_length=80))
    seen, _ = flat.reset(seed=0)
    assert seen in flat.observation_space
    assert seen["image"].shape == (64 * 64 * 3,)


def test_each_row_may_have_a_seed_of_its_own_as_in_gymnasium() -> None:
    """Fails where rows of one seed each are other sessions than single environments of these seeds play."""
    envs = vector(3, autoreset_mode="Disabled")
    for _ in range(2):
        _, infos = envs.reset(seed=[11, 12, 11] if not envs._sessions else None)
        assert infos["seed"].tolist() == [11, 12, 11]
        assert infos["index"].tolist() == [envs.sessions[0].index] * 3
    assert envs.sessions[0].index == 1
    _, infos = envs.reset(seed=5)
    assert infos["index"].tolist() == [0, 1, 2]
    _, infos = envs.reset()
    assert infos["index"].tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match=r"seed is \[1, 2\], expected a whole number, 3 of them, or None"):
        envs.reset(seed=[1, 2])
    with pytest.raises(gymnasium.error.Error, match="Seed must be a python integer"):
        envs.reset(seed="0")  # type: ignore[arg-type]


def test_session_numbers_beyond_int64_are_refused_and_change_nothing() -> None:
    envs = vector(2)
    envs.reset(seed=0)
    before = [envs.get_state(row) for row in range(2)]
    with pytest.raises(ValueError, match=r"options\['sessions'\]\[0\] is 9223372036854775808"):
        envs.reset(options={"sessions": [2**63, 0]})
    assert [envs.get_state(row) for row in range(2)] == before


def test_a_limit_of_steps_truncates() -> None:
    envs = vector(2, max_episode_steps=1, autoreset_mode="Disabled")
    seen, _ = envs.reset(seed=0)
    *_, terminated, truncated, infos = envs.step({"image": seen["image"], "intent": ("", "")})
    assert truncated.all() and not terminated.any() and set(infos["end_reason"]) == {"max_turns"}


def test_modes_given_as_an_enumeration_survive_json() -> None:
    envs = vector(2, autoreset_mode=AutoresetMode.DISABLED)
    assert envs.spec is not None
    again = gymnasium.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    assert again.metadata["autoreset_mode"] == AutoresetMode.DISABLED


def test_success_is_a_session_in_which_every_turn_was_right() -> None:
    for name, expected in (("oracle", True), ("noop", False)):
        envs = vector(2, autoreset_mode="Disabled", suite="mice-cm", split="test")
        seen, _ = envs.reset(seed=0)
        agent, over = load_class("policy", name, POLICIES)(envs), False
        memories = agent.start(seen, [0, 1])
        while not over:
            actions, memories = agent.act(seen, memories)
            seen, _, terminated, truncated, infos = envs.step(actions)
            over = bool((terminated | truncated).all())
            assert infos["is_success"].tolist() == [expected and over] * 2


def test_the_page_lists_every_argument_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "gymnasium.md").read_text(encoding="utf-8")
    table = page.partition("## All arguments")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    rows = [[cell.strip(" `") for cell in line.split(" | ")] for line in lines]
    told = {row[0].strip("| `"): row[1] for row in rows}
    arguments = {n: p for n, p in signature(make_env).parameters.items() if p.kind == p.KEYWORD_ONLY}
    assert told == {n: repr(p.default).replace("'", '"') for n, p in arguments.items()}


def test_a_mode_for_environments_made_one_by_one_is_explained() -> None:
    with pytest.raises(ValueError, match=r"vector_kwargs=\{'autoreset_mode': 'SameStep'\}"):
        gymnasium.make_vec(ID, num_envs=2, vectorization_mode="sync", autoreset_mode="SameStep")
    mode = {"autoreset_mode": "SameStep"}
    envs = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="sync", vector_kwargs=mode)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
