"""Mutants of texts, counts and places beside objects: each is caught by the score that should.

Made from real sessions of the suite of single tasks with one seed; each claim holds for every one of them.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from editenv.types import Image
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.render import render
from editenv.worlds.studio.scene import SIGN, TEXTS, Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.tasks import CountChange, PositionChange, SubjectAdd, TextChange
from editenv.worlds.studio.world import StudioWorld
from tests.studio_play import play, right_scenes

Mutate = Callable[[Edit, Scene, Scene], Iterator[Scene]]
TIMES = int(os.environ.get("EDITENV_MUTANTS", "1"))
WORLD = StudioWorld("tasks")
SPECS = [WORLD.session("test", 41, index) for index in range(250 * TIMES)]


def wrong_texts(edit: Edit, before: Scene, right: Scene) -> Iterator[Scene]:
    """Every other text; the right text on another sign, on a new sign, in another colour."""
    if not isinstance(edit, TextChange):
        return
    cell = edit.target.cell
    sign = right.cells[cell]
    assert sign is not None
    for text in TEXTS:
        if text != edit.text:
            yield right.put(cell, replace(sign, text=text))
    yield right.put(cell, replace(sign, color="red" if sign.color != "red" else "green"))
    yield from (before.put(place, sign) for place in before.empty()[:2])
    for place, thing in enumerate(before.cells):
        if place != cell and thing and thing.shape == SIGN:
            yield before.put(place, replace(thing, text=edit.text))


def wrong_counts(edit: Edit, before: Scene, right: Scene) -> Iterator[Scene]:
    """One too few, one too many, one of another kind among the new ones, one more object in a free cell."""
    if not isinstance(edit, CountChange):
        return
    new = [cell for cell in right.occupied() if before.cells[cell] is None]
    gone = [cell for cell in before.occupied() if right.cells[cell] is None]
    for cell in edit.cells(right)[:2]:
        yield right.put(cell, None)
    for cell in right.empty()[:2]:
        yield right.put(cell, SceneObject(edit.shape, edit.color or "red", edit.material or "plain"))
    for cell in new[:1]:
        yield right.put(cell, SceneObject("star" if edit.shape != "star" else "cross", "red"))
        yield from (
            right.put(free, SceneObject("square" if edit.shape != "square" else "cross", "red"))
            for free in right.empty()[:1]
        )
    for cell in gone[:1]:
        yield right.put(cell, before.cells[cell])
        yield right.put(cell, SceneObject("star" if edit.shape != "star" else "cross", "red"))


def wrong_sides(edit: Edit, before: Scene, right: Scene) -> Iterator[Scene]:
    """The object in free cells that are not beside the other one, and in two right cells at once."""
    if not isinstance(edit, SubjectAdd | PositionChange) or edit.beside is None:
        return
    thing = right.cells[edit.cell]
    places = edit.beside.cells(before)
    wrong = [cell for cell in before.empty() if cell not in places]
    yield from (right.put(edit.cell, None).put(cell, thing) for cell in wrong[:4])
    yield from (right.put(cell, thing) for cell in places[1:])


def mutants(mutate: Mutate) -> list[tuple[StudioSpec, int, Scene]]:
    found = []
    for spec in SPECS:
        scenes = right_scenes(spec)
        for turn, script in enumerate(spec.turns):
            made = mutate(script.edit, scenes[turn], scenes[turn + 1])
            found += [(spec, turn, mutant) for mutant in made]
    return found


@pytest.mark.parametrize(("mutate", "least"), [(wrong_texts, 700), (wrong_counts, 250), (wrong_sides, 200)])
def test_wrong_texts_counts_and_sides_are_caught_by_following(mutate: Mutate, least: int) -> None:
    """Fails where one of them counts as done, or where awareness comes back after it."""
    cases = mutants(mutate)
    assert len(cases) >= least * TIMES

    def answer(row: int, turn: int, before: Scene, right: Scene) -> Image:
        _, mutated, scene = cases[row]
        return render(scene if turn == mutated else right, 64)

    for (_, turn, scene), scores in zip(cases, play([spec for spec, *_ in cases], answer), strict=True):
        assert scores[turn].instruction_following == 0, (scene, turn)
        assert all(score.global_awareness == 0 for score in scores[turn:])
        assert all(score.reward == 1 for score in scores[:turn])


def test_objects_that_no_count_may_touch_are_kept() -> None:
    """Fails where an instruction about some objects licenses changes of others."""
    cases = []
    for spec in SPECS:
        scenes = right_scenes(spec)
        edit = spec.turns[0].edit
        if isinstance(edit, CountChange):
            others = [cell for cell in spec.scene.occupied() if cell not in edit.cells(spec.scene)]
            cases += [(spec, scenes[1].put(cell, None)) for cell in others[:2]]
    assert len(cases) > 30

    def answer(row: int, turn: int, before: Scene, right: Scene) -> Image:
        return render(cases[row][1] if turn == 0 else right, 64)

    for scores in play([spec for spec, _ in cases], answer):
        assert scores[0].instruction_following == 1
        assert scores[0].content_consistency is not None and scores[0].content_consistency < 1
        assert scores[0].turn_consistency is not None and scores[0].turn_consistency < 1
