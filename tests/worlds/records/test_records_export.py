"""Exported studio sessions: their bytes and fields, and the same sessions and scores when read back."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from editenv.build import make_env
from editenv.rewards.exact import ExactScorer
from editenv.types import Scores, TurnOutcome
from editenv.worlds.records.export import export_sessions, in_brackets, record_from_studio
from editenv.worlds.records.open import open_sessions
from editenv.worlds.records.scenes import StudioRecordsWorld
from editenv.worlds.records.session import record_from_json
from editenv.worlds.studio.constraints import AttributeRule, right_result
from editenv.worlds.studio.edits import BackgroundChange, PositionChange, SubjectAdd, SubjectRemove, Target
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import Scene, Thing
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.world import StudioWorld
from tests.worlds.records.handmade import SINGLE, draw_pictures

COUNT = 24


@pytest.fixture(scope="module", params=["mice-cm", "mice-cu", "mixed"])
def exported(request, tmp_path_factory):
    world = StudioWorld(request.param)
    return world, export_sessions(world, "test", 5, COUNT, tmp_path_factory.mktemp("export"))


def test_exporting_twice_gives_the_same_bytes(exported, tmp_path):
    world, path = exported
    again = export_sessions(world, "test", 5, COUNT, tmp_path)
    before = {p.name: p.read_bytes() for p in again.parent.rglob("*") if p.is_file()}
    export_sessions(world, "test", 5, COUNT, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert {p.name: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()} == before
    assert len(before) == 1 + len({world.session("test", 5, index).id for index in range(COUNT)})


def test_sessions_and_pictures_read_back_as_they_were(exported):
    world, path = exported
    read = open_sessions(path)
    assert isinstance(read, StudioRecordsWorld)
    assert (read.image_shape, read.max_turns, read.grid) == (world.image_shape, world.max_turns, world.grid)
    for index in range(COUNT):
        spec = world.session("test", 5, index)
        assert read.session("train", 0, index) == spec == read.session("test", 9, index + COUNT)
        assert np.array_equal(read.picture(spec), world.picture(spec))
        assert read.spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec


def played(world, spec, answers):
    """Scores of a session's turns when these pictures are given."""
    scorer, history, before = ExactScorer(world), [], world.picture(spec)
    for turn, after in enumerate(answers):
        outcome = TurnOutcome(
            spec, turn, spec.speech(turn), world.picture(spec), before, after, tuple(history)
        )
        history += scorer.score([outcome])
        before = after
    return history


def oracle(spec, size):
    """The right picture of every turn."""
    scene, pictures = spec.scene, []
    for turn in spec.turns:
        scene = right_result(turn.edit, turn.rules, scene)
        pictures.append(render(scene, size))
    return pictures


def test_the_oracle_scores_one_and_wrong_pictures_score_as_in_the_generated_suite(exported):
    world, path = exported
    read = open_sessions(path)
    for index in range(COUNT):
        spec, right = read.session("test", 0, index), oracle(read.session("test", 0, index), world.size)
        for scores in played(read, spec, right):
            assert (scores.instruction_following, scores.global_awareness, scores.reward) == (1, 1, 1)
            assert scores.content_consistency in (1, None) and scores.rule_kept in (1, None)
        same = [world.picture(spec)] * spec.turn_count
        wrong = [right[0], np.zeros_like(right[0]), right[0]]
        original = world.session("test", 5, index)
        for answers in (same, wrong):
            assert played(read, spec, answers) == played(world, original, answers)
        assert played(read, spec, wrong)[1].instruction_following == 0


def test_fields_follow_from_the_script():
    circle, star = Thing("circle", "red", "striped"), Thing("star", "blue")
    rules = (AttributeRule("color", "green"),)
    edits = (
        SubjectAdd(3, "cross"),
        SubjectRemove(Target(1, "star")),
        BackgroundChange("pink"),
        PositionChange(Target(0, "circle", "red"), 1),
    )
    turns = tuple(
        StudioTurn(f"turn {n}", canonical_intent(edit, rules, 2), edit, rules) for n, edit in enumerate(edits)
    )
    record = record_from_studio(
        StudioSpec("s", "test", 0, 0, Scene((circle, star, None, None), "white"), turns)
    )
    assert record.instruction == ("turn 0", "turn 1", "turn 2", "turn 3")
    assert [turn.task_type for turn in record.turns] == [edit.task for edit in edits]
    assert [turn.bg_consistency for turn in record.turns] == [True, True, False, False]
    assert [turn.unchanged_objects for turn in record.turns] == [
        ("striped red circle", "plain blue star"),
        ("striped red circle",),
        ("striped red circle",),
        (),
    ]
    cross = "plain green cross"
    assert [turn.available_objects for turn in record.turns] == [
        ("striped red circle", "plain blue star", cross),
        ("striped red circle", cross),
        ("striped red circle", cross),
        ("striped green circle", cross),
    ]
    seen = ("striped red circle", "plain blue star", cross)
    assert [turn.all_objects for turn in record.turns] == [seen, seen, seen, (*seen, "striped green circle")]
    assert [turn.formatted_instruction for turn in record.turns] == [
        "add a [green cross] in row 2 column 2",
        "remove the [star]",
        "make the background pink",
        "move the [red circle] to row 1 column 2 and make it green",
    ]


