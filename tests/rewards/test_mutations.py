"""Mutants of right answers: each wrong edit, collateral change, broken rule and trick is caught.

All mutants are made from real sessions of all suites with one seed; each claim holds for every one of them.
EDITENV_MUTANTS=10 makes ten times as many, at least 2,000 of every kind.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageFilter

from editenv.types import Image, Scores
from editenv.worlds.studio.edit import BACKGROUND, MultiEdit
from editenv.worlds.studio.render import INK, render
from editenv.worlds.studio.rule import allowed_changes, check_edit
from editenv.worlds.studio.rules import AttributeRule
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, TEXTS, Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import Undo
from editenv.worlds.studio.world import StudioWorld
from tests.studio_play import play, right_scenes

TIMES = int(os.environ.get("EDITENV_MUTANTS", "1"))
WORDS = {"shape": SHAPES, "color": COLORS, "material": MATERIALS, "text": TEXTS}


@dataclass(frozen=True)
class Case:
    """A turn of a session: what was there, what is right, and the cells that earlier turns touched."""

    spec: StudioSpec
    turn: int
    before: Scene
    right: Scene
    touched_earlier: frozenset[int]

    @property
    def script(self) -> StudioTurn:
        return self.spec.turns[self.turn]

    @property
    def touched(self) -> frozenset[int]:
        return self.script.edit.touched(self.before)

    @property
    def free(self) -> frozenset[str]:
        return allowed_changes(self.script.edit, self.script.rules)

    @property
    def others(self) -> list[int]:
        """Cells with objects that this turn has nothing to do with."""
        return [cell for cell in self.before.occupied() if cell not in self.touched]


@lru_cache(maxsize=1)
def cases() -> tuple[Case, ...]:
    """The first turns of 15 TIMES sessions of each suite, of three splits, of whose edit a part can go wrong.

    Forbidden instructions, undos and edits of several objects have mutants of their own (test_exact, and the
    tests of rules).
    """
    found = []
    for suite in suite_names():
        for split in ("train", "validation", "test"):
            for index in range(5 * TIMES):
                spec = StudioWorld(suite).session(split, 31, index)
                spec = replace(spec, turns=spec.turns[:4])
                scenes, earlier = right_scenes(spec), frozenset[int]()
                for turn, script in enumerate(spec.turns):
                    edit, before, right = script.edit, scenes[turn], scenes[turn + 1]
                    verdict = check_edit(edit, script.rules, before, right, scenes[:turn])
                    if not (verdict.leave_alone or isinstance(edit, Undo | MultiEdit)):
                        found.append(Case(spec, turn, before, right, earlier))
                    earlier |= verdict.licensed
    return tuple(found)


Mutant = tuple[Case, Image]


def scored(mutants: list[Mutant], least: int) -> Iterator[tuple[Case, Scores, list[Scores]]]:
    """Each case, the scores of its mutated turn and of the turns after it; all other turns are right."""
    assert len(mutants) >= least * TIMES

    def answer(row: int, turn: int, before: Scene, right: Scene) -> Image:
        case, picture = mutants[row]
        return picture if turn == case.turn else render(right, 64)

    for (case, _), row in zip(mutants, play([case.spec for case, _ in mutants], answer), strict=True):
        assert all(score.global_awareness == 1 for score in row[: case.turn])
        yield case, row[case.turn], row[case.turn + 1 :]


def other(words: tuple[str, ...], *taken: str | None) -> str:
    return next(word for word in words if word not in taken)


def changed(thing: SceneObject) -> dict[str, SceneObject]:
    """The object with another value of each attribute; signs have one material, and shapes no text."""
    found = {
        name: replace(thing, **{name: other(WORDS[name], value)})
        for name, value in thing.attributes().items()
        if name != "material" or thing.text is None
    }
    return found | {"shape": replace(found["shape"], text=None)}


def drawn(case: Case, *scenes: Scene) -> list[Mutant]:
    return [(case, render(scene, 64)) for scene in scenes]


def wrong_values(case: Case) -> Iterator[Scene]:
    """The edited object with something else in an attribute that the instruction fixes and no rule frees."""
    edit = case.script.edit
    cell = edit.edited_cell(case.before)
    thing = None if cell is None else case.right.cells[cell]
    if cell is None or thing is None:
        return
    for name, mutant in changed(thing).items():
        told = name in ("shape", "text") or edit.task == "position_change" or edit.asked()[name] is not None
        kept = edit.task in ("color_alter", "material_alter", "text_change")
        kept = kept and name != getattr(edit, "attribute", None)
        if (told or kept) and name not in case.free:
            yield case.right.put(cell, mutant)


def wrong_objects(case: Case) -> Iterator[Scene]:
    """What was asked for, done to another object."""
    for cell in case.others[:2]:
        thing = case.before.cells[cell]
        assert thing is not None
        task = case.script.edit.task
        if task == "subject_remove":
            yield case.before.put(cell, None)
        if task == "position_change":
            yield case.before.put(cell, None).put(case.script.edit.edited_cell(case.before) or 0, thing)
        if task in ("color_alter", "material_alter", "subject_replace"):
            goal = case.right.cells[case.script.edit.edited_cell(case.before) or 0]
            yield case.before.put(cell, goal)


def wrong_cells(case: Case) -> Iterator[Scene]:
    """A new or moved object in another cell than the one named; a moved one that was copied."""
    edit = case.script.edit
    if edit.task not in ("subject_add", "position_change"):
        return
    cell = edit.edited_cell(case.before)
    assert cell is not None
    thing = case.right.cells[cell]
    right = case.touched if getattr(edit, "beside", None) else ()
    for place in [place for place in case.right.empty() if place not in right][:2]:
        yield case.right.put(cell, None).put(place, thing)
    if edit.task == "position_change":
        yield case.before.put(cell, thing)


def half_done(case: Case) -> Iterator[Scene]:
    """Nothing at all; or an edited object that is gone."""
    yield case.before
    cell = case.script.edit.edited_cell(case.before)
    if cell is not None:
        yield case.right.put(cell, None)
    if case.script.edit.task == "background_change":
        yield replace(case.right, background=other(BACKGROUNDS, case.before.background, case.right.background))


@pytest.mark.parametrize(
    ("mutate", "least"), [(wrong_values, 500), (wrong_objects, 400), (wrong_cells, 400), (half_done, 800)]
)
def test_wrong_edits_are_caught_by_following(mutate: Callable[[Case], Iterator[Scene]], least: int) -> None:
    """Fails where one wrong edit counts as done, or where awareness comes back after it."""
    mutants = [mutant for case in cases() for mutant in drawn(case, *mutate(case))]
    for case, scores, later in scored(mutants, least):
        assert scores.instruction_following == 0, case
        assert scores.global_awareness == 0
        assert all(score.global_awareness == 0 for score in later)


def collateral(case: Case) -> Iterator[Scene]:
    """The right result, and one more change: an object lost, changed or come, or another background."""
    kept = set(range(16)) - case.touched - case.touched_earlier
    full = sorted(kept & set(case.right.occupied()))
    empty = sorted(kept & set(case.right.empty()))
    for cell in full[:1]:
        thing = case.right.cells[cell]
        assert thing is not None
        yield case.right.put(cell, None)
        yield from (case.right.put(cell, mutant) for mutant in changed(thing).values())
        yield from (case.right.put(cell, None).put(place, thing) for place in empty[:1])
    for cell in empty[-2:]:
        yield case.right.put(cell, SceneObject("star", "green"))
    if BACKGROUND not in case.touched | case.touched_earlier:
        yield replace(case.right, background=other(BACKGROUNDS, case.right.background))


def test_collateral_changes_are_caught_by_consistency() -> None:
    """Fails where a change that nobody asked for is free; following is not lowered by it."""
    mutants = [mutant for case in cases() for mutant in drawn(case, *collateral(case))]
    for case, scores, _ in scored(mutants, 2000):
        assert scores.content_consistency is not None and scores.content_consistency < 1, case
        assert scores.turn_consistency is not None and scores.turn_consistency < 1, case
        # What changes beside a count may be one of those that count.
        assert scores.instruction_following == 1 or case.script.edit.task == "count_change"
        # A prohibition looks at the whole picture.
        assert scores.rule_kept in (1, None) or any(rule.forbids for rule in case.script.rules)


def test_damage_to_an_earlier_edit_is_caught_by_this_turns_consistency() -> None:
    """What an earlier turn edited is outside of CC, as published, but it must not change again by itself."""
    mutants = []
    for case in cases():
        for cell in sorted(case.touched_earlier - case.touched - {BACKGROUND})[:1]:
            thing = None if case.right.cells[cell] else SceneObject("square", "blue")
            mutants += drawn(case, case.right.put(cell, thing))
    for case, scores, _ in scored(mutants, 200):
        assert scores.turn_consistency is not None and scores.turn_consistency < 1, case
        assert scores.content_consistency in (1, None)


def broken_rules(case: Case) -> Iterator[Scene]:
    """The edit done, with the edited object showing another value than a rule in force asks for."""
    edit = case.script.edit
    cell = edit.edited_cell(case.before)
    thing = None if cell is None else case.right.cells[cell]
    if cell is None or thing is None:
        return
    for rule in case.script.rules:
        if not isinstance(rule, AttributeRule):
            continue
        attribute = rule.attribute
        old = case.before.cells[cell]
        if getattr(edit, "attribute", None) == attribute and edit.asked()[attribute]:
            continue  # the instruction itself names the value, so this would be a wrong edit
        taken = (thing.attributes()[attribute], old.attributes()[attribute] if old else None)
        for value in [word for word in WORDS[attribute] if word not in taken]:
            yield case.right.put(cell, replace(thing, **{attribute: value}))


def test_broken_rules_are_caught_by_awareness() -> None:
    """Fails where an edit that forgets a rule counts as aware, or as not following its instruction."""
    mutants = [mutant for case in cases() for mutant in drawn(case, *broken_rules(case))]
    for case, scores, later in scored(mutants, 500):
        assert scores.rule_kept == 0, case
        assert scores.global_awareness == 0, case
        assert scores.instruction_following == 1, case
        assert scores.turn_consistency == 1
        assert all(score.global_awareness == 0 for score in later)


def tinted(picture: Image, color: tuple[int, int, int]) -> Image:
    return np.rint(0.8 * picture + 0.2 * np.array(color)).astype(np.uint8)


def blurred(picture: Image) -> Image:
    return np.asarray(PILImage.fromarray(picture).filter(ImageFilter.GaussianBlur(1.5)))


def noisy(picture: Image) -> Image:
    noise = np.random.default_rng(33).normal(0, 20, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def halo(case: Case, picture: Image) -> Image:
    """A red frame of two pixels around each cell that this turn touches, or around all of them."""
    framed = picture.copy()
    for cell in case.touched - {BACKGROUND} or range(16):
        row, column = (cell // 4) * 16, (cell % 4) * 16
        inside = framed[row + 2 : row + 14, column + 2 : column + 14].copy()
        framed[row : row + 16, column : column + 16] = INK["red"]
        framed[row + 2 : row + 14, column + 2 : column + 14] = inside
    return framed


def hedged(case: Case, picture: Image) -> Image:
    """Halfway between doing the edit and not doing it."""
    return ((picture.astype(np.int64) + render(case.before, 64) + 1) // 2).astype(np.uint8)


def mixes_to_orange(case: Case) -> bool:
    """Is an object turned from red to yellow or back, so that halfway it really is orange?"""
    pairs = zip(case.before.cells, case.right.cells, strict=True)
    return any(old and new and {old.color, new.color} == {"red", "yellow"} for old, new in pairs)


TRICKS: dict[str, Callable[[Case, Image], Image]] = {
    **{f"tint {name}": lambda case, picture, ink=ink: tinted(picture, ink) for name, ink in INK.items()},
    "noise": lambda case, picture: noisy(picture),
    "halo": halo,
    "hedge": hedged,
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_are_unreadable(name: str) -> None:
    """Fails where a right edit that is drawn in a way no scene looks like is paid."""
    fair = [case for case in cases() if name != "hedge" or not mixes_to_orange(case)]
    mutants = [(case, TRICKS[name](case, render(case.right, 64))) for case in fair]
    for case, scores, later in scored(mutants, 500):
        assert scores.instruction_following == 0, case
        assert scores.global_awareness == 0
        assert all(score.global_awareness == 0 for score in later)


def test_blur_spoils_objects() -> None:
    """Fails where a blurred object is read; an empty cell or a background has nothing that could blur."""
    edited = [case for case in cases() if case.script.edit.edited_cell(case.before) is not None]
    for case, scores, _ in scored([(case, blurred(render(case.right, 64))) for case in edited], 300):
        assert scores.instruction_following == 0, case


def test_right_answers_are_not_caught() -> None:
    """Fails where right answers are caught too, exact or with the small noise of a decoder."""
    rng = np.random.default_rng(34)
    exact = [mutant for case in cases() for mutant in drawn(case, case.right)]
    small = [
        (case, np.clip(np.rint(picture + rng.normal(0, 5, picture.shape)), 0, 255).astype(np.uint8))
        for case, picture in exact
    ]
    for case, scores, later in scored(exact + small, 1000):
        for score in (scores, *later):
            assert score.instruction_following == score.global_awareness == score.turn_consistency == 1, case
            assert score.content_consistency in (1, None)
            assert score.rule_kept in (1, None)
