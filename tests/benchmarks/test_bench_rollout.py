"""The benchmark of rollouts compares what is the same, and leaves out nothing of an iteration."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

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
from tests.tiny_editor import TINY, brightness_envs, tiny_policy, tiny_settings

PAST = replace(TINY, context="interleaved", intent_from_turn=2, text_guidance=4.0, image_guidance=2.0)
ROWS = [1, 3, 5]


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_policy()


@pytest.mark.parametrize("settings", [PAST, TINY], ids=["interleaved", "current"])
def test_both_sides_play_the_same(checkpoint, settings, tmp_path):
    """Fails where the plain loop reads another context, or draws other numbers, than its row of the batch."""
    work = Work(checkpoint, replace(tiny_settings(tmp_path, seed=7), algorithm=settings))
    ours, theirs = batched(work, brightness_envs(6)), plain(work, brightness_envs(1), ROWS)
    assert ours.turns == 18 and theirs.turns == 9
    told = agreement(ours, theirs, ROWS)
    assert told.sessions == 3 and told.turns >= 3
    assert told.same_intents == 1.0
    assert told.log_prob < 1e-4 and told.latents < 1e-3


def test_sides_that_differ_are_told(checkpoint, tmp_path):
    work = Work(checkpoint, replace(tiny_settings(tmp_path, seed=7), algorithm=PAST))
    ours = batched(work, brightness_envs(6))
    unguided = replace(work.settings, algorithm=replace(PAST, text_guidance=1.0, image_guidance=1.0))
    other = plain(replace(work, settings=unguided), brightness_envs(1), ROWS)
    assert agreement(ours, other, ROWS).latents > 1e-2
    elsewhere = plain(replace(work, settings=replace(work.settings, seed=8)), brightness_envs(1), ROWS)
    assert agreement(ours, elsewhere, ROWS).same_intents == 0.0


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
    split = iteration_split(tiny_policy(), brightness_envs(6), tiny_settings(tmp_path), 2)
    assert tuple(split["phases"]) == PARTS
    assert all(seconds > 0 for seconds in split["phases"].values())
    assert 0 < split["environment_share"] < 100 and split["iteration_operations"] > 1e7


def test_the_command_gives_every_figure(checkpoint, tmp_path):
    tiny_policy().save(tmp_path / "model")
    figures = bench_rollout(str(tmp_path / "model"), groups=2, group_size=2, plain_sessions=1, repeats=1, iterations=0)
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