def test_brackets_name_every_object_and_add_nothing_else(exported):
    world, _ = exported
    for index in range(COUNT):
        for turn in world.session("test", 5, index).turns:
            bracketed = in_brackets(turn.intent)
            assert bracketed.replace("[", "").replace("]", "") == turn.intent
            assert bracketed.count("[") == {"background_change": 0, "subject_replace": 2}.get(
                turn.edit.task, 1
            )


def test_lines_hold_the_published_keys_and_one_more(exported):
    for line in exported[1].read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        extra = data.pop("editenv")
        assert record_from_json(data).to_json() == data
        assert list(extra) == ["world", "size", "grid", "spec"]


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(ValueError, match="count is 0, expected 1 or more"):
        export_sessions(StudioWorld(), "test", 0, 0, tmp_path)
    for name in ("../up", "", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="expected letters, digits"):
            export_sessions(StudioWorld(), "test", 0, 1, tmp_path, name)
    export_sessions(StudioWorld(), "test", 0, 1, tmp_path)
    before = sorted(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    with pytest.raises(ValueError, match="shows another picture"):
        export_sessions(StudioWorld(size=96), "test", 0, 1, tmp_path)
    assert sorted(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()) == before


@pytest.mark.parametrize(("size", "grid"), [(96, 4), (50, 3), (64, 5)])
def test_size_and_grid_come_from_the_file(tmp_path, size, grid):
    world = StudioWorld(size=size, grid=grid)
    path = export_sessions(world, "train", 1, 3, tmp_path, name=f"grid-{grid}")
    read = open_sessions(path)
    assert (read.size, read.grid) == (size, grid)
    assert open_sessions(path, size).image_shape == (size, size, 3)
    with pytest.raises(ValueError, match=rf"size is 33, but the scenes in .* are {size} pixels wide"):
        open_sessions(path, 33)


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
    ((*SPEC, "seed"), "x", "key 'editenv': key 'seed' is 'x', expected a whole number"),
    ((*SPEC, "more"), 1, "key 'editenv': key 'spec' has keys or values that no studio session has"),
    ((*SPEC, "turns"), [], "key 'editenv': key 'turns' is empty"),
    ((*SPEC, "scene"), [0, 1, 0, 0, 0], "key 'editenv': key 'scene' has 4 cells, expected 16"),
    ((*SPEC, "scene"), [0, *[-1] * 16], "key 'editenv': key 'scene' holds something unreadable"),
    ((*SPEC, "scene", 0), 77, "key 'editenv': background code is 77"),
    ((*SPEC, "scene", 3), 1.0, "key 'editenv': key 'scene[3]' is 1.0, expected a whole number"),
    ((*SPEC, "turns", 0, "text"), "dance", "key 'instruction' is ["),
    ((*SPEC, "turns", 0, "text"), 4, "key 'editenv': key 'text' is 4, expected a text"),
    ((*SPEC, "turns", 0, "reference"), 4, "key 'editenv': key 'reference' is 4, expected a text"),
    ((*SPEC, "turns", 1, "edit", "task"), "dance", "key 'editenv': task is 'dance', expected one of"),
    ((*SPEC, "turns", 1, "edit"), {"task": "background_change"}, "key 'editenv': background_change has"),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "background_change", "background": "mauve"},
        "key 'editenv': turn 1 has no right result",
    ),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "subject_add", "cell": 99, "shape": "star", "color": None, "material": None},
        "key 'editenv': turn 1 cannot be carried out",
    ),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "subject_add", "cell": -1, "shape": "star", "color": None, "material": None},
        "key 'editenv': turn 1 has no right result",
    ),
    (
        (*SPEC, "turns", 1, "edit"),
        {"task": "subject_add", "cell": 1, "shape": "cube", "color": None, "material": None},
        "key 'editenv': turn 1 cannot be carried out",
    ),
    ((*SPEC, "turns", 1, "rules"), [{"family": "magic"}], "key 'editenv': family is 'magic'"),
    (("instruction", 1), "dance", "key 'instruction' is ["),
    (("task_type", 1), "text_change", "key 'task_type' is ["),
]


@pytest.mark.parametrize(
    ("keys", "value", "message"), BAD_VALUES, ids=[message[:60] for *_, message in BAD_VALUES]
)
def test_a_meaning_that_does_not_fit_is_refused_with_its_line(lines, keys, value, message):
    path, data = lines
    place = data[1]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    assert refused(path, data).startswith(message)


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
    place[key] = data.draw(
        values | st.lists(values, max_size=3) | st.sampled_from(["red", "star", "striped"])
    )
    path = folder / "changed.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    try:
        env = make_env(sessions_file=str(path))
    except ValueError as error:
        assert str(error).startswith(f"{path}, line 1: key ")
        return
    env.reset(seed=0)
    for picture in oracle(env.session.spec, 64):
        scores: Scores = env.step({"image": picture, "intent": ""})[4]["scores"]
        assert scores.instruction_following == scores.global_awareness == 1


def places(value, holder, key):
    """Every place of a JSON value, as (holder, key)."""
    yield holder, key
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, entry in entries:
        yield from places(entry, value, name)
