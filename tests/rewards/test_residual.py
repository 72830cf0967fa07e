"""The residual scorer by itself: right answers, hand-made scenes, what a mean square does not see."""

from types import SimpleNamespace

import numpy as np
import pytest

from editenv.rewards.exact import ExactScorer
from editenv.rewards.residual import ResidualScorer
from editenv.rewards.residual_parse import UNREAD, mean_square, near, read, shown_from_codes
from editenv.types import SPLITS, Scores, TurnResult
from editenv.worlds.studio.edit import MultiEdit
from editenv.worlds.studio.noun_phrases import Beside, Target
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import cell_pictures, render
from editenv.worlds.studio.rule import Rule
from editenv.worlds.studio.rules import (
    AttributeRule,
    AvoidLook,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    ScopedRule,
)
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import (
    BackgroundChange,
    ColorAlter,
    CountChange,
    MaterialAlter,
    PositionChange,
    SubjectAdd,
    SubjectRemove,
    SubjectReplace,
    TextChange,
    Undo,
)
from editenv.worlds.studio.world import StudioWorld
from tests.studio_play import five, play

STAR, CIRCLE, SIGN = (
    SceneObject("star", "red"),
    SceneObject("circle", "blue", "dotted"),
    SceneObject("sign", "red", text="open"),
)
START = Scene((STAR, CIRCLE, None, None), "white")
RED = AttributeRule("color", "red")


def turn(edit: object, *rules: Rule) -> StudioTurn:
    return StudioTurn("", "", edit, rules)  # type: ignore[arg-type]


def answered(start: Scene, turns: list[StudioTurn], *answers: Scene | np.ndarray) -> list[tuple]:
    """IF, CC, GA, turn consistency and rule keeping of each turn, on a grid of 2 x 2."""
    pictures = [render(one, 32) if isinstance(one, Scene) else one for one in answers]
    spec = StudioSpec("made by hand", "train", 0, 0, start, tuple(turns))
    scores = play([spec], lambda row, number, before, right: pictures[number], 2, 32, ResidualScorer)[0]
    return [five(score) for score in scores]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("suite", suite_names())
def test_right_results_get_full_marks(suite: str, split: str) -> None:
    """Fails where a right answer of a suite is not seen as one (12 sessions each)."""
    specs = [StudioWorld(suite).session(split, 51, index) for index in range(12)]
    right = play(specs, lambda row, number, before, right: render(right, 64), make=ResidualScorer)
    for score in (score for row in right for score in row):
        assert (score.instruction_following, score.global_awareness) == (1.0, 1.0)
        assert {score.content_consistency, score.turn_consistency, score.rule_kept} <= {1.0, None}
        assert score.reward == pytest.approx(1.0)


@pytest.mark.parametrize("suite", suite_names())
def test_doing_nothing_follows_no_instruction(suite: str) -> None:
    """Fails where the picture as it was counts as edited; the first turns, which nothing came before."""
    specs = [StudioWorld(suite).session("test", 52, index) for index in range(20)]
    rows = play(specs, lambda row, number, before, right: render(specs[row].scene, 64), make=ResidualScorer)
    first = [row[0] for row in rows if "leave_alone" not in row[0].detail]
    assert first and all(score.instruction_following == 0 for score in first)
    assert {score.content_consistency for row in rows for score in row} <= {1.0, None}


