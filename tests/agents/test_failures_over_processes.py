"""What breaks in one of two processes stops both, with a checkpoint, instead of leaving one to wait."""

from __future__ import annotations

from pathlib import Path

import torch

from editenv.agents.resume import TrainingAborted, whole_checkpoints
from editenv.agents.trainer import EditR2Trainer
from tests.tiny_editor import BrightnessScorer, brightness_envs, tiny_policy, tiny_settings
from tests.two_processes import in_processes, join_others

LIMIT = 240.0
SPECS, ROLLOUTS = 2, 4


class FailsLater(BrightnessScorer):
    """Raises in the second iteration."""

    def _one(self, turn):
        if turn.spec.index >= SPECS:
            raise ConnectionError("no route to the judge")
        return super()._one(turn)


def train_until_it_stops(out: Path, rank: int, processes: int, port: int) -> None:
    """One process's training, whose scorer fails in the second process; what it said goes to `RANK.pt`."""
    join_others(rank, processes, port)
    settings = tiny_settings(out, groups=SPECS, group_size=ROLLOUTS, iterations=3, updates_per_iteration=1)
    envs = brightness_envs(SPECS * ROLLOUTS // processes, FailsLater() if rank == 1 else None)
    try:
        EditR2Trainer(tiny_policy(), envs, settings).train()
    except TrainingAborted as error:
        torch.save(str(error), out / f"{rank}.pt")


def test_a_scorer_that_raises_in_one_process_stops_both_with_a_checkpoint(tmp_path):
    """Fails where the process whose scorer works waits for the other one's sessions."""
    first, second = in_processes(train_until_it_stops, tmp_path, 2, LIMIT)
    assert first.startswith("iteration 1 stopped") and second.startswith("iteration 1 stopped")
    assert "process 1: ConnectionError: no route to the judge" in first
    assert "ConnectionError: no route to the judge" in second
    assert [path.name for path in whole_checkpoints(tmp_path)] == ["checkpoint-1"]
