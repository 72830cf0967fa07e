"""The benchmark of rollouts compares what is the same, and leaves out nothing of an iteration."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from editenv.agents.edit_r2.rollout import collect
from editenv.agents.editor.checkpoint import save_checkpoint
from editenv.agents.editor.growing import growing, rereading
from editenv.agents.metrics import Timer
from editenv.agents.unified import UnifiedModel
from editenv.benchmarks.rollout import (
    PARTS,
    Work,
    agreement,
    batched,
    bench_rollout,
    iteration_split,
    operations,
    peak,
    plain,
    rollout_table,
)
from tests.tiny_editor import ROLLOUT, brightness_envs, tiny_checkpoint, tiny_settings

PAST = replace(
    ROLLOUT,
    turn=replace(
        ROLLOUT.turn, context="interleaved", intent_from_turn=2, text_guidance=4.0, image_guidance=2.0
    ),
)
ROWS = [1, 3, 5]


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint()


@pytest.mark.parametrize("settings", [PAST, ROLLOUT], ids=["interleaved", "current"])
def test_both_sides_play_the_same(checkpoint, settings):
    """Fails where the plain loop reads another context, or draws other numbers, than its row of the batch."""
    work = Work(checkpoint, settings, 2, 7)
    ours, theirs = batched(work, brightness_envs(6)), plain(work, brightness_envs(1), ROWS)
    assert ours.turns == 18 and theirs.turns == 9
    told = agreement(ours, theirs, ROWS)
    assert told.sessions == 3 and told.turns >= 3
    assert told.same_intents == 1.0
    assert told.log_prob < 1e-4 and told.latents < 1e-3


def test_sides_that_differ_are_told(checkpoint):
    work = Work(checkpoint, PAST, 2, 7)
    ours = batched(work, brightness_envs(6))
    unguided = replace(PAST, turn=replace(PAST.turn, text_guidance=1.0, image_guidance=1.0))
    other = plain(replace(work, settings=unguided), brightness_envs(1), ROWS)
    assert agreement(ours, other, ROWS).latents > 1e-2
    elsewhere = plain(replace(work, seed=8), brightness_envs(1), ROWS)
    assert agreement(ours, elsewhere, ROWS).same_intents == 0.0


def test_a_context_that_grows_reads_nothing_twice_and_holds_the_same_to_the_last_bit(checkpoint, monkeypatch):
    """Fails where growing changes a number, or where a picture or an intent is read a second time."""
    found, read = {}, {}
    true = UnifiedModel.append
    for reader in (growing, rereading):
        read[reader] = 0

        def counting(model, context, block, reader=reader):
            read[reader] += 1
            return true(model, context, block)

        monkeypatch.setattr(UnifiedModel, "append", counting)
        rollout = collect(checkpoint, brightness_envs(6), PAST, 0, 0, 2, Timer(), reader=reader)
        found[reader] = rollout.tensors
    for name, value in found[growing].items():
        assert torch.equal(value.nan_to_num(), found[rereading][name].nan_to_num()), name
    # Three turns: a picture and an intent each, the intents once more for the view without pictures.
    assert read[growing] == 3 * 3 < read[rereading]


def test_operations_are_those_of_the_shapes():
    left, right = torch.ones(3, 5), torch.ones(5, 7, requires_grad=True)
    assert operations(lambda: left @ right) == 2 * 3 * 5 * 7
    assert operations(lambda: (left @ right).sum().backward()) == 2 * 2 * 3 * 5 * 7
    heads = [torch.ones(2, 4, count, 8, requires_grad=True) for count in (6, 9, 9)]

    def attend():
        return torch.nn.functional.scaled_dot_product_attention(*heads)

    forward = 2 * 2 * (2 * 4 * 6 * 9 * 8)
    assert operations(attend) == forward
    assert operations(lambda: attend().sum().backward()) == forward + 5 * 2 * (2 * 4 * 6 * 9 * 8)
    assert peak() > 1e8


def test_an_iteration_is_taken_apart_without_rest(checkpoint, tmp_path):
    split = iteration_split(tiny_checkpoint(), brightness_envs(6), tiny_settings(tmp_path), 2)
    assert tuple(split["phases"]) == PARTS
    assert all(seconds > 0 for seconds in split["phases"].values())
    assert 0 < split["environment_share"] < 100 and split["iteration_operations"] > 1e7


def test_the_command_gives_every_figure(checkpoint, tmp_path):
    save_checkpoint(tiny_checkpoint(), tmp_path / "model")
    figures = bench_rollout(
        str(tmp_path / "model"), specs=2, rollouts=2, plain_sessions=1, repeats=1, iterations=0
    )
    figures = json.loads(json.dumps(figures))
    assert figures["ratio"] == figures["sides"]["interleaved"]["ratio"] > 0
    assert set(figures["sides"]) == {"interleaved", "current"}
    for side in figures["sides"].values():
        assert side["ratio"] == pytest.approx(side["turns_per_second"] / side["plain_turns_per_second"])
        assert side["agreement"]["same_intents"] == 1.0
    assert figures["sessions"] == 4 and figures["turns"] == 3 and figures["environment_share"] is None
    shown = rollout_table(figures)
    assert "one by one" in shown and "context interleaved" in shown and "MiB" in shown
    split = {"iteration_seconds": 2.0, "phases": dict.fromkeys(PARTS, 0.4), "environment_share": 20.0}
    assert "20.0 percent of it is the environment" in rollout_table(figures | split | {"utilisation": 1.0})
