"""What a base is taught: right answers, and exactly the label noise that is asked for."""

from itertools import islice

import numpy as np
import pytest
import torch

from editenv.agents.pretrain.data import LatentTable, edit_samples, is_right, noisy_intent, text_samples, wrong_result
from editenv.agents.unified.policy import SHIPPED, load_autoencoder
from editenv.configs.schema import DataMixture
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rule import right_result
from editenv.worlds.studio.world import StudioWorld
from tests.studio_play import play

GRID = 4


def specs(suite: str = "mixed", count: int = 60):
    world = StudioWorld(suite)
    return [world.session("train", 0, number) for number in range(count)]


def turns(suite: str = "mixed", count: int = 60):
    """Each turn with the scene before it and the one before that turn's statement of rules."""
    for spec in specs(suite, count):
        scene, earlier = spec.scene, ()
        for turn in spec.turns:
            yield turn, earlier, scene
            scene, earlier = right_result(turn.edit, turn.rules, scene), turn.rules


def taught(mixture: DataMixture, count: int = 300, seed: int = 0):
    return list(islice(text_samples(mixture, seed, GRID), count))


def test_nothing_noisy_is_the_right_intent():
    whole = taught(DataMixture(suites=["mixed"]), 180)
    said = [(spec.turns[k].intent) for spec in specs(count=60) for k in range(3)]
    assert [sample.intent for sample in whole] == said
    assert [len(sample.transcript) for sample in whole] == [1, 2, 3] * 60


def test_keep_rule_0_forgets_earlier_rules_and_keeps_those_of_the_same_turn():
    samples = iter(taught(DataMixture(suites=["mixed"], keep_rule=0.0), 180))
    forgotten = stated = 0
    for turn, earlier, _ in turns():
        answer = next(samples).intent
        if turn.rules and turn.rules == earlier:
            assert answer == canonical_intent(turn.edit, (), GRID)
            forgotten += answer != turn.intent
        else:
            assert answer == turn.intent
            stated += answer != canonical_intent(turn.edit, (), GRID)
    assert forgotten > 10 and stated > 10, "both kinds occur"


def test_resolve_reference_0_leaves_it_in_place_of_the_object():
    samples = iter(taught(DataMixture(suites=["mice-cu"], resolve_reference=0.0), 180))
    left = 0
    for turn, _, _ in turns("mice-cu"):
        answer = next(samples).intent
        target = getattr(turn.edit, "target", None)
        if turn.reference in ("it", "just_added") and target is not None:
            assert answer == turn.intent.replace(target.words(GRID), "it")
            assert " it" in answer and target.words(GRID) not in answer
            left += 1
        else:
            assert answer == turn.intent
    assert left > 20


@pytest.mark.parametrize("keep", [0.35, 0.8])
def test_the_share_of_answers_that_keep_a_rule_is_as_asked(keep):
    samples = taught(DataMixture(suites=["mice-cm"], keep_rule=keep), 900)
    world = StudioWorld("mice-cm")
    turns_ = [turn for number in range(300) for turn in world.session("train", 0, number).turns]
    apart = [
        (sample.intent == turn.intent)
        for sample, turn in zip(samples, turns_, strict=True)
        if len(sample.transcript) > 1 and turn.intent != canonical_intent(turn.edit, (), GRID)
    ]
    assert np.mean(apart) == pytest.approx(keep, abs=4 * (keep * (1 - keep) / len(apart)) ** 0.5)


def test_wrong_images_1_teaches_only_wrong_results_as_the_scorer_sees_them():
    """Judged by the exact scorer from pictures of the first turn, before which nothing went wrong."""
    world = StudioWorld("mixed")
    samples = edit_samples(DataMixture(suites=["mixed"], wrong_images=1.0), 0, GRID)
    for number in range(60):
        spec = world.session("train", 0, number)
        shown = [render(next(samples).after, 64) for _ in range(3)]
        ((first, *_),) = play([spec], lambda _, turn, *__, shown=shown: shown[turn])
        assert first.global_awareness * first.turn_consistency < 1


@pytest.mark.parametrize("suite", ["mixed", "mice-cm", "mice-cu"])
def test_whatever_is_drawn_a_spoilt_result_is_wrong_and_the_right_one_is_right(suite):
    for number, (turn, _, scene) in enumerate(turns(suite, 100)):
        right = right_result(turn.edit, turn.rules, scene)
        assert is_right(turn, scene, right)
        assert not is_right(turn, scene, wrong_result(turn, scene, right, np.random.default_rng(number)))


def test_nothing_spoilt_teaches_the_right_results_in_order():
    samples = edit_samples(DataMixture(suites=["mixed"]), 0, GRID)
    for turn, _, scene in turns():
        sample = next(samples)
        assert (sample.before, sample.intent) == (scene, turn.intent)
        assert sample.after == right_result(turn.edit, turn.rules, scene)


def test_whole_sessions_bounds_the_number_of_different_sessions():
    few = taught(DataMixture(whole_sessions=7), 7 * 3 * 4)
    assert len({sample.transcript for sample in few if len(sample.transcript) == 3}) == 7
    assert few[: 7 * 3] == few[7 * 3 : 14 * 3]


def test_without_whole_sessions_every_transcript_has_one_instruction():
    assert {len(sample.transcript) for sample in taught(DataMixture(whole_session_share=0.0))} == {1}


def test_seeds_reproduce_and_differ():
    mixture = DataMixture(whole_session_share=0.5, keep_rule=0.5, resolve_reference=0.5, wrong_images=0.5)
    assert taught(mixture) == taught(mixture) != taught(mixture, seed=1)
    one, two, other = (list(islice(edit_samples(mixture, seed, GRID), 50)) for seed in (0, 0, 1))
    assert one == two != other


def test_the_table_of_latents_equals_encoding_pictures():
    autoencoder = load_autoencoder(SHIPPED / "autoencoder")
    scenes = [spec.scene for spec in specs(count=8)]
    pictures = torch.from_numpy(np.stack([render(scene, 64) for scene in scenes]))
    with torch.no_grad():
        expected = autoencoder.encode(pictures)
    found = LatentTable(autoencoder, 16)(scenes)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_forgetting_touches_neither_turns_without_rules_nor_without_references():
    for turn, _, _ in turns():
        if not turn.rules and turn.reference is None:
            assert noisy_intent(turn, GRID, rules=False, reference=False) == turn.intent
