"""Sessions: the same everywhere and always, disjoint between splits, and solvable from the text."""

import json
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import pytest

from editenv.types import SPLITS
from editenv.worlds.studio.dialogue import REFERENCES
from editenv.worlds.studio.phrases import LEAVE_ALONE
from editenv.worlds.studio.rule import Except, Replace
from editenv.worlds.studio.scene import codes_hash
from editenv.worlds.studio.session import StudioSpec, spec_from_json
from editenv.worlds.studio.suites import load_suite, suite_names
from editenv.worlds.studio.tasks import SubjectAdd
from editenv.worlds.studio.world import StudioWorld
from tests.studio_play import drawn_sessions, right_scenes

PLAIN_TASK = {
    "subject_add_beside": "subject_add",
    "subject_add_sign": "subject_add",
    "position_change_beside": "position_change",
}
"""The task of a way of asking, where they have different names."""

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "studio_sessions.json").read_text())


def fingerprint(suite: str, split: str, size: int, grid: int, seed: int, index: int) -> list[str]:
    """A session's id and the hash of its source picture."""
    world = StudioWorld(suite, size, grid)
    spec = world.session(split, seed, index)
    return [spec.id, blake2b(world.picture(spec).tobytes(), digest_size=8).hexdigest()]


def some(suite: str, split: str, count: int = 150, grid: int = 4) -> list[StudioSpec]:
    return drawn_sessions(suite, split, count, grid)


@pytest.mark.parametrize("key", sorted(GOLDEN["sessions"]))
def test_sessions_are_what_they_were(key: str) -> None:
    """Fails where sessions move: then raise StudioWorld.version and renew these hashes."""
    suite, split, size, grid, seed, index = key.split()
    assert StudioWorld.version == GOLDEN["version"]
    now = fingerprint(suite, split, int(size), int(grid), int(seed), int(index))
    assert now == GOLDEN["sessions"][key]


def test_golden_sessions_cover_every_suite_and_split() -> None:
    """Fails where a suite is added without hashes."""
    covered = {tuple(key.split()[:2]) for key in GOLDEN["sessions"]}
    assert covered == {(suite, split) for suite in suite_names() for split in SPLITS}


def test_another_process_draws_the_same_bytes() -> None:
    """Fails where sets, hash seeds or caches decide anything: another hash seed, another order."""
    code = (
        "import sys, hashlib; from editenv.worlds.studio.world import StudioWorld; w = StudioWorld('mixed');"
        "order = [int(n) for n in sys.argv[1].split(',')];"
        "s = {n: w.session('test', 3, n) for n in order};"
        "print([(s[n].id, hashlib.sha256(w.picture(s[n]).tobytes()).hexdigest(), s[n].to_json())"
        " for n in sorted(order)])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, order],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed, order in (("1", "0,1,2,3,4,5"), ("2", "5,3,1,4,2,0"))
    ]
    assert said[0] == said[1] != ""


@pytest.mark.parametrize("suite", suite_names())
def test_splits_share_no_start_scene(suite: str) -> None:
    """Fails where a test session starts from a picture that training may show, whatever the seeds."""
    seen = {split: {codes_hash(spec.scene.codes()) for spec in some(suite, split)} for split in SPLITS}
    assert all(len(hashes) > 140 for hashes in seen.values())
    # By the rule itself, not only by luck: quarters of the hash belong to splits.
    assert {number % 4 for number in seen["train"]} == {0, 1}
    assert {number % 4 for number in seen["validation"]} == {2}
    assert {number % 4 for number in seen["test"]} == {3}


def test_seeds_and_numbers_give_other_sessions() -> None:
    """Fails where a seed or a number is not used."""
    world = StudioWorld("mixed")
    ids = {world.session("train", seed, index).id for seed in range(5) for index in range(40)}
    assert len(ids) == 200


@pytest.mark.parametrize("grid", [2, 3, 4, 5])
@pytest.mark.parametrize("suite", suite_names())
def test_suites_keep_their_promises(suite: str, grid: int) -> None:
    """Fails where sessions differ from their suite, or where a small grid breaks them."""
    plan = load_suite(suite)
    specs = some(suite, "train", 100, grid)
    most = min(plan.objects[1], grid * grid - 1)
    for spec in specs:
        assert spec.turn_count == plan.turns
        assert plan.objects[0] <= len(spec.scene.occupied()) <= most
        assert spec.turns[0].reference is None
        if plan.reference.share == 1:
            assert all(script.reference for script in spec.turns[1:])
        if plan.reference.share == 0:
            assert not any(script.reference for script in spec.turns)
        assert {script.reference for script in spec.turns} <= {None, *REFERENCES}
        tasks = {PLAIN_TASK.get(task, task) for task in plan.tasks} | ({"undo"} if plan.undo else set())
        several = {"color_alter", "material_alter", "subject_remove"} if "multi_object" in tasks else set()
        assert {script.edit.task for script in spec.turns} <= tasks | several


