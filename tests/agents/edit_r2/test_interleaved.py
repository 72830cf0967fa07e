"""Interleaved contexts and guidance: the same numbers in rollout and training; earlier turns that matter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from editenv.agents.edit_r2 import evaluate_actions, ratio_errors
from editenv.agents.editor import EditorMemory, EditorPolicy
from tests.tiny_editor import TINY, played, single_turns, tensors_of, tiny_policy

LATE = replace(TINY, intent_from_turn=2)
PAST = replace(LATE, context="interleaved")
GUIDED = replace(PAST, text_guidance=4.0, image_guidance=2.0)


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_policy()


@pytest.fixture(scope="module")
def rollouts(checkpoint):
    """By name, as single turns."""
    settings = {"past": PAST, "guided": GUIDED, "current": LATE}
    return {
        name: single_turns(tensors_of(played(checkpoint, chosen, group_size=2))) for name, chosen in settings.items()
    }


@pytest.mark.parametrize(("name", "settings"), [("past", PAST), ("guided", GUIDED)])
def test_ratios_are_one_although_training_pads_turns_of_different_pasts(checkpoint, rollouts, name, settings):
    with torch.no_grad():
        now = evaluate_actions(checkpoint, rollouts[name], settings)
    errors = ratio_errors(now, rollouts[name])
    assert errors["text"] < 2e-5 and errors["flow"] < 2e-6


@pytest.mark.parametrize("wrong", ["current", "unguided", "another past"])
def test_a_training_that_reads_something_else_is_noticed(checkpoint, rollouts, wrong):
    batch, settings = dict(rollouts["guided"]), GUIDED
    if wrong == "current":
        settings = replace(settings, context="current")
    elif wrong == "unguided":
        settings = replace(settings, image_guidance=1.0)
    else:
        batch["past_source"] = batch["past_source"].flip(0)
    with torch.no_grad():
        now = evaluate_actions(checkpoint, batch, settings)
    assert ratio_errors(now, batch)["flow"] > 1e-4, "fifty times what rounding leaves"


def test_first_turns_have_no_past_and_later_ones_do(rollouts):
    past, current = rollouts["past"]["latents"], rollouts["current"]["latents"]
    first = torch.arange(len(past)) % 3 == 0
    torch.testing.assert_close(past[first], current[first], atol=1e-5, rtol=1e-5)
    assert (past[~first] - current[~first]).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def memory(checkpoint, row, *past):
    """Of a session with such earlier pictures and intents."""
    turns = []
    for picture, intent in past:
        turn = checkpoint.encode_intents([intent]) | {"source": checkpoint.encode_images([picture])}
        turns.append({name: turn[name][0] for name in checkpoint.history})
    return EditorMemory(row, 5 + row, turn=len(past), past=tuple(turns))


def observations_of(pictures):
    said = ("add a star", "remove it")
    return {
        "instruction": (said[-1],) * len(pictures),
        "transcript": (said,) * len(pictures),
        "image": np.stack(pictures),
    }


def test_a_policy_reads_its_own_past(checkpoint):
    """Pictures and intents; with the current context neither does."""
    shades = [np.full((64, 64, 3), shade, np.uint8) for shade in (40, 200)]
    memories = [replace(memory(checkpoint, 0, (shade, "add a star"))) for shade in shades]
    for settings, differs in ((PAST, True), (TINY, False)):
        policy = EditorPolicy(checkpoint, settings)
        actions, after = policy.act(observations_of([shades[0]] * 2), memories)
        assert np.array_equal(*actions["image"]) is not differs
        assert [len(one.past) for one in after] == ([2, 2] if differs else [1, 1])


def test_rows_with_pasts_of_different_lengths_stand_side_by_side(checkpoint):
    """Fails where an absent turn is read, or moves the positions of what follows."""
    picture = np.full((64, 64, 3), 90, np.uint8)
    short = memory(checkpoint, 0, (picture, "add a star"))
    long = memory(checkpoint, 1, (picture, "add a square"), (picture, "add a star"))
    policy = EditorPolicy(checkpoint, replace(PAST, intent_from_turn=9))
    together = policy.act(observations_of([picture] * 2), [short, long])[0]["image"]
    for row, one in enumerate((short, long)):
        alone = policy.act(observations_of([picture]), [one])[0]["image"][0]
        assert np.abs(np.int16(alone) - np.int16(together[row])).max() <= 1
