"""Consistency by looks: what is compared with what, with fakes; and both models, tiny and random."""

from __future__ import annotations

import numpy as np
import pytest

from editenv.build import make_env
from editenv.records import RecordSpec, RecordTurn
from editenv.rewards.similarity import GREY, SimilarityScorer
from editenv.types import Scores, TurnResult

COLORS = {"cup": (200, 0, 0), "pen": (0, 200, 0), "cat": (0, 0, 200)}
FLOOR = (90, 90, 90)


class Finder:
    """Finds the object of a phrase's colour."""

    def __init__(self):
        self.jobs = []

    def find(self, pictures, phrases):
        self.jobs += phrases
        return [self._one(*pair) for pair in zip(pictures, phrases, strict=True)]

    def _one(self, picture, phrase):
        channel = list(COLORS).index(phrase)
        rows, columns = np.nonzero(picture[..., channel] > 150)
        if len(rows) == 0:
            return None
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


class MeanColor:
    """A picture's mean colour as a direction."""

    def __init__(self):
        self.shown = []

    def embed(self, pictures):
        self.shown += pictures
        means = np.stack([picture.reshape(-1, 3).mean(0) for picture in pictures])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def scene(floor=FLOOR, **places):
    """A 20 x 20 picture with an object of 4 x 4 at each (left, top), in its colour or another one."""
    picture = np.full((20, 20, 3), floor, np.uint8)
    for name, place in places.items():
        left, top, *color = place
        picture[top : top + 4, left : left + 4] = color[0] if color else COLORS[name]
    return picture


def turn(source, after, unchanged=("cup", "pen"), background=True, objects=("cup", "pen", "cat")):
    own = RecordTurn("color_alter", "Change the color of [cat] to [red]", background, unchanged, objects, objects)
    spec = RecordSpec("x.png", ("paint it",), (own,))
    return TurnResult(spec, 0, spec.message(0), source, source, after)


@pytest.fixture
def scorer():
    return SimilarityScorer(None, features=MeanColor(), detector=Finder())


def only(scorer, *turns):
    scores = scorer.score(list(turns))
    return scores[0] if len(turns) == 1 else scores


def test_what_stays_scores_one_wherever_the_edited_object_goes(scorer):
    source = scene(cup=(0, 0), pen=(8, 0), cat=(0, 10))
    score = only(scorer, turn(source, scene(cup=(0, 0), pen=(8, 0), cat=(12, 12))))
    assert score.content_consistency == pytest.approx(1.0)
    assert score.detail == {"objects": {"cup": 1.0, "pen": 1.0}, "background": pytest.approx(1.0)}
    assert score.reward == pytest.approx(1.0) and score.instruction_following is None


def test_a_changed_object_and_a_lost_one_cost_their_share(scorer):
    source = scene(cup=(0, 0), pen=(8, 0))
    paler = (200, 200, 0)  # Half way between cup and pen: cosine with the cup's red is 1 / sqrt(2).
    score = only(scorer, turn(source, scene(cup=(0, 0, paler)), unchanged=("cup",), objects=("cup",)))
    assert score.detail["objects"]["cup"] == pytest.approx(2**-0.5)
    gone = only(scorer, turn(source, scene(cup=(0, 0))))
    assert gone.detail["objects"] == {"cup": pytest.approx(1.0), "pen": 0.0}
    assert gone.content_consistency == pytest.approx((0.5 + 1.0) / 2)


def test_an_object_that_the_source_does_not_show_is_left_out(scorer):
    source = scene(cup=(0, 0))
    score = only(scorer, turn(source, source))
    assert score.detail["objects"] == {"cup": pytest.approx(1.0)}


def test_the_background_is_compared_with_all_objects_covered_in_both_pictures(scorer):
    source, after = scene(cup=(0, 0), cat=(8, 8)), scene(cup=(4, 12), cat=(8, 8))
    only(scorer, turn(source, after, unchanged=()))
    first, second = scorer.features.shown
    for shown in (first, second):
        assert (shown[0:4, 0:4] == GREY).all() and (shown[12:16, 4:8] == GREY).all()
        assert (shown[8:12, 8:12] == GREY).all()
    assert np.array_equal(first, second) and tuple(first[19, 19]) == FLOOR


def test_another_background_is_seen(scorer):
    source = scene(cup=(0, 0))
    score = only(scorer, turn(source, scene((90, 0, 0), cup=(0, 0))))
    assert score.detail["objects"]["cup"] == pytest.approx(1.0)
    assert 0.5 < score.detail["background"] < 0.7  # Grey against red is 1 / sqrt(3), less the grey box.


