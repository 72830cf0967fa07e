"""MICE-Bench's scores: each formula by hand, who is asked what, failures, and whole evaluations with tiny models."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest

pytest.importorskip("openai")

from editenv.records import RecordSpec, RecordTurn
from editenv.rewards.judge_context import judge_context
from editenv.rewards.mice import READ, MiceScorer, background_weights, consistency, count, detector_agrees, iou
from editenv.rewards.similarity import Found
from editenv.types import TurnResult
from editenv.worlds.records.sentences import take_apart
from tests.chat_server import ChatServer, agrees, filled, pictures, sends, words
from tests.worlds.records.handmade import draw_pictures, records, write_lines

BEFORE, AFTER = np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 9, np.uint8)


def box(left, top, right, bottom, score=0.9):
    return Found((left, top, right, bottom), score)


def seen(**found):
    """look() over {phrase: (boxes before, boxes after)}; underscores stand for blanks."""

    def look(picture, phrase, least):
        return [one for one in found[phrase.replace(" ", "_")][picture is AFTER] if one.score > least]

    return look


HERE, THERE = box(0.1, 0.1, 0.3, 0.3), box(0.6, 0.1, 0.8, 0.3)
CLOSE = box(0.1, 0.1, 0.34, 0.3)  # centre 0.22 from the left, 0.02 beside HERE's


@pytest.mark.parametrize(
    ("sentence", "found", "agrees"),
    [
        # Added: it is found; beside something, its centre is more than 0.03 beside what that was before.
        ("Add [cup]", {"cup": ([], [HERE])}, True),
        ("Add [cup]", {"cup": ([HERE], [])}, False),
        ("Add [cup]", {"cup": ([], [box(0, 0, 1, 1, 0.29)])}, False),
        ("Add [cup] on the [right] of [pen]", {"cup": ([], [THERE]), "pen": ([HERE], [])}, True),
        ("Add [cup] on the [left] of [pen]", {"cup": ([], [THERE]), "pen": ([HERE], [])}, False),
        ("Add [cup] on the [right] of [pen]", {"cup": ([], [CLOSE]), "pen": ([HERE], [])}, False),
        ("Add [cup] on the [left] of [pen]", {"cup": ([], [HERE, THERE]), "pen": ([THERE], [])}, True),
        # Removed: it was there, and is not found at that place; boxes of the whole picture are none.
        ("Remove [cup]", {"cup": ([HERE], [])}, True),
        ("Remove [cup]", {"cup": ([HERE], [HERE])}, False),
        ("Remove [cup]", {"cup": ([], [])}, False),
        ("Remove [cup]", {"cup": ([HERE], [THERE])}, True),
        ("Remove [cup]", {"cup": ([box(0, 0, 1, 1)], [])}, False),
        ("Remove [cup]", {"cup": ([box(0.1, 0.1, 0.3, 0.3, 0.34)], [])}, False),
        # Replaced: old box and new box overlap; names lose their plural.
        ("Replace [cups] with [dishes]", {"cup": ([HERE], []), "dish": ([], [CLOSE])}, True),
        ("Replace [cups] with [dishes]", {"cup": ([HERE], []), "dish": ([], [THERE])}, False),
        # Moved: as many of both as before, and first centres on the side asked for.
        ("Move [cup] to [left] of [pen]", {"cup": ([THERE], [HERE]), "pen": ([CLOSE], [THERE])}, True),
        ("Move [cup] to [left] of [pen]", {"cup": ([HERE], [THERE]), "pen": ([CLOSE], [CLOSE])}, False),
        ("Move [cup] to [left] of [pen]", {"cup": ([HERE], [HERE, THERE]), "pen": ([THERE], [THERE])}, False),
        ("Move [cup] to [above] of [pen]", {"cup": ([], []), "pen": ([THERE], [THERE])}, False),
        # Counted: boxes that are nearly the same are one.
        ("Change the count of [cup] to [2]", {"cup": ([HERE], [HERE, HERE, THERE])}, True),
        ("Change the count of [cup] to [3]", {"cup": ([HERE], [HERE, HERE, THERE])}, False),
        ("Change the count of [cup] to [2]", {"cup": ([], [HERE, THERE])}, False),
        # Another background: what stays is found, and not everywhere.
        ("Change the background to X, keep the cup, pen unchanged", {"cup": ([], [HERE]), "pen": ([], [HERE])}, True),
        ("Change the background to X, remain the cup, pen unchanged", {"cup": ([], [HERE]), "pen": ([], [])}, False),
        ("Change the background to a beach, remain the cup unchanged", {"cup": ([], [box(0, 0, 0.95, 0.95)])}, False),
        ("Replace the text 'A' on [sign] with 'B'", {"sign": ([HERE], [])}, True),
        ("Replace the text 'A' on [sign] with 'B'", {"sign": ([], [HERE])}, False),
        ("Change the color of [cup] to [red]", {}, True),
    ],
)  # fmt: skip
def test_what_detections_say_of_each_task(sentence, found, agrees):
    known = take_apart(sentence)
    assert known is not None and detector_agrees(known, BEFORE, AFTER, seen(**found)) is agrees


def test_boxes_overlap_and_count_by_hand():
    assert iou(box(0, 0, 0.4, 0.2), box(0.2, 0, 0.6, 0.2)) == pytest.approx(0.04 / 0.12)
    assert iou(HERE, THERE) == 0 and iou(HERE, HERE) == pytest.approx(1)
    # 0.04 / 0.048 = 0.83 is one object, 0.04 / 0.05 = 0.8 are two.
    assert count([HERE, box(0.1, 0.1, 0.34, 0.3)]) == 1 and count([HERE, box(0.1, 0.1, 0.355, 0.3)]) == 2


class Encoder:
    """Class token: 1 in the first of two dimensions and the mean red; patch tokens, 2 x 2: 1 and the patch's red."""

    def tokens(self, pictures):
        red = [picture[..., 0].astype(float) for picture in pictures]
        classes = np.array([[1, one.mean()] for one in red])
        grids = [[[one[a][:, b].mean() for b in _halves(one.shape[1])] for a in _halves(one.shape[0])] for one in red]
        reds = np.array(grids)
        return classes, np.stack([np.ones_like(reds), reds], -1)