@pytest.mark.parametrize("suite", suite_names())
def test_rules_are_said_as_often_and_when_the_suite_says(suite: str) -> None:
    """Fails where an entry of [[rules]] is not used, or used in other turns than its own."""
    plan = load_suite(suite)
    specs = some(suite, "train", 150)
    for family in {entry.family for entry in plan.rules} - {"limit_alike"}:
        entries = [entry for entry in plan.rules if entry.family == family]
        when = [turns for spec in specs if (turns := said(spec, family))]
        assert all(turn in {t for e in entries for t in e.turns} for turns in when for turn in turns)
        never = 1.0
        for entry in entries:
            never *= 1 - entry.share * bool(entry.turns)
        # Some need more than chance: an end needs a rule, a region must be empty, an exception needs an edit.
        assert 0.25 * (1 - never) <= len(when) / len(specs) + 0.01
        assert len(when) / len(specs) <= 1 - never + 0.12


def said(spec: StudioSpec, family: str) -> list[int]:
    """Turns in which something of a family is said; a rule that comes back after an exception is not."""
    turns, known = [], set()
    for number, script in enumerate(spec.turns):
        replaced = {c.by for c in script.changes if isinstance(c, Replace)}
        known |= {c.rule for c in script.changes if isinstance(c, Except)}
        new = [rule for rule in script.rules if rule not in known and rule not in replaced]
        if family in {x.family for x in (*new, *script.changes)}:
            turns.append(number)
        known |= set(script.rules)
    return turns


@pytest.mark.parametrize("suite", suite_names())
def test_referents_are_told_by_the_text(suite: str) -> None:
    """Fails where the words fit two objects, none, or another than is meant."""
    targets = 0
    for spec in some(suite, "test"):
        scenes = right_scenes(spec)
        for script, scene in zip(spec.turns, scenes, strict=False):
            target = getattr(script.edit, "target", None)
            if target is None:
                continue
            if script.intent == LEAVE_ALONE:
                assert target.words(4) in script.text or script.reference
                continue
            targets += 1
            fitting = [cell for cell, thing in enumerate(scene.cells) if target.fits(thing)]
            assert target.cell in fitting
            assert target.placed or fitting == [target.cell]
            assert target.words(4) in script.intent
            if script.reference in (None, "same") and script.edit.task != "undo":
                assert target.words(4) in script.text
    assert targets > 100


@pytest.mark.parametrize("suite", suite_names())
def test_every_turn_changes_the_picture(suite: str) -> None:
    """Fails where an instruction asks for what is there already, so that doing nothing would be right."""
    for spec in some(suite, "train"):
        scenes = right_scenes(spec)
        for script, before, after in zip(spec.turns, scenes, scenes[1:], strict=False):
            assert (before != after) != (script.intent == LEAVE_ALONE), script.text
            if isinstance(script.edit, SubjectAdd):
                assert before.cells[script.edit.cell] is None


@pytest.mark.parametrize("suite", suite_names())
def test_sessions_survive_json(suite: str) -> None:
    """Fails where a record read back is another session."""
    world = StudioWorld(suite)
    for spec in some(suite, "validation", 50):
        written = json.dumps(spec.to_json())
        again = world.spec_from_json(json.loads(written))
        assert again == spec
        assert again.id == spec.id


def test_broken_json_is_named() -> None:
    """Fails where a session with a missing or unknown key is read all the same."""
    data = some("mixed", "train", 1)[0].to_json()
    for key in ("scene", "turns", "suite", "index"):
        with pytest.raises(ValueError, match=key):
            spec_from_json({name: value for name, value in data.items() if name != key})
    turn = dict(data["turns"][0])
    del turn["edit"]
    with pytest.raises(ValueError, match="edit"):
        spec_from_json(data | {"turns": [turn]})


def test_unknown_names_and_sizes_are_named() -> None:
    """Fails where a misspelt suite or split, or a grid that nothing fits in, is taken."""
    with pytest.raises(ValueError, match="suite 'mice-cn' is not known, did you mean 'mice-c"):
        StudioWorld("mice-cn")
    with pytest.raises(ValueError, match=r"suite 'zzz' is not known, expected one of .*mice-cm, mice-cu, mixed"):
        StudioWorld("zzz")
    with pytest.raises(ValueError, match=r"split is 'dev', expected one of \('train', 'validation', 'test'\)"):
        StudioWorld().session("dev", 0, 0)
    for grid in (1, 6):
        with pytest.raises(ValueError, match=f"grid is {grid}, expected 2 to 5"):
            StudioWorld(grid=grid)
    with pytest.raises(ValueError, match="size is 31, expected at least 32"):
        StudioWorld(size=31)
