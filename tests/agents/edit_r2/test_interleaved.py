"""Interleaved contexts and guidance: the same numbers in rollout and training; earlier turns that matter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from editenv.agents.edit_r2.padding import single_turns
from editenv.agents.edit_r2.rollout import collect
from editenv.agents.edit_r2.update import UpdateSettings, judge, ratio_errors
from editenv.agents.editor.policy import EditorMemory, ModelPainter, ModelWriter
from editenv.agents.metrics import Timer
from tests.tiny_editor import ROLLOUT, brightness_envs, tiny_checkpoint

UPDATE = UpdateSettings()
PAST = replace(ROLLOUT, turn=replace(ROLLOUT.turn, context="interleaved", intent_from_turn=2))
GUIDED = replace(PAST, turn=replace(PAST.turn, text_guidance=4.0, image_guidance=2.0))


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint()


@pytest.fixture(scope="module")
def played(checkpoint):
    """Rollouts by name, as single turns."""
    return {
        name: single_turns(collect(checkpoint, brightness_envs(4), settings, 0, 0, 2, Timer()).tensors)
        for name, settings in (
            ("past", replace(PAST, rollouts=2)),
            ("guided", replace(GUIDED, rollouts=2)),
            ("current", replace(ROLLOUT, rollouts=2, turn=replace(ROLLOUT.turn, intent_from_turn=2))),
        )
    }


@pytest.mark.parametrize(("name", "settings"), [("past", PAST), ("guided", GUIDED)])
def test_ratios_are_one_although_training_pads_turns_of_different_pasts(checkpoint, played, name, settings):
    with torch.no_grad():
        now = judge(checkpoint.model, played[name], settings, UPDATE)
    errors = ratio_errors(now, played[name])
    assert errors["text"] < 2e-5 and errors["flow"] < 2e-6


@pytest.mark.parametrize("wrong", ["current", "unguided", "another past"])
def test_a_training_that_reads_something_else_is_noticed(checkpoint, played, wrong):
    batch, settings = dict(played["guided"]), GUIDED
    if wrong == "current":
        settings = replace(settings, turn=replace(settings.turn, context="current"))
    elif wrong == "unguided":
        settings = replace(settings, turn=replace(settings.turn, image_guidance=1.0))
    else:
        batch["past_source"] = batch["past_source"].flip(0)
    with torch.no_grad():
        now = judge(checkpoint.model, batch, settings, UPDATE)
    assert ratio_errors(now, batch)["flow"] > 1e-4, "fifty times what rounding leaves"


def test_first_turns_have_no_past_and_later_ones_do(played):
    past, current = played["past"]["latents"], played["current"]["latents"]
    first = torch.arange(len(past)) % 3 == 0
    torch.testing.assert_close(past[first], current[first], atol=1e-5, rtol=1e-5)
    assert (past[~first] - current[~first]).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_a_policy_reads_its_own_past(checkpoint):
    """The painter and the writer; with the current context neither does."""
    pictures = [np.full((64, 64, 3), shade, np.uint8) for shade in (40, 200)]
    memories = [EditorMemory(0, 5, turn=1, past=((picture, "add a star"),)) for picture in pictures]
    seen = [pictures[0]] * 2
    observations = {
        "instruction": ("x",) * 2,
        "transcript": (("add a star", "remove it"),) * 2,
        "image": np.stack(seen),
    }
    for settings, differs in ((PAST.turn, True), (ROLLOUT.turn, False)):
        one, other = ModelPainter(checkpoint, settings).paint(seen, ["remove the star"] * 2, memories)
        assert np.array_equal(one, other) is not differs
        writer = ModelWriter(checkpoint, replace(settings, temperature=0.0))
        before = writer._before(observations, memories, [0, 1])
        assert bool(before) is differs


def test_rows_with_pasts_of_different_lengths_stand_side_by_side(checkpoint):
    """Fails where an absent turn is read, or moves the positions of what follows."""
    picture = np.full((64, 64, 3), 90, np.uint8)
    short = EditorMemory(0, 5, turn=1, past=((picture, "add a star"),))
    long = EditorMemory(1, 6, turn=2, past=((picture, "add a square"), (picture, "add a star")))
    painter = ModelPainter(checkpoint, PAST.turn)
    together = painter.paint([picture] * 2, ["remove the star"] * 2, [short, long])
    for row, memory in enumerate((short, long)):
        (alone,) = painter.paint([picture], ["remove the star"], [memory])
        assert np.abs(np.int16(alone) - np.int16(together[row])).max() <= 1
