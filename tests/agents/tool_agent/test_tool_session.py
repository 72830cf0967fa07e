"""Sessions played by tool calls: what a model is shown, what calls do, and what they earn."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from transformers.utils import get_json_schema

from editenv.agents.tool_agent.policy import tool_schemas
from editenv.agents.tool_agent.session import (
    GOODBYE,
    OVER,
    ToolSession,
    oracle_conversation,
    session_rows,
    tool_sessions,
)
from editenv.agents.tool_agent.tools import scene_in_words
from editenv.worlds.studio.operations import operation_names
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene, SceneObject
from editenv.worlds.studio.suites import suite_names

MIXED = tool_sessions(suite="mixed")
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def opened(kind: type[ToolSession] = MIXED, **row) -> ToolSession:
    session = kind()
    session.reset(**row)
    return session


@pytest.mark.parametrize("suite", suite_names())
def test_the_oracles_calls_do_all_that_users_ask_for(suite: str) -> None:
    """Every edit of every suite can be said by a call: each session earns all there is."""
    session = MIXED()
    for row in session_rows(range(4), seed=5, suite=suite, split="test"):
        messages = oracle_conversation(session, row)
        assert session.get_reward() == 1.0
        assert [m["role"] for m in messages[:3]] == ["system", "user", "assistant"]
        assert messages[-2]["content"].endswith(OVER) and messages[-1]["content"] == GOODBYE


def test_every_operation_is_a_tool_with_typed_arguments() -> None:
    schemas = {one["function"]["name"]: one["function"] for one in tool_schemas(MIXED.toolbox)}
    assert tuple(schemas) == operation_names()
    color = schemas["color_alter"]["parameters"]
    assert color["required"] == ["row", "column", "color"]
    assert list(color["properties"]) == [
        "row", "column", "second_row", "second_column", "color", "material", "text",
    ]  # fmt: skip
    assert color["properties"]["row"]["type"] == "integer"
    assert color["properties"]["material"]["enum"] == ["plain", "striped", "dotted"]
    assert schemas["background_change"]["parameters"]["required"] == ["background"]
    assert schemas["undo"]["parameters"]["properties"] == schemas["leave"]["parameters"]["properties"] == {}
    assert schemas["position_change"]["parameters"]["required"][:4] == ["row", "column", "second_row", "second_column"]
    assert schemas["subject_remove"]["parameters"]["required"] == ["row", "column"]


def test_trl_sees_the_tools_and_nothing_else() -> None:
    """As `GRPOTrainer` lists them: functions of the class without an underscore, less reset and get_reward."""
    named = [name for name, _ in inspect.getmembers(MIXED, inspect.isfunction) if not name.startswith("_")]
    assert set(named) - {"reset", "get_reward"} == set(operation_names())
    assert get_json_schema(MIXED().color_alter) in tool_schemas(MIXED.toolbox)


def test_a_task_of_ones_own_is_a_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    kind = tool_sessions(suite="own_task.yaml", tools=["repaint_all", "leave"])
    schemas = tool_schemas(kind.toolbox)
    assert [one["function"]["name"] for one in schemas] == ["repaint_all", "leave"]
    assert schemas[0]["function"]["parameters"]["required"] == ["color"]


def test_rows_of_a_group_open_the_same_session() -> None:
    first, again, other = (MIXED().reset(session=number, seed=3, prompt="x") for number in (7, 7, 8))
    assert first == again != other
    assert "\nUser: " in first and first.startswith("Picture: ")
    session = opened(session=2, seed=1, suite="undo", split="validation")
    assert (session.session.split, session.session.seed, session.session.index) == ("validation", 1, 2)


def test_a_wrong_call_is_an_answer() -> None:
    session = opened(tool_sessions(suite="mixed", tries=2), session=3)
    before = session.session.pictures[-1]
    assert session.color_alter(row=9, column=1, color="red").startswith(
        "Wrong call: row is 9, expected a whole number"
    )
    assert session.session.turn == 0
    answer = session.color_alter(row=1)
    assert "\nWrong call: color_alter needs column" in answer and "The picture stays as it is.\nUser: " in answer
    assert session.session.turn == 1 and np.array_equal(session.session.pictures[-1], before)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("leave", {"where": 1}), "leave has no where; its arguments are none"),
        (("subject_remove", {"row": "1", "column": 2}), "row is '1', expected a whole number from 1 to 4"),
        (("subject_remove", {"row": True, "column": 2}), "row is True"),
        (("subject_remove", {"row": 1, "column": 2, "second_row": 1}), "needs second_row and second_column"),
        (("background_change", {"background": "plaid"}), "'plaid', expected one of white"),
        (("subject_add", {"row": 1, "column": 2, "shape": ["star"], "color": "red", "material": "plain"}), "['star']"),
        (("undo", {}), "undo is impossible here"),
        (("fly", {}), "there is no tool 'fly', expected one of leave"),
        (("leave", "now"), "arguments are 'now', expected values by name"),
    ],
)
def test_what_is_wrong_is_said(call, said) -> None:
    answer = opened(session=3)._play(*call)
    assert answer.startswith("Wrong call: ") and said in answer


def test_arguments_that_are_null_count_as_left_out() -> None:
    row = session_rows([0])[0]
    call = oracle_conversation(MIXED(), row)[2]["tool_calls"][0]["function"]
    session = opened(session=0)
    getattr(session, call["name"])(**call["arguments"], second_row=None, second_column=None)
    assert session.session.turn == 1 and session.session.scores[0].instruction_following == 1.0


def test_rewards_are_the_turns_and_unplayed_ones_are_none() -> None:
    session, summed = opened(session=0), opened(tool_sessions(suite="mixed", reward="sum"), session=0)
    turns = session.session.spec.turn_count
    assert session.get_reward() == summed.get_reward() == 0.0
    for one in (session, summed):
        one.leave()
    (paid,) = [scores.reward for scores in session.session.scores]
    assert session.get_reward() == pytest.approx(paid / turns) and summed.get_reward() == pytest.approx(paid)
    for _ in range(turns):
        last = session.leave()
    assert last == OVER and session.session.turn == turns
    assert session.get_reward() == pytest.approx(np.mean([one.reward for one in session.session.scores]))


@pytest.mark.filterwarnings("ignore:no scorer is configured")
def test_a_session_without_scores_earns_none() -> None:
    session = opened(tool_sessions(suite="mixed", scorer=None), session=0)
    session.leave()
    assert session.get_reward() is None


def test_models_that_read_pictures_are_shown_them() -> None:
    session = tool_sessions(suite="mixed", pictures=True)()
    picture, text = session.reset(session=0)
    assert text["text"].startswith("User: ") and picture["type"] == "image"
    assert np.array_equal(np.asarray(picture["image"]), session.session.pictures[0])
    assert session.leave()[1]["text"].startswith("User: ")


def test_a_scene_is_told_from_its_picture() -> None:
    sign = SceneObject("sign", "green", "plain", "cafe")
    scene = Scene((None, SceneObject("cross", "blue", "striped"), None, sign), "pink")
    picture = render(scene, 64)
    told = 'pink background; row 1 column 2: a striped blue cross; row 2 column 2: a green sign that says "cafe"'
    assert scene_in_words(picture, 2) == told
    picture[:32, 32:] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    assert "row 1 column 2: something unreadable" in scene_in_words(picture, 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"suit": "mixed"}, "suit"),
        ({"reward": "best"}, "reward is 'best', expected 'mean' or 'sum'"),
        ({"tries": 0}, "tries is 0"),
        ({"tools": ["color_altr"]}, "color_alter"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said) -> None:
    with pytest.raises(ValueError, match=said):
        tool_sessions(**settings)