def _halves(length):
    return slice(0, length // 2), slice(length // 2, length)


def test_consistency_by_hand():
    """An object in the left upper quarter turned from red 0 to red 1; the lower half of the background too."""
    own = RecordTurn("color_alter", "Change the color of [cup] to [red]", True, ("pen",), ("pen",), ("pen", "cup"))
    spec = RecordSpec("x.png", ("paint",), (own,))
    source, after = np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 3), np.uint8)
    after[:10, :10, 0] = after[10:, :, 0] = 1
    turn = TurnResult(spec, 0, spec.message(0), source, source, after)
    places = {("pen",): box(0, 0, 0.5, 0.5), ("pen", "cup"): box(0, 0, 0.5, 0.5)}
    look = lambda picture, phrases, least: [places[tuple(phrases)]]  # noqa: E731
    found, objects, background = consistency(turn, judge_context(turn), look, Encoder())
    # Both cosines of the crop: (1, 0) with (1, 1).
    assert objects is not None and background is not None
    assert objects == pytest.approx(1 / math.sqrt(2))
    # Three patches outside: unit tokens (1, 0) x 3 before, (1, 0) and twice (1, 1) / sqrt(2) afterwards.
    mean = np.array([1 + 2 / math.sqrt(2), 2 / math.sqrt(2)])
    assert background == pytest.approx(mean[0] / np.linalg.norm(mean))
    assert found == pytest.approx((objects + background) / 2)