@pytest.mark.parametrize(
    ("edit", "right", "wrong"),
    [
        (
            SubjectAdd(2, "cross", "green"),
            {2: SceneObject("cross", "green", "dotted")},
            {2: SceneObject("cross", "blue")},
        ),
        (SubjectAdd(2, "sign", text="bus"), {2: SceneObject("sign", "blue", text="bus")}, {2: SIGN}),
        (
            SubjectAdd(2, "cross", beside=Beside("below", Target(1, "circle"))),
            {3: SceneObject("cross", "red")},
            {2: SceneObject("cross", "red")},
        ),
        (SubjectRemove(Target(0, "star")), {0: None}, {1: None}),
        (
            SubjectReplace(Target(0, "star"), "cross"),
            {0: SceneObject("cross", "blue")},
            {0: SceneObject("square", "red")},
        ),
        (ColorAlter(Target(0, "star")), {0: SceneObject("star", "blue")}, {0: STAR}),
        (
            ColorAlter(Target(0, "star"), "blue"),
            {0: SceneObject("star", "blue")},
            {0: SceneObject("star", "blue", "dotted")},
        ),
        (
            MaterialAlter(Target(1, "circle"), "plain"),
            {1: SceneObject("circle", "blue")},
            {1: SceneObject("circle", "red")},
        ),
        (PositionChange(Target(0, "star"), 3), {0: None, 3: STAR}, {3: STAR}),
        (
            PositionChange(Target(0, "star"), 3, Beside("next", Target(1, "circle"))),
            {0: None, 3: STAR},
            {0: None, 2: STAR},
        ),
        (CountChange(2, "star"), {3: SceneObject("star", "green")}, {2: SceneObject("star", "green"), 3: STAR}),
        (CountChange(2, "star", "red"), {2: SceneObject("star", "red", "dotted")}, {2: SceneObject("star", "green")}),
        (
            MultiEdit((ColorAlter(Target(0, "star"), "green"), ColorAlter(Target(1, "circle"), "green"))),
            {0: SceneObject("star", "green"), 1: SceneObject("circle", "green", "dotted")},
            {0: SceneObject("star", "green")},
        ),
    ],
)
def test_tasks_by_hand(
    edit: object, right: dict[int, SceneObject | None], wrong: dict[int, SceneObject | None]
) -> None:
    """A red star and a dotted blue circle above two empty cells: a right and a wrong answer to each task."""

    def after(contents: dict[int, SceneObject | None]) -> Scene:
        scene = START
        for cell, thing in contents.items():
            scene = scene.put(cell, thing)
        return scene

    assert answered(START, [turn(edit)], after(right))[0] == (1.0, 1.0, 1.0, 1.0, None)
    assert answered(START, [turn(edit)], after(wrong))[0][::2] == (0.0, 0.0, None)


def test_texts_and_backgrounds_by_hand() -> None:
    """A sign's new text on a sign of the same colour; a background that really changes."""
    start = Scene((SIGN, CIRCLE, None, None), "white")
    writing = turn(TextChange(Target(0, "sign"), "exit"))
    assert answered(start, [writing], start.put(0, SceneObject("sign", "red", text="exit")))[0][0] == 1.0
    assert answered(start, [writing], start.put(0, SceneObject("sign", "blue", text="exit")))[0][0] == 0.0
    assert answered(start, [turn(TextChange(Target(0, "sign"), "open"))], start)[0][0] == 0.0
    assert answered(START, [turn(BackgroundChange("mint"))], Scene(START.cells, "mint"))[0][0] == 1.0
    assert answered(START, [turn(BackgroundChange("white"))], START)[0][0] == 0.0


ADD, CROSS = SubjectAdd(2, "cross"), SceneObject("cross", "red")


