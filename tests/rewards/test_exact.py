"""Exact scores: the oracle gets all of them, those who do nothing or anything get none."""

from types import SimpleNamespace

import numpy as np
import pytest

from editenv.rewards.exact import ExactScorer
from editenv.rewards.weights import RewardWeights
from editenv.types import SPLITS, Scores, TurnResult
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rules import AttributeRule
from editenv.worlds.studio.scene import Scene, SceneObject, initial_codes, scene_from_codes
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import BackgroundChange, ColorAlter, PositionChange, SubjectAdd, SubjectRemove, Undo
from editenv.worlds.studio.world import StudioWorld
from tests.studio_play import five, play

STAR, CIRCLE = SceneObject("star", "red"), SceneObject("circle", "blue", "dotted")
START = Scene((STAR, CIRCLE, None, None), "white")
RED, DOTTED = AttributeRule("color", "red"), AttributeRule("material", "dotted")


def session(*turns: StudioTurn) -> StudioSpec:
    return StudioSpec("made by hand", "train", 0, 0, START, turns)


def turn(edit: object, *rules: AttributeRule) -> StudioTurn:
    return StudioTurn("", "", edit, rules)  # type: ignore[arg-type]


def answered(spec: StudioSpec, *answers: Scene) -> list[Scores]:
    """Scores of a session of hand-made scenes on a grid of 2 x 2."""
    return play([spec], lambda row, number, before, right: render(answers[number], 32), grid=2, size=32)[0]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("suite", suite_names())
def test_right_results_get_full_marks(suite: str, split: str) -> None:
    """Fails where a right answer is not seen as one, or where a session has none (300 sessions each)."""
    world = StudioWorld(suite)
    specs = [world.session(split, 21, index) for index in range(300)]
    for scores in play(specs, lambda row, number, before, right: render(right, 64)):
        for score in scores:
            assert (score.instruction_following, score.global_awareness) == (1.0, 1.0)
            assert {score.content_consistency, score.turn_consistency} <= {1.0, None}
            assert score.rule_kept in (1.0, None)
            assert score.reward == pytest.approx(1.0)


@pytest.mark.parametrize("suite", suite_names())
def test_doing_nothing_follows_no_instruction(suite: str) -> None:
    """Fails where the picture as it was counts as edited (100 sessions).

    Later turns may ask for what an undone turn would have changed ("make it dotted", then "make it plain").
    """
    world = StudioWorld(suite)
    specs = [world.session("test", 22, index) for index in range(100)]
    scores = play(specs, lambda row, number, before, right: render(specs[row].scene, 64))
    asked = [[score for score in row if "leave_alone" not in score.detail] for row in scores]
    assert all(row[0].instruction_following == 0 for row in asked)
    assert np.mean([score.instruction_following for row in asked for score in row]) <= 0.02
    assert {score.content_consistency for row in scores for score in row} <= {1.0, None}
    assert {score.turn_consistency for row in scores for score in row} <= {1.0, None}


@pytest.mark.parametrize("suite", suite_names())
def test_noise_gets_nothing(suite: str) -> None:
    """Fails where the parser finds something in noise (100 sessions)."""
    world = StudioWorld(suite)
    rng = np.random.default_rng(23)
    specs = [world.session("test", 23, index) for index in range(100)]
    noise = rng.integers(0, 256, (64, 64, 64, 3)).astype(np.uint8)
    scores = play(specs, lambda row, number, before, right: noise[rng.integers(len(noise))])
    for score in (score for row in scores for score in row):
        assert (score.instruction_following, score.global_awareness) == (0.0, 0.0)
        assert {score.content_consistency, score.turn_consistency, score.rule_kept} <= {0.0, None}
        assert score.reward == 0.0


def test_random_scenes_follow_what_chance_allows() -> None:
    """Fails where a task is more easily met by a scene drawn blindly than counting says (1,500 first turns).

    An object is gone wherever a random scene leaves its cell empty (12.5 of 16 cells), and a background is
    the one asked for in 1 case of 5. Where fewer of a kind are wanted, a scene with one of them somewhere and
    none in the old cells will do (one object of a shape: in a third of scenes of 3.5 objects; most counts ask
    for more, or for looks too). The others need a certain object in a certain place. Awareness of all three
    turns is out of reach.
    """
    world = StudioWorld("mixed")
    draws = Rng((24,))
    scenes = [scene_from_codes(initial_codes(draws, 4, (2, 5))) for _ in range(500)]
    specs = [world.session("test", 24, index) for index in range(1500)]
    scores = play(specs, lambda row, number, before, right: render(draws.pick(scenes), 64))
    followed: dict[str, list[float | None]] = {}
    for spec, row in zip(specs, scores, strict=True):
        followed.setdefault(spec.turns[0].edit.task, []).append(row[0].instruction_following)
    share = {task: np.mean(np.array(values, float)) for task, values in followed.items()}
    assert share.pop("subject_remove") == pytest.approx(12.5 / 16, abs=0.08)
    assert share.pop("background_change") == pytest.approx(1 / 5, abs=0.12)
    assert share.pop("count_change") <= 0.1
    assert max(share.values()) <= 0.03
    assert np.mean([row[-1].global_awareness for row in scores]) <= 0.005