def test_what_had_not_to_stay_or_is_not_found_leaves_no_score():
    own = RecordTurn("color_alter", "Change the color of [cup] to [red]", False, ("pen",), ("pen",), ("pen",))
    spec = RecordSpec("x.png", ("paint",), (own,))
    turn = TurnResult(spec, 0, spec.message(0), BEFORE, BEFORE, AFTER)
    nothing = consistency(turn, judge_context(turn), lambda *_: [], Encoder())
    assert nothing == (None, None, None)
    found, objects, background = consistency(turn, judge_context(turn), lambda *_: [HERE], Encoder())
    assert found == objects and objects is not None and background is None


def test_patches_count_by_their_share_outside_of_boxes():
    # The box leaves 1, 0.6, 1 and 0.4 of four patches side by side; below a half nothing counts.
    weights = background_weights((10, 40), [box(0.25, 0, 0.35, 1), box(0.75, 0, 0.9, 1)], (1, 4))
    assert weights.tolist() == [[pytest.approx(one) for one in (1, 0.6, 1, 0)]]


class Detector:
    """Finds every phrase in the left upper quarter, but those named `gone`."""

    def __init__(self, gone=(), broken=False):
        self.gone, self.broken, self.jobs = gone, broken, []

    def detect(self, pictures, phrases, threshold):
        if self.broken:
            raise RuntimeError("out of memory")
        self.jobs += phrases
        return [[] if phrase in self.gone else [box(0, 0, 0.5, 0.5)] for phrase in phrases]


def result(task, sentence, said="do it", **more):
    own = RecordTurn(task, sentence, True, ("pen",), ("pen",), ("pen",))
    spec = RecordSpec("x.png", (said,), (own,))
    return TurnResult(spec, 0, spec.message(0), BEFORE, BEFORE, AFTER, transcript=(said,))


def scored(behave, *turns, detector=None, features=None, votes=4, **judge):
    with ChatServer(behave) as server:
        endpoint = {"base_url": server.url, "model": "m", "retries": 0}
        scorer = MiceScorer(
            None, features=features or Encoder(), detector=detector or Detector(), endpoint=endpoint, votes=votes,
            check=False, **judge,
        )  # fmt: skip
        return scorer.score(list(turns)), server.requests, scorer


def one_no(handler, request):
    handler.say(filled(request, "no" if request["seed"] == 1 else "yes"))


def test_detections_and_votes_are_put_together_by_task():
    turns = [
        result("color_alter", "Change the color of [cup] to [red]"),
        result("subject_add", "Add [cup]"),
        result("subject_add", "Add [hat]"),
        result("count_change", "Change the count of [cup] to [1]"),
        result("count_change", "Change the count of [cup] to [some]"),
        result("subject_remove", "Do away with [cup]"),
    ]
    scores, requests, scorer = scored(one_no, *turns, detector=Detector(gone=("hat",)))
    # A colour by votes; an addition by both, 0 where it is not found; counts by detections; else votes alone.
    assert [one.instruction_following for one in scores] == [0.75, 0.75, 0.0, 1.0, 0.75, 0.75]
    assert [one.detail["if_by"] for one in scores] == ["model", "both", "both", "detector", "model", "model"]
    assert all(one.global_awareness == 0.75 and one.error is None for one in scores)
    assert scores[0].content_consistency == pytest.approx(
        scores[0].detail["objects"] / 2 + scores[0].detail["background"] / 2
    )
    assert scores[3].content_consistency is not None
    assert scores[3].reward == pytest.approx(0.3 + 0.3 * scores[3].content_consistency + 0.4 * 0.75)
    # Four votes on each of six GA questions and four IF questions; none where detections decide.
    assert len(requests) == 4 * (6 + 4) and not any("<answer_1>" in words(one) for one in requests)
    assert scorer.counts() == {"if_by_detector": 1, "if_by_both": 2, "if_by_model": 3}
    assert scorer.version.startswith("mice 1 Encoder Detector, judge 1 m mice-2:")


