"""The suite of single tasks: all nine alike, fair to every right choice, at every size and grid."""

from collections import Counter
from itertools import islice
from random import Random

import pytest

from editenv.types import Image
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.nlu import apply_intent
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.phrases import all_phrasings, speech_acts
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.scene import SIGN, TEXTS, Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.suites import load_suite
from editenv.worlds.studio.tasks import EDITS, ColorAlter, SubjectAdd, TextChange
from editenv.worlds.studio.world import StudioWorld
from tests.studio_play import play, right_scenes
from tests.worlds.studio.right_choices import right_results

NONE: frozenset[str] = frozenset()


def sessions(split: str, count: int, grid: int = 4) -> list[StudioSpec]:
    world = StudioWorld("tasks", size=16 * grid, grid=grid)
    return [world.session(split, 21, index) for index in range(count)]


def leaves_a_choice(edit: Edit) -> bool:
    return edit.task == "count_change" or getattr(edit, "beside", None) is not None


def test_all_nine_tasks_come_alike() -> None:
    """Fails where a task is left out or comes half as often as another, or few places are relative."""
    turns = [turn for spec in sessions("train", 1000) for turn in spec.turns]
    share = {task: count / len(turns) for task, count in Counter(turn.edit.task for turn in turns).items()}
    assert set(share) == set(PLAIN_TASKS)
    assert all(0.08 < part < 0.145 for part in share.values()), share
    beside = Counter(turn.edit.task for turn in turns if getattr(turn.edit, "beside", None))
    assert all(beside[task] > 90 for task in ("subject_add", "position_change"))
    assert not any(turn.rules or turn.reference for turn in turns)
    relations = Counter(turn.edit.beside.relation for turn in turns if getattr(turn.edit, "beside", None))
    assert set(relations) == {"left", "right", "above", "below", "next"}
    assert min(relations.values()) > 20


PLAIN_TASKS = (
    "subject_add",
    "subject_remove",
    "subject_replace",
    "color_alter",
    "material_alter",
    "text_change",
    "position_change",
    "count_change",
    "background_change",
)


def test_the_nine_tasks_are_those_of_the_benchmarks() -> None:
    """Fails where a task of MICE-Bench and EdiVal has no edit."""
    assert set(PLAIN_TASKS) <= set(EDITS)


def test_every_start_scene_has_signs_with_texts_of_their_own() -> None:
    """Fails where a text would name two signs, or where a text cannot be changed because there is no sign."""
    least, most = load_suite("tasks").signs
    for spec in sessions("test", 200):
        texts = [thing.text for thing in spec.scene.cells if thing and thing.shape == SIGN]
        assert least <= len(texts) <= most
        assert len(set(texts)) == len(texts)
        assert set(texts) <= set(TEXTS)


@pytest.mark.parametrize(("size", "grid"), [(64, 4), (128, 5), (256, 5), (64, 2), (64, 3), (128, 4)])
def test_agents_that_choose_otherwise_are_right_to_the_end(size: int, grid: int) -> None:
    """Fails where a later turn relies on a choice that was the agent's, or where a right result is paid less.

    In each turn the agent takes any right result in place of the one that the script went on with.
    """
    rng = Random(grid * size)
    specs = sessions("test", 60 if size < 256 else 25, grid)
    scenes = [spec.scene for spec in specs]
    strayed = 0

    def answer(row: int, turn: int, before: Scene, right: Scene) -> Image:
        nonlocal strayed
        edit, scene = specs[row].turns[turn].edit, scenes[row]
        if leaves_a_choice(edit):
            after: Scene | None = rng.choice(list(islice(right_results(edit, scene), 400)))
        else:
            after = apply_intent(specs[row].turns[turn].intent, scene, grid)
        assert after is not None, specs[row].turns[turn].intent
        assert parse([render(after, size)], grid) == [after]
        strayed += after != right
        scenes[row] = after
        return render(after, size)

    for row in play(specs, answer, grid, size):
        for score in row:
            assert score.reward == score.instruction_following == score.turn_consistency == 1
    assert strayed > 10


def test_right_answers_are_paid_in_full_over_300_sessions() -> None:
    """Fails where the environment's own right answer is not right."""
    specs = sessions("validation", 300)
    for row in play(specs, lambda row, turn, before, right: render(right, 64)):
        assert [score.reward for score in row] == [1.0, 1.0, 1.0]


SIGN_SCENE = Scene(
    (SceneObject(SIGN, "red", text="open"), SceneObject(SIGN, "blue", text="go"), SceneObject("star", "red"), None),
    "gray",
)
OPEN, GO = Target(0, SIGN, text="open"), Target(1, SIGN, color="blue")


def test_texts_by_hand() -> None:
    """Fails where another sign, another text, or a sign that changed in other ways too counts as done."""
    edit = TextChange(GO, "tea")
    right = SIGN_SCENE.put(1, SceneObject(SIGN, "blue", text="tea"))
    assert edit.apply(SIGN_SCENE) == right
    assert edit.accepts(SIGN_SCENE, right, NONE)
    assert edit.touched(SIGN_SCENE) == {1}
    for wrong in (
        SIGN_SCENE,
        SIGN_SCENE.put(1, SceneObject(SIGN, "blue", text="hi")),
        SIGN_SCENE.put(1, SceneObject(SIGN, "red", text="tea")),
        SIGN_SCENE.put(1, SceneObject("square", "blue")),
        SIGN_SCENE.put(1, None),
        SIGN_SCENE.put(0, SceneObject(SIGN, "red", text="tea")),
        right.put(1, None).put(3, right.cells[1]),
    ):
        assert not edit.accepts(SIGN_SCENE, wrong, NONE)
    assert edit.accepts(SIGN_SCENE, SIGN_SCENE.put(1, SceneObject(SIGN, "red", text="tea")), frozenset({"color"}))


