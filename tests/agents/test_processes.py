"""Two processes that train together do what one does alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from editenv.agents.distributed import local_slice
from editenv.agents.resume import whole_checkpoints
from tests.tiny_editor import tiny_policy, weights
from tests.training_processes import ITERATIONS, ROLLOUTS, SPECS, train_and_keep
from tests.two_processes import in_processes, join_others

LIMIT = 900.0
"""Seconds a process may take: many, as it may have to share its core; it is there to end a hung test."""


def train_as_one_of(out: Path, rank: int, processes: int, port: int) -> None:
    """One process of a training; what it had goes to `out/RANK.pt`."""
    join_others(rank, processes, port)
    torch.save(train_and_keep(out), out / f"{rank}.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[list[dict[str, Any]], dict[str, Any], Path]:
    """What each of two processes had, what a single one had, and the folder of the two."""
    folders = {count: tmp_path_factory.mktemp(f"of{count}") for count in (1, 2)}
    found = {count: in_processes(train_as_one_of, folder, count, LIMIT) for count, folder in folders.items()}
    return found[2], found[1][0], folders[2]


def by_session(*steps: dict[str, torch.Tensor]) -> tuple[list[int], torch.Tensor]:
    """Groups and advantages of all sessions, in an order that their first latents give."""
    groups, firsts, advantages = (
        torch.cat([value(step) for step in steps])
        for value in (
            lambda step: step["group_id"],
            lambda step: step["latents"].flatten(1)[:, 0],
            lambda step: step["advantage"],
        )
    )
    order = sorted(range(len(groups)), key=lambda row: (int(groups[row]), float(firsts[row])))
    return groups[order].tolist(), advantages[order]


def test_advantages_of_a_divided_group_are_those_of_one_process(trained):
    """Up to rounding: a batch of another size may move a latent by a bit, and a pixel by one step of 255."""
    pair, alone, _ = trained
    assert [set(one["steps"][0]["group_id"].tolist()) for one in pair] == [{0, 1}, {1, 2}]
    for step in range(ITERATIONS):
        groups, advantage = by_session(*(one["steps"][step] for one in pair))
        expected_groups, expected = by_session(alone["steps"][step])
        assert groups == expected_groups and len(groups) == SPECS * ROLLOUTS
        torch.testing.assert_close(advantage, expected, atol=0.02, rtol=0)
        assert float(expected.abs().max()) > 0.5


def test_the_mean_of_both_losses_is_the_loss_of_one_process(trained):
    pair, alone, _ = trained
    for step in range(ITERATIONS):
        losses = [float(one["steps"][step]["loss"]) for one in pair]
        assert abs(losses[0] - losses[1]) > 1e-3, "each has its own share"
        assert sum(losses) / 2 == pytest.approx(float(alone["steps"][step]["loss"]), rel=0.01, abs=1e-5)
    assert abs(float(alone["steps"][1]["loss"])) > 1e-3, "the distance to the reference keeps it from 0"


def test_weights_stay_the_same_on_both_and_equal_those_of_one_process(trained):
    pair, alone, _ = trained
    start = weights(tiny_policy())
    moved = 0
    for name, value in pair[0]["weights"].items():
        assert torch.equal(value, pair[1]["weights"][name]), name
        torch.testing.assert_close(value, alone["weights"][name], atol=2e-4, rtol=0)
        moved += not torch.equal(value, start[name])
    assert moved > len(start) / 2


def test_the_training_reward_beside_an_evaluation_is_of_all_processes(trained):
    """Fails where it is that of the first process's sessions, or where a divided script counts as two."""
    pair, alone, _ = trained
    assert len(alone["rewards"]) == 2 * ITERATIONS and alone["rewards"] == alone["own_rewards"]
    assert pair[0]["rewards"] == pytest.approx(alone["rewards"], abs=2e-4)
    assert pair[0]["own_rewards"] != pytest.approx(alone["rewards"], abs=2e-4)
    assert pair[1]["rewards"] == pair[0]["rewards"], "each process is told of all sessions"


def test_one_of_two_processes_marks_the_checkpoints(trained):
    *_, folder = trained
    assert [path.name for path in whole_checkpoints(folder)] == ["checkpoint-1", "checkpoint-2"]


def test_a_process_that_played_fewer_turns_weighs_less():
    paid = {"advantage": torch.arange(12.0).reshape(4, 3)}
    own, share = local_slice(paid, slice(2, 4), 2)
    assert own["advantage"].tolist() == [[6.0, 7.0], [9.0, 10.0]] and share == pytest.approx(2 / 3)