def test_a_text_is_read_from_the_new_picture():
    def reads(handler, request):
        handler.say("It says: Tea HOUSE" if words(request) == READ else filled(request))

    right = result("text_change", "Replace the text 'INN' on [sign] with 'Tea house'")
    wrong = result("text_change", "Add text 'coffee' on the image")
    scores, requests, _ = scored(reads, right, wrong)
    assert [one.instruction_following for one in scores] == [1.0, 0.0]
    assert all(len(pictures(one)) == 1 for one in requests if words(one) == READ)


class Fails:
    def tokens(self, pictures):
        raise ValueError("no device")


@pytest.mark.parametrize(
    ("behave", "parts", "lost"),
    [
        (sends(500), {}, {"instruction_following", "global_awareness"}),
        (agrees, {"detector": Detector(broken=True)}, {"instruction_following", "content_consistency"}),
        (agrees, {"features": Fails()}, {"content_consistency"}),
    ],
)
def test_whatever_fails_leaves_none_and_says_why(behave, parts, lost):
    (found,), _, _ = scored(behave, result("subject_add", "Add [cup]"), votes=1, **parts)
    names = {"instruction_following", "content_consistency", "global_awareness"}
    assert {name for name in names if getattr(found, name) is None} == lost
    assert (
        found.reward == 0.0
        and all(name in str(found.error) for name in lost)
        and str(found.error).startswith("mice: ")
    )


def settings(models, url, votes=1):
    endpoint = {"base_url": url, "model": "m", "retries": 0}
    return {"kind": "mice", "settings": {
        "features": models[0], "detector": models[1], "endpoint": endpoint, "votes": votes}}  # fmt: skip


def test_evaluations_of_files_and_suites_and_scores_of_records(models, tmp_path):
    """The commands with tiny random models of the real classes and a server that agrees."""
    compose = pytest.importorskip("editenv.configs.compose").compose
    run_evaluation = pytest.importorskip("editenv.agents.evaluate").run_evaluation
    score_again = pytest.importorskip("editenv.agents.score").score
    draw_pictures(tmp_path)
    sessions = str(write_lines(tmp_path, records()))
    with ChatServer(agrees) as server:
        play = partial(
            compose, "evaluate", policy="noop", scorer=settings(models, server.url), filmstrip=0, num_envs=4
        )
        photographs = run_evaluation(
            play(out=str(tmp_path / "a"), sessions_file=sessions, size=32, fit="squash", save_images=True)
        )
        suite = run_evaluation(play(out=str(tmp_path / "b"), suite="mixed", sessions=2))
        again = score_again(
            compose("score", records=str(tmp_path / "a"), out=str(tmp_path / "c"), scorer=settings(models, server.url))
        )
    assert photographs.facts["unscored"]["turns"] == suite.facts["unscored"]["turns"] == 0
    assert photographs.facts["versions"]["world"] == "records 1 squash"
    assert (
        sum(photographs.facts["scorer_counts"].values()) == 7 and photographs.facts["scorer_counts"]["if_by_both"] == 3
    )
    assert again.scores == photographs.scores and again.facts["scorer_counts"] == photographs.facts["scorer_counts"]
    assert (
        json.loads((tmp_path / "a" / "summary.json").read_text())["scorer_counts"]
        == photographs.facts["scorer_counts"]
    )
    # Nothing was edited, so what random features compare is the same wherever they look.
    known = [one for line in photographs.lines + suite.lines for one in line["content_consistency"] if one is not None]
    assert known == pytest.approx([1.0] * len(known), abs=1e-5)


def test_wrong_settings_of_the_judge_are_named():
    from editenv.build import make_env

    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    parts = {"features": "f", "detector": "d", "endpoint": endpoint, "check": False}
    with pytest.raises(ValueError, match="scorer 'judge' has no setting 'vote', did you mean 'votes'"):
        make_env(scorer="mice", scorer_settings=parts | {"vote": 1})
    with pytest.raises(ValueError, match="scorer 'mice' lacks the setting 'detector'"):
        make_env(scorer="mice", scorer_settings={"features": "f", "endpoint": endpoint})
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="model folder 'f' does not exist"):
        make_env(scorer="mice", scorer_settings=parts)
