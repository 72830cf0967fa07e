"""Personas are data and are checked."""

from __future__ import annotations

import pytest

from editenv.build import make_env, make_vector_env
from editenv.sims.persona import FOLDER, load_persona, persona_from_table, persona_names

TABLE = load_persona("plain").model_dump()


def test_there_are_the_four_and_a_plain_one() -> None:
    assert {"terse", "chatty", "vague", "indecisive", "plain"} <= set(persona_names())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"politeness": 1.5}, "'politeness' is 1.5, expected 1.0 at most"),
        ({"length": "huge"}, "'length' is 'huge', expected one of short, any, long"),
        ({"patience": -1}, "'patience' is -1, expected 0 or more"),
        ({"patience": 2.5}, "'patience' is 2.5, expected a whole number"),
        ({"before": {"angry": ["hey"]}}, "before.angry"),
        ({"mood": "good"}, "key 'mood' is not known, expected name"),
    ],
)
def test_a_wrong_table_is_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        persona_from_table(TABLE | change)


def test_a_missing_key_and_an_unknown_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'plain'"):
        persona_from_table({key: value for key, value in TABLE.items() if key != "vagueness"})
    with pytest.raises(ValueError, match="did you mean 'terse'"):
        load_persona("ters")


def test_a_whole_table_may_stand_in_place_of_a_name() -> None:
    table = TABLE | {"name": "shouting", "after": (". now !",), "chattiness": 1.0}
    envs = make_vector_env(
        num_envs=2, suite="persona", user="goal", user_settings={"persona": table}, autoreset_mode="Disabled"
    )
    observations, _ = envs.reset(seed=0)
    assert all(text.endswith(". now !") for text in observations["instruction"])


def test_a_persona_is_read_from_a_file_anywhere(tmp_path) -> None:
    path = tmp_path / "loud.yaml"
    text = (FOLDER / "plain.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("after: []", 'after: [". now !"]').replace("chattiness: 0.0", "chattiness: 1.0"))
    env = make_env(suite="persona", user="goal", user_settings={"persona": str(path)})
    seen, info = env.reset(seed=0)
    assert seen["instruction"].endswith(". now !") and info["versions"]["user"].startswith("goal 2 loud:")
    with pytest.raises(ValueError, match=r"nowhere.yaml' is no file, expected a YAML file"):
        load_persona(str(tmp_path / "nowhere.yaml"))
    path.write_text("after: thanks")
    with pytest.raises(ValueError, match=r"loud.yaml: persona 'loud': key 'summary' is missing"):
        make_env(suite="persona", user="goal", user_settings={"persona": str(path)})


def test_words_that_are_no_list_are_refused() -> None:
    with pytest.raises(ValueError, match="'after' is 'thanks', expected a list"):
        persona_from_table(TABLE | {"after": "thanks"})