@pytest.mark.parametrize(
    ("rule", "kept", "broken"),
    [
        (RED, START.put(2, CROSS), START.put(2, SceneObject("cross", "green"))),
        (
            ScopedRule("cross", "material", "dotted"),
            START.put(2, SceneObject("cross", "red", "dotted")),
            START.put(2, CROSS),
        ),
        (AvoidLook("color", "blue"), START.put(2, CROSS), START.put(2, SceneObject("cross", "blue"))),
        (LimitAlike("color"), START.put(2, SceneObject("cross", "green")), START.put(2, CROSS)),
    ],
)
def test_rules_about_looks_by_hand(rule: Rule, kept: Scene, broken: Scene) -> None:
    """A cross is added: its look keeps the rule or breaks it, and following does not mind."""
    assert answered(START, [turn(ADD, rule)], kept)[0] == (1.0, 1.0, 1.0, 1.0, 1.0)
    assert answered(START, [turn(ADD, rule)], broken)[0] == (1.0, 1.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("rule", "edit", "done"),
    [
        (Protect(Target(0, "star")), SubjectRemove(Target(0, "star")), START.put(0, None)),
        (KeepEmpty("bottom row"), ADD, START.put(2, CROSS)),
        (LimitCount(2), ADD, START.put(2, CROSS)),
        (LimitAlike("shape"), SubjectAdd(2, "star", "green"), START.put(2, SceneObject("star", "green"))),
        (AvoidLook("color", "blue"), ColorAlter(Target(0, "star"), "blue"), START.put(0, SceneObject("star", "blue"))),
    ],
)
def test_forbidden_instructions_by_hand(rule: Rule, edit: object, done: Scene) -> None:
    """Leaving the picture alone is right, doing what was asked is not, and neither is anything else."""
    assert answered(START, [turn(edit, rule)], START)[0] == (1.0, 1.0, 1.0, 1.0, 1.0)
    followed, consistency, aware, turn_consistency, is_kept = answered(START, [turn(edit, rule)], done)[0]
    assert (followed, aware, is_kept) == (0.0, 0.0, 0.0)
    assert consistency == turn_consistency == pytest.approx(4 / 5)
    assert answered(START, [turn(edit, rule)], START.put(3, STAR))[0][0] == 0.0


def test_a_prohibition_nobody_spoke_of_costs_awareness_only() -> None:
    """The protected star is lost while the circle goes: the rule asked nothing, yet was broken."""
    (scores,) = answered(
        START, [turn(SubjectRemove(Target(1)), Protect(Target(0, "star")))], Scene((None,) * 4, "white")
    )
    assert scores == (1.0, pytest.approx(3 / 4), 0.0, pytest.approx(3 / 4), None)


def test_undo_by_hand() -> None:
    """What the clumsy turn broke has to come back too; a half restored picture licenses nothing."""
    turns = [turn(SubjectRemove(Target(0, "star"))), turn(Undo(SubjectAdd(0, "star", "red", "plain")))]
    empty = Scene((None,) * 4, "white")
    assert answered(START, turns, empty, START)[1][:4] == (1.0, 1.0, 1.0, 1.0)
    assert answered(START, turns, empty, empty.put(0, STAR))[1][:4] == (0.0, pytest.approx(3 / 4), 0.0, 1.0)
    assert answered(START, turns, START, START)[1][0] == 1.0


def test_no_crop_is_near_to_two_pictures() -> None:
    """Fails where a tolerance is so wide that one crop could show two things, at any side of a cell."""
    for cell in (8, 12, 16, 21, 32):
        for pictures in cell_pictures(cell):
            flat = pictures.reshape(len(pictures), -1).astype(int)
            closest = [((flat[:code] - flat[code]) ** 2).mean(1).min() for code in range(1, len(flat))]
            assert min(closest) > 4 * mean_square(cell)


def test_signs_of_noise_are_forgiven_and_drawings_are_not() -> None:
    """On a gray cell: even noise passes; one bright pixel, a faint line, a faint blob and a tint do not."""
    bare = cell_pictures(16)[1, 0]
    noise = np.random.default_rng(1).normal(0, 5, (200, 16, 16, 3))
    ground, empty = np.ones(200, int), np.zeros(200, int)
    assert near(np.rint(bare + noise).astype(np.uint8), ground, empty).all()
    for rows, columns, more in (
        (slice(8, 9), slice(8, 9), 38),
        (slice(8, 10), slice(2, 14), 24),
        (slice(6, 9), slice(6, 9), 25),
        (slice(0, 16), slice(0, 16), 8),
    ):
        crop = bare.copy()
        crop[rows, columns] += np.uint8(more)
        assert not near(crop[None], ground[:1], empty[:1]).item(), more