def test_forbidden_instructions_pay_for_leaving_alone_only() -> None:
    """Fails where doing what a rule forbids, or doing anything else in such a turn, counts as followed."""
    specs = [StudioWorld("protect").session("test", 26, index) for index in range(60)]
    right = play(specs, lambda row, number, before, right: render(right, 64))
    alone = [[bool(score.detail.get("leave_alone")) for score in row] for row in right]
    assert sum(map(sum, alone)) > 30

    def done(row: int, number: int, before: Scene, right: Scene) -> np.ndarray:
        return render(specs[row].turns[number].edit.apply(before) if alone[row][number] else right, 64)

    for row, scores in enumerate(play(specs, done)):
        first = alone[row].index(True) if any(alone[row]) else len(scores)
        assert [score.global_awareness for score in scores] == [float(n < first) for n in range(len(scores))]
        if first < len(scores):
            assert five(scores[first])[0] == 0.0
            assert five(scores[first])[3:] == (pytest.approx(scores[first].turn_consistency), 0.0)
            assert scores[first].turn_consistency < 1.0
    for row, scores in enumerate(right):
        left = [score for score, is_alone in zip(scores, alone[row], strict=True) if is_alone]
        assert all(score.rule_kept == score.turn_consistency == 1.0 for score in left)


def test_undo_by_hand() -> None:
    """The star goes and the circle with it; going back restores both, which the source and the turn confirm.

    What the clumsy turn broke outside of its edit is broken again by an undo that restores the star alone.
    """
    spec = session(turn(SubjectRemove(Target(0, "star"))), turn(Undo(SubjectAdd(0, "star", "red", "plain"))))
    empty = Scene((None,) * 4, "white")
    _, back = answered(spec, empty, START)
    assert five(back)[:4] == (1.0, 1.0, 1.0, 1.0)
    _, half = answered(spec, empty, empty.put(0, STAR))
    assert five(half)[:4] == (0.0, pytest.approx(3 / 4), 0.0, 1.0)
    assert half.detail["touched"] == [0]
    first, nothing = answered(spec, START, START)
    assert (first.instruction_following, nothing.instruction_following) == (0.0, 1.0)
    assert nothing.detail["leave_alone"] and nothing.global_awareness == 0.0


def test_scores_by_hand() -> None:
    """Two turns on a grid of 2 x 2, five elements: the scores counted on paper.

    Turn 1 "move the star to row 2 column 1" is done, but the circle turns green: outside of the two cells lie
    the circle, row 2 column 2 and the background, of which two are kept. Turn 2 "remove the star" is done and
    the circle is blue again, which only the comparison with turn 1 shows.
    """
    spec = session(turn(PositionChange(Target(0, "star"), 2)), turn(SubjectRemove(Target(2, "star"))))
    moved = START.put(0, None).put(2, STAR).put(1, SceneObject("circle", "green", "dotted"))
    removed = START.put(0, None)
    first, second = answered(spec, moved, removed)
    assert five(first) == (1.0, pytest.approx(2 / 3), 1.0, pytest.approx(2 / 3), None)
    # CC: circle, row 2 column 2 and background as in the source (row 1 column 1 was touched in turn 1).
    # Turn consistency: row 1 column 1, circle, row 2 column 2, background, of which the circle changed.
    assert five(second) == (1.0, 1.0, 1.0, pytest.approx(3 / 4), None)
    assert first.detail == {"scene": moved.codes(), "touched": [0, 2]}
    assert first.reward == pytest.approx(0.3 + 0.3 * 2 / 3 + 0.4)


def test_a_broken_rule_costs_awareness_not_following() -> None:
    """A cross of another colour than the rule's is a cross, but not aware of the rule."""
    spec = session(turn(SubjectAdd(2, "cross", material="plain"), RED))
    (scores,) = answered(spec, START.put(2, SceneObject("cross", "green")))
    assert five(scores) == (1.0, 1.0, 0.0, 1.0, 0.0)


