"""The key "editenv" of exported lines: what does not fit is refused, what fits can be played."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from editenv.build import make_env
from editenv.types import Scores
from editenv.worlds.records.export import export_sessions
from editenv.worlds.records.world import open_sessions
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.world import StudioWorld
from tests.worlds.records.handmade import SINGLE, draw_pictures


@pytest.fixture
def lines(tmp_path):
    path = export_sessions(StudioWorld(), "test", 5, 3, tmp_path)
    return path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def refused(path, lines):
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        open_sessions(path)
    assert str(error.value).startswith(f"{path}, line 2: key ")
    return str(error.value).removeprefix(f"{path}, line 2: ")


SPEC = ("editenv", "spec")
BAD_VALUES = [
    (("editenv", "world"), "studio 99", "key 'editenv': key 'world' is 'studio 99', expected 'studio "),
    (("editenv", "size"), 32, "key 'editenv': size and grid are (32, 4), expected (64, 4)"),
    (("editenv", "grid"), "4", "key 'editenv': key 'grid' is '4', expected a whole number"),
    (("editenv", "more"), 1, "key 'editenv': key 'more' is not known"),
    (("editenv",), {}, "key 'editenv': key 'world' is missing"),
    (SPEC, [], "key 'editenv': key 'spec' is [], expected an object"),
    (("editenv", "max_turns"), 2, "key 'editenv': key 'max_turns' is 2, expected 3 to 1000"),
    (("editenv", "max_turns"), 10**9, "key 'editenv': key 'max_turns' is 1000000000, expected 3 to 1000"),
    (("editenv", "max_turns"), "9", "key 'editenv': key 'max_turns' is '9', expected a whole number"),
    (("editenv", "size"), 10**6, "key 'editenv': key 'size' is 1000000, expected 256 pixels a cell at most"),
    (("editenv", "world"), "studio", "key 'editenv': key 'world' is 'studio', expected 'studio "),
    (("editenv", "world"), 1, "key 'editenv': key 'world' is 1, expected a text"),
    ((*SPEC, "turns", 1, "edit"), {"task": "undo", "instead": {}}, "key 'editenv': task is None"),
    ((*SPEC, "turns", 1, "edit"), {"task": "subject_remove", "parts": []}, "key 'editenv': a studio session has a"),
    ((*SPEC, "seed"), "x", "key 'editenv': key 'seed' is 'x', expected a whole number"),
    ((*SPEC, "more"), 1, "key 'editenv': key 'spec' has keys or values that no studio session has"),
    ((*SPEC, "turns"), [], "key 'editenv': key 'turns' is empty"),
    ((*SPEC, "scene"), [0, 1, 0, 0, 0], "key 'editenv': key 'scene' has 4 cells, expected 16"),
    ((*SPEC, "scene"), [0, *[-1] * 16], "key 'editenv': key 'scene' holds something unreadable"),
    ((*SPEC, "scene", 0), 77, "key 'editenv': background code is 77"),
    ((*SPEC, "scene", 3), 1.0, "key 'editenv': key 'scene[3]' is 1.0, expected a whole number"),
    ((*SPEC, "turns", 0, "text"), "dance", "key 'instruction' is ["),
    ((*SPEC, "turns", 0, "text"), 4, "key 'editenv': key 'turns[0].text' is 4, expected a text"),
    ((*SPEC, "turns", 0, "reference"), 4, "key 'editenv': key 'turns[0].reference' is 4, expected a text"),
    ((*SPEC, "turns", 1, "edit", "task"), "dance", "key 'editenv': task is 'dance', expected one of"),
    ((*SPEC, "turns", 1, "edit"), {"task": "background_change"}, "key 'editenv': background_change has"),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "background_change", "background": "mauve"},
        "key 'editenv': background_change has the fields ['background']: background is 'mauve', expected one of white",
    ),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "subject_add", "cell": 99, "shape": "star", "color": None, "material": None},
        "key 'editenv': key 'cell' is 99, expected 0 to 15",
    ),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "subject_add", "cell": -1, "shape": "star", "color": None, "material": None},
        "key 'editenv': key 'cell' is -1, expected 0 to 15",
    ),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "subject_add", "cell": 1, "shape": "cube", "color": None, "material": None},
        "key 'editenv': subject_add has the fields",
    ),
    ((*SPEC, "turns", 1, "rules"), [{"family": "magic"}], "key 'editenv': family is 'magic'"),
    (("instruction", 1), "dance", "key 'instruction' is ["),
    (("task_type", 1), "text_change", "key 'task_type' is ["),
]


@pytest.mark.parametrize(("keys", "value", "message"), BAD_VALUES, ids=[message[:60] for *_, message in BAD_VALUES])
def test_a_meaning_that_does_not_fit_is_refused_with_its_line(lines, keys, value, message):
    path, data = lines
    place = data[1]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    assert refused(path, data).startswith(message)


def test_cells_too_large_to_read_are_refused(lines):
    path, data = lines
    data[0]["editenv"]["size"] = 1025
    path.write_text(json.dumps(data[0]), encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: key 'editenv': key 'size' is 1025, expected 256 pixels a cell"):
        open_sessions(path)


def test_keys_added_since_a_file_was_written_may_be_missing(lines, monkeypatch):
    """Fails where a session that gained a key with a default makes earlier exports unreadable."""
    path, _ = lines
    written = StudioTurn.to_json
    monkeypatch.setattr(StudioTurn, "to_json", lambda turn: written(turn) | {"tone": None})
    assert open_sessions(path).max_turns == 3


def test_a_file_with_scenes_and_other_pictures_is_refused(lines):
    path, data = lines
    draw_pictures(path.parent)
    message = "key 'editenv': it is missing unlike in line 1"
    assert refused(path, [data[0], SINGLE]).startswith(message)
    assert refused(path, [SINGLE, data[0]]).startswith("key 'editenv': it stands here unlike in line 1")


def test_a_picture_that_shows_another_scene_is_refused(lines):
    path, data = lines
    spec = StudioWorld().session("test", 5, 1)
    picture = path.parent / data[1]["image"]
    cell = spec.scene.occupied()[0]
    where = f"row {cell // 4 + 1} column {cell % 4 + 1}"
    Image.fromarray(render(spec.scene.put(cell, None), 64)).save(picture)
    assert refused(path, data).startswith(f"key 'image': the picture shows nothing in {where}, expected the ")
    other = Scene(spec.scene.cells, "pink" if spec.scene.background != "pink" else "mint")
    Image.fromarray(render(other, 64)).save(picture)
    assert f"background is {other.background}, expected {spec.scene.background}" in refused(path, data)
    Image.new("RGB", (32, 32)).save(picture)
    assert "the picture has shape (32, 32, 3), expected (64, 64, 3)" in refused(path, data)


def test_a_repeated_session_keeps_its_picture(lines):
    path, data = lines
    twice = deepcopy(data[0])
    path.write_text("\n".join(map(json.dumps, [data[0], twice])), encoding="utf-8")
    assert open_sessions(path).session("test", 0, 1).id == data[0]["image"].split("/")[1].removesuffix(".png")
    twice["image"] = data[1]["image"]
    assert "the session is that of line 1, expected the same picture" in refused(path, [data[0], twice])


def test_a_session_of_another_file_has_no_picture(lines):
    world = open_sessions(lines[0])
    stranger = StudioWorld().session("test", 6, 0)
    with pytest.raises(ValueError, match=f"has no session {stranger.id}"):
        world.picture(stranger)
    with pytest.raises(ValueError, match=f"has no session {stranger.id}"):
        world.spec_from_json(stranger.to_json())


@given(st.data())
def test_any_change_of_a_meaning_plays_to_the_end_or_is_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "meanings"
    path = export_sessions(StudioWorld("mixed"), "test", 5, 1, folder)
    record = json.loads(path.read_text(encoding="utf-8"))
    place, key = data.draw(st.sampled_from(list(places(record["editenv"], record, "editenv"))))
    values = st.none() | st.booleans() | st.integers(-2, 20) | st.floats(0, 3) | st.text(max_size=4)
    place[key] = data.draw(values | st.lists(values, max_size=3) | st.sampled_from(["red", "star", "striped"]))
    path = folder / "changed.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    try:
        env = make_env(sessions_file=str(path))
    except ValueError as error:
        assert str(error).startswith(f"{path}, line 1: key ")
        return
    env.reset(seed=0)
    scenes = [env.session.spec.scene]
    for turn in env.session.spec.turns:
        scenes.append(right_result(turn.edit, turn.rules, scenes[-1], scenes[:-1]))
        picture = render(scenes[-1], 64)
        scores: Scores = env.step({"image": picture, "intent": ""})[4]["scores"]
        assert scores.instruction_following == scores.global_awareness == 1


def places(value, holder, key):
    """Every place of a JSON value, as (holder, key)."""
    yield holder, key
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in entries:
        yield from places(entry, value, name)