def test_where_nothing_had_to_stay_there_is_no_score(scorer):
    source = scene(cup=(0, 0))
    score = only(scorer, turn(source, source, unchanged=(), background=False))
    assert score == Scores(detail={"objects": {}, "background": None})


def test_many_turns_are_scored_as_each_alone_and_nothing_is_looked_for_twice(scorer):
    source = scene(cup=(0, 0), pen=(8, 0))
    turns = [turn(source, scene(cup=(0, 0))), turn(source, source, unchanged=()), turn(source, scene((9, 9, 9)))]
    together = only(scorer, *turns)
    assert len(scorer.detector.jobs) == 3 * 3  # Three phrases in each of three pictures.
    assert together == [only(scorer, one) for one in turns]


def pictures(count, shape=(24, 40, 3)):
    return list(np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8))


def test_features_are_directions_that_do_not_depend_on_the_batch(models):
    from editenv.rewards.similarity import DinoEncoder

    shown = [*pictures(3), *pictures(2, (7, 5, 3))]
    together = DinoEncoder(models[0], batch=4).embed(shown)
    alone = np.concatenate([DinoEncoder(models[0]).embed([picture]) for picture in shown])
    assert together.shape == (5, 16) and np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.allclose(together, alone, atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-3)


def test_boxes_lie_in_the_picture_and_do_not_depend_on_the_batch(models):
    from editenv.rewards.similarity import GroundingDinoDetector

    shown, phrases = pictures(3), ["red cup", "Wooden table.", "cup"]
    detector = GroundingDinoDetector(models[1], threshold=0.0, batch=2)
    together = detector.find(shown, phrases)
    assert together == [detector.find([one], [phrase])[0] for one, phrase in zip(shown, phrases, strict=True)]
    for found in together:
        assert found is not None
        left, top, right, bottom = found
        assert 0 <= left < right <= 40 and 0 <= top < bottom <= 24
    assert GroundingDinoDetector(models[1], threshold=1.0).find(shown, phrases) == [None] * 3


def test_the_models_own_processors_prepare_pictures(models):
    """A red picture by hand: rescaled, less the mean, over the deviation that the folder says."""
    from editenv.rewards.similarity import DinoEncoder, GroundingDinoDetector

    red = np.full((50, 70, 3), (255, 0, 0), np.uint8)
    encoder, detector = DinoEncoder(models[0]), GroundingDinoDetector(models[1])
    pixels = encoder._images(images=[red], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels[0, :, 5, 5].tolist() == pytest.approx([(1 - 0.5) / 0.5, -0.5 / 0.25, -0.5 / 0.1])
    assert detector._images(images=[red], return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 44)


def test_patch_tokens_are_those_of_the_grid_without_registers(models):
    from editenv.rewards.similarity import DinoEncoder

    encoder = DinoEncoder(models[0])
    classes, patches = encoder.tokens(pictures(2))
    (output, shape), *_ = encoder._outputs(pictures(2))
    assert classes.shape == (2, 16) and patches.shape == (2, 4, 4, 16) and shape == (32, 32)
    assert (
        np.allclose(patches[1, 0, 0], output.last_hidden_state[1, 1 + 4]) and output.last_hidden_state.shape[1] == 21
    )


def test_an_environment_plays_with_both_models(models, tmp_path):
    from tests.worlds.records.handmade import SINGLE, draw_pictures, write_lines

    draw_pictures(tmp_path, {SINGLE["image"]: (32, 32)})
    settings = {"features": models[0], "detector": models[1], "threshold": 0.0}
    env = make_env(sessions_file=str(write_lines(tmp_path, [SINGLE])), scorer="similarity", scorer_settings=settings)
    seen, info = env.reset(seed=0)
    assert info["versions"]["scorer"].startswith("similarity 2 dinov3")
    scores = env.step({"image": seen["image"], "intent": ""})[4]["scores"]
    assert scores.content_consistency == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "scorer 'similarity' lacks the setting 'features'"),
        ({"features": "/no/folder", "detector": "x"}, "model folder '/no/folder' does not exist"),
        ({"features": "x", "detector": "x", "threshold": 7}, "threshold is 7"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, message):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=message):
        make_env(scorer="similarity", scorer_settings=settings)


def test_a_folder_without_a_model_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="cannot be used"):
        make_env(scorer="similarity", scorer_settings={"features": str(tmp_path), "detector": str(tmp_path)})