def test_a_rule_covers_the_edited_object_only() -> None:
    """Painting everything else red keeps no rule, and costs consistency."""
    spec = session(turn(SubjectAdd(2, "cross", material="plain"), RED))
    (scores,) = answered(
        spec, START.put(2, SceneObject("cross", "green")).put(1, SceneObject("circle", "red", "dotted"))
    )
    assert five(scores) == (1.0, pytest.approx(3 / 4), 0.0, pytest.approx(3 / 4), 0.0)


def test_both_rules_must_be_kept() -> None:
    """Fails where the last rule alone is looked at."""
    spec = session(turn(PositionChange(Target(1, "circle"), 3), RED, DOTTED))
    gone = START.put(1, None)
    assert answered(spec, gone.put(3, SceneObject("circle", "red", "dotted")))[0].rule_kept == 1.0
    assert answered(spec, gone.put(3, SceneObject("circle", "red", "plain")))[0].rule_kept == 0.0
    assert answered(spec, gone.put(3, SceneObject("circle", "blue", "dotted")))[0].rule_kept == 0.0


def test_a_failure_stays_on_the_record() -> None:
    """GA never comes back after a failed turn; IF and the rule are judged afresh."""
    spec = session(turn(ColorAlter(Target(0, "star"), "green")), turn(SubjectRemove(Target(1, "circle"))))
    first, second = answered(spec, START, START.put(1, None))
    assert five(first) == (0.0, 1.0, 0.0, 1.0, None)
    assert five(second) == (1.0, 1.0, 0.0, 1.0, None)


def test_consistency_does_not_apply_where_everything_was_touched() -> None:
    """Four touched cells and the background leave nothing to compare: None, not 0 and not 1."""
    spec = session(
        turn(PositionChange(Target(0, "star"), 2)),
        turn(PositionChange(Target(1, "circle"), 3)),
        turn(BackgroundChange("black")),
    )
    moved = START.put(0, None).put(2, STAR)
    both = moved.put(1, None).put(3, CIRCLE)
    last = answered(spec, moved, both, Scene(both.cells, "black"))[-1]
    assert last.content_consistency is None
    assert last.turn_consistency == 1.0
    assert last.reward == pytest.approx(1.0)


def test_unreadable_is_never_kept() -> None:
    """Noise twice: what could not be read before is not "as before", so consistency is 0 in both turns."""
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    spec = session(turn(SubjectRemove(Target(0, "star"))), turn(SubjectRemove(Target(1, "circle"))))
    for scores in play([spec], lambda row, number, before, right: noise, grid=2, size=32)[0]:
        assert five(scores)[:4] == (0.0, 0.0, 0.0, 0.0)


def test_the_picture_before_is_read_where_no_scores_tell_of_it() -> None:
    """Fails where a scorer whose history another judge wrote goes by the source picture."""
    spec = session(turn(PositionChange(Target(0, "star"), 2)), turn(SubjectRemove(Target(2, "star"))))
    moved = START.put(0, None).put(2, STAR)
    pictures = [render(scene, 32) for scene in (START, moved, START.put(0, None))]
    outcome = TurnResult(spec, 1, spec.message(1), *pictures, history=(Scores(global_awareness=1.0),))
    (scores,) = ExactScorer(SimpleNamespace(grid=2)).score([outcome])
    assert five(scores)[0] == 1.0
    assert five(scores)[3] == 1.0


def test_scores_do_not_depend_on_the_batch() -> None:
    """Fails where a turn's scores change with its neighbours."""
    world = StudioWorld("mixed")
    specs = [world.session("train", 25, index) for index in range(12)]
    rng = np.random.default_rng(25)
    noise = rng.normal(0, 7, (len(specs), 64, 64, 3))

    def answer(row: int, number: int, before: Scene, right: Scene) -> np.ndarray:
        return np.clip(np.rint(render(right, 64) + noise[row]), 0, 255).astype(np.uint8)

    together = play(specs, answer)
    alone = [
        play([spec], lambda _, number, before, right, row=row: answer(row, number, before, right))[0]
        for row, spec in enumerate(specs)
    ]
    assert together == alone


def test_weights_pay() -> None:
    """Fails where the scorer pays by other weights than its own."""
    spec = session(turn(SubjectAdd(2, "cross", material="plain"), RED))
    after = render(START.put(2, SceneObject("cross", "green")), 32)
    outcome = TurnResult(spec, 0, spec.message(0), render(START, 32), render(START, 32), after)
    scorer = ExactScorer(SimpleNamespace(grid=2), RewardWeights(0.0, 0.0, 0.0, 1.0, 3.0))
    assert scorer.score([outcome])[0].reward == pytest.approx(1.0)
    assert scorer.score([]) == []
