"""Curriculum over turns: sessions are cut where the iteration says, and nothing else about them changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents.edit_r2.curriculum import check_curriculum, check_stages, turns_at
from editenv.agents.edit_r2.rollout import Rollout, collect
from editenv.agents.edit_r2.stopwatch import Stopwatch
from editenv.sims.replay import ReplayUser
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import (
    ROLLOUT,
    BrightnessScorer,
    brightness_envs,
    tiny_checkpoint,
    tiny_config,
    train_for_brightness,
)

GROWING = ((0, 1), (2, 2), (5, 3))


def played(iteration: int, rows: slice = slice(None), **changes: object) -> Rollout:
    settings = replace(ROLLOUT, **changes)
    envs = brightness_envs(len(range(6)[rows]))
    return collect(tiny_checkpoint(), envs, settings, 0, iteration, 2, Stopwatch(), rows)


def test_turns_by_hand() -> None:
    """Fails where a stage begins too early, ends, or asks for more than there is."""
    assert [turns_at(GROWING, iteration, 3) for iteration in range(7)] == [1, 1, 2, 2, 2, 3, 3]
    assert turns_at((), 0, 16) == 16
    assert turns_at(GROWING, 9, 2) == 2


@pytest.mark.parametrize(
    "stages",
    [
        [[1, 2]],  # what of iteration 0?
        [[0, 0]],
        [[0, 2], [0, 4]],
        [[0, 4], [5, 2]],
        [[0]],
        [[0, 1], [3]],
        [[0, 2, 3]],
    ],
)
def test_stages_that_do_not_grow_are_refused(stages: list[list[int]]) -> None:
    """Fails where a typing error silently changes what is trained."""
    with pytest.raises(ValueError, match="expected pairs"):
        check_stages(stages)
    with pytest.raises(ValueError, match="expected pairs"):
        replace(ROLLOUT, curriculum=stages)


def test_stages_that_the_sessions_cannot_follow_are_refused() -> None:
    """Fails where a curriculum promises turns that never come, or waits for scores that never come."""
    check_curriculum(GROWING, brightness_envs(1))
    with pytest.raises(ValueError, match="ends with 4 turns, but sessions have no more than 3"):
        check_curriculum(((0, 2), (3, 4)), brightness_envs(1))
    deferred = MICEEditVectorEnv(
        1,
        StudioWorld("mixed"),
        ReplayUser(),
        BrightnessScorer(),
        autoreset_mode=AutoresetMode.DISABLED,
        scoring="deferred",
    )
    with pytest.raises(ValueError, match="scoring is 'deferred', expected 'immediate'"):
        check_curriculum(GROWING, deferred)


def test_cut_sessions_are_the_beginnings_of_whole_ones() -> None:
    """Fails where cutting changes what is drawn in the turns that are played, or their rewards."""
    whole, cut = played(2), played(2, curriculum=GROWING)
    assert whole.tensors["reward"].shape == (6, 3) and cut.tensors["reward"].shape == (6, 2)
    for name in ("latents", "reward", "instruction_following", "flow_log_prob_mean", "valid"):
        assert torch.equal(whole.tensors[name][:, :2], cut.tensors[name]), name
    assert all(len(session.scores) == 2 and session.ending is None for session in cut.sessions)
    assert played(0, curriculum=GROWING).tensors["reward"].shape == (6, 1)


def test_processes_that_share_the_rows_cut_them_alike() -> None:
    """Fails where the turns depend on anything but the iteration: parts would not fit together."""
    every = played(2, curriculum=GROWING, window_high=0)
    parts = [played(2, rows, curriculum=GROWING, window_high=0) for rows in (slice(0, 3), slice(3, 6))]
    for name in ("reward", "names"):
        assert torch.allclose(every.tensors[name], torch.cat([part.tensors[name] for part in parts]))


def test_a_resumed_run_stands_where_the_curriculum_stands(start: Path, tmp_path: Path) -> None:
    """Fails where the number of turns is state that a checkpoint lacks, or where cut turns reach the loss."""
    stages = [[0, 1], [1, 2], [2, 3]]
    results = {}
    for name, lengths in (("unbroken", (3,)), ("resumed", (1, 2, 3))):
        for iterations in lengths:
            config = tiny_config(
                tmp_path / name, start, iterations=iterations, curriculum=stages, filter="none"
            )
            results[name] = train_for_brightness(config)
    for result in results.values():
        assert [len(log["reward"]) for log in result.logs] == [1, 2, 3]
    one, other = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("unbroken", "resumed")
    )
    assert one == other
