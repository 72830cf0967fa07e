"""Exported studio sessions: their bytes and fields, and the same sessions and scores when read back."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from editenv.records import record_from_json
from editenv.rewards.exact import ExactScorer
from editenv.types import TurnResult
from editenv.worlds.records.export import export_sessions, in_brackets, record_from_studio
from editenv.worlds.records.scenes import StudioRecordsWorld
from editenv.worlds.records.world import open_sessions
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.rules import AttributeRule
from editenv.worlds.studio.scene import SHAPES, SIGN, Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import BackgroundChange, PositionChange, SubjectAdd, SubjectRemove
from editenv.worlds.studio.world import StudioWorld

COUNT = 24


@pytest.fixture(scope="module", params=suite_names())
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
    scorer, history, source = ExactScorer(world), [], world.picture(spec)
    for turn, after in enumerate(answers):
        earlier = tuple(answers[:turn])
        before = earlier[-1] if earlier else source
        speech = spec.message(turn)
        outcome = TurnResult(spec, turn, speech, source, before, after, tuple(history), earlier)
        history += scorer.score([outcome])
    return history


def oracle(spec, size):
    """The right picture of every turn."""
    scenes = [spec.scene]
    for turn in spec.turns:
        scenes.append(right_result(turn.edit, turn.rules, scenes[-1], scenes[:-1]))
    return [render(scene, size) for scene in scenes[1:]]


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
    circle, star = SceneObject("circle", "red", "striped"), SceneObject("star", "blue")
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
    record = record_from_studio(StudioSpec("s", "test", 0, 0, Scene((circle, star, None, None), "white"), turns))
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
            outside = re.sub(r"\[[^]]*\]", "", bracketed)
            assert not re.search("|".join((*SHAPES, SIGN)), outside), bracketed


def test_lines_hold_the_published_keys_and_one_more(exported):
    for line in exported[1].read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        extra = data.pop("editenv")
        assert record_from_json(data).to_json() == data
        assert [key for key in extra if key != "max_turns"] == ["world", "size", "grid", "spec"]


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