def test_a_drawing_outside_of_all_cells_is_seen() -> None:
    """Five cells of twelve pixels leave two pixels at each side of 64: they are background too."""
    scene = Scene((STAR, *[None] * 24), "white")
    picture = render(scene, 64).copy()
    picture[:2] = (214, 40, 47)
    expected = shown_from_codes(scene.codes())
    assert read([picture], 5, [expected])[0].ground == UNREAD


def test_blends_of_two_pictures_are_none_of_them() -> None:
    """Nine parts to one pass for the first picture, three to two do not, however alike the two are.

    The mean square alone would let the second mixture of these two, a dotted purple circle and cross on gray,
    pass.
    """
    one, other = (SceneObject(shape, "purple", "dotted") for shape in ("circle", "cross"))
    pictures = cell_pictures(16)[1]
    seen = []
    for share in (0.1, 0.4):
        mixed = np.rint((1 - share) * pictures[one.code] + share * pictures[other.code]).astype(np.uint8)
        seen.append(near(mixed[None], np.array([1]), np.array([one.code])).item())
    assert seen == [True, False]
    scene = Scene((one, None, None, None), "gray")
    picture = render(scene, 32).copy()
    picture[:16, :16] = mixed
    assert ((mixed.astype(int) - pictures[one.code]) ** 2).mean() < mean_square(16)
    assert parse([picture], 2)[0].cells[0] is UNREADABLE
    assert read([picture], 2, [shown_from_codes(scene.codes())])[0].cells[0] == UNREAD


def test_scores_of_another_scorer_are_not_believed() -> None:
    """Fails where what `exact` read of the picture before is taken over."""
    spec = StudioSpec(
        "by hand", "train", 0, 0, START, (turn(SubjectRemove(Target(0))), turn(SubjectRemove(Target(1))))
    )
    pictures = [render(scene, 32) for scene in (START, START.put(0, None), Scene((None,) * 4, "white"))]
    lie = Scores(global_awareness=1.0, detail={"scene": START.codes(), "touched": [0, 1, 2, 3]})
    outcome = TurnResult(spec, 1, spec.message(1), *pictures, history=(lie,), earlier=(pictures[1],))
    (scores,) = ResidualScorer(SimpleNamespace(grid=2)).score([outcome])
    assert five(scores)[0] == five(scores)[3] == 1.0
    assert scores.content_consistency == pytest.approx(3 / 4)


def test_scores_do_not_depend_on_the_batch() -> None:
    """Fails where a turn's scores change with its neighbours."""
    specs = [StudioWorld("mixed").session("train", 55, index) for index in range(12)]
    noise = np.random.default_rng(55).normal(0, 7, (len(specs), 64, 64, 3))

    def answer(row: int, number: int, before: Scene, right: Scene) -> np.ndarray:
        return np.clip(np.rint(render(right, 64) + noise[row]), 0, 255).astype(np.uint8)

    together = play(specs, answer, make=ResidualScorer)
    for row, spec in enumerate(specs):
        alone = play(
            [spec], lambda _, number, before, right, row=row: answer(row, number, before, right), make=ResidualScorer
        )
        assert alone == [together[row]]
    assert ResidualScorer(SimpleNamespace(grid=4)).score([]) == []


@pytest.mark.parametrize("picture", [np.zeros((32, 31, 3), np.uint8), np.zeros((32, 32, 3))])
def test_pictures_of_another_form_are_refused(picture: np.ndarray) -> None:
    """Fails where the message does not say what came."""
    with pytest.raises(ValueError, match=r"picture 0 is .*expected uint8"):
        read([picture], 2, [shown_from_codes(START.codes())])


def test_both_scorers_have_names_of_their_own() -> None:
    """Fails where records could not tell who judged."""
    assert ResidualScorer.version != ExactScorer.version