def test_a_text_that_is_there_already_is_no_edit_and_a_star_has_none() -> None:
    """Fails where doing nothing is paid, or where a shape can be written on."""
    assert not TextChange(GO, "go").accepts(SIGN_SCENE, SIGN_SCENE, NONE)
    star = TextChange(Target(2, "star"), "go")
    assert not star.accepts(SIGN_SCENE, SIGN_SCENE.put(2, SceneObject(SIGN, "red", text="go")), NONE)
    with pytest.raises(ValueError, match="expected the sign"):
        star.apply(SIGN_SCENE)


def test_a_sign_keeps_its_text_when_something_else_of_it_changes() -> None:
    """Fails where a recoloured or moved sign may come back with another text."""
    edit = ColorAlter(OPEN, "green")
    assert edit.accepts(SIGN_SCENE, SIGN_SCENE.put(0, SceneObject(SIGN, "green", text="open")), NONE)
    assert not edit.accepts(SIGN_SCENE, SIGN_SCENE.put(0, SceneObject(SIGN, "green", text="exit")), NONE)
    added = SubjectAdd(3, SIGN, "red", text="bus")
    assert added.accepts(SIGN_SCENE, SIGN_SCENE.put(3, SceneObject(SIGN, "red", text="bus")), NONE)
    assert not added.accepts(SIGN_SCENE, SIGN_SCENE.put(3, SceneObject(SIGN, "red", text="tea")), NONE)


@pytest.mark.parametrize(
    ("intent", "cell", "thing"),
    [
        ('make the sign that says "open" say "sale"', 0, SceneObject(SIGN, "red", text="sale")),
        ('make the blue sign say "cafe"', 1, SceneObject(SIGN, "blue", text="cafe")),
        ('make the sign in row 1 column 2 say "hi"', 1, SceneObject(SIGN, "blue", text="hi")),
        ('make the blue sign say "hi" and make it green', 1, SceneObject(SIGN, "green", text="hi")),
        ("make the sign that says go yellow", 1, SceneObject(SIGN, "yellow", text="go")),
        ('add a purple sign that says "exit" in row 2 column 2', 3, SceneObject(SIGN, "purple", text="exit")),
        ('replace the star with an orange sign that says "bus"', 2, SceneObject(SIGN, "orange", text="bus")),
        ("add a green circle below the blue sign", 3, SceneObject("circle", "green")),
        ("there should be one striped red cross", 3, SceneObject("cross", "red", "striped")),
        ("there should be two red stars", 3, SceneObject("star", "red")),
    ],
)
def test_intents_with_signs_counts_and_relations_by_hand(intent: str, cell: int, thing: SceneObject) -> None:
    """Fails where a slot of the new sentences is mixed up."""
    assert apply_intent(intent, SIGN_SCENE, 2) == SIGN_SCENE.put(cell, thing)


def test_an_intent_that_moves_and_paints_by_hand() -> None:
    """Fails where the sign that is moved loses its text or the new colour goes elsewhere."""
    moved = SIGN_SCENE.put(0, None).put(3, SceneObject(SIGN, "green", text="open"))
    intent = "move the red sign to the right of the star and make it green"
    assert apply_intent(intent, SIGN_SCENE, 2) == moved


@pytest.mark.parametrize(
    "intent",
    [
        'make the sign say "open"',  # there are two
        'make the star say "open"',
        'make the blue sign say "stop"',  # no such text
        "make the blue sign striped",  # signs are plain
        'add a striped red sign that says "open" in row 2 column 2',
        "add a red sign in row 2 column 2",  # it would say nothing
        "add a red star above the blue sign",  # outside of the grid
        "move the star below the star",
        "move the red sign to the left of the star",
        "there should be four red stars",  # no room
        "there should be two signs",
    ],
)
def test_what_cannot_be_drawn_or_told_is_refused(intent: str) -> None:
    """Fails where the editor guesses, or answers a scene that has no picture."""
    assert apply_intent(intent, SIGN_SCENE, 2) is None


def test_the_new_intents_by_hand() -> None:
    """Fails where the canonical intent does not name what the instruction named."""
    spec = next(s for s in sessions("train", 60) if any(leaves_a_choice(t.edit) for t in s.turns))
    scenes = right_scenes(spec)
    for turn, scene in zip(spec.turns, scenes, strict=False):
        assert canonical_intent(turn.edit, (), 4) == turn.intent
        assert apply_intent(turn.intent, scene, 4) == right_result(turn.edit, (), scene)
    assert canonical_intent(TextChange(OPEN, "tea"), (), 4) == 'make the sign that says "open" say "tea"'


@pytest.mark.parametrize("act", speech_acts())
def test_every_act_has_ten_phrasings_or_more(act: str) -> None:
    """Fails where an act is said in fewer than ten ways, or a way is said in both splits."""
    train, test = all_phrasings(act, "train"), all_phrasings(act, "test")
    assert len({*train, *test}) == len(train) + len(test) >= 10
    assert len(test) >= 3
