"""What `accelerate launch` starts by the shipped files, on a CPU, ends as one process does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from editenv.agents.resume import whole_checkpoints
from tests.tiny_editor import tiny_policy, weights
from tests.training_processes import train_and_keep
from tests.two_processes import free_port

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 900.0
"""Seconds a launch may take; it is there to end a hung test."""


def started(
    name: str, out: Path, port: int, *words: str, rank: int = 0, dies: bool = False
) -> subprocess.Popen[bytes]:
    """`accelerate launch` of two processes by a shipped file, changed by `words`, in a session of its own."""
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(ROOT / "configs" / "accelerate" / f"{name}.yaml")]
    command += ["--num_processes", "2", "--main_process_port", str(port), *words]
    command += [str(ROOT / "tests" / "training_processes.py"), str(out), str(rank)]
    command += ["dies"] if dies else []
    known = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=os.environ | known, start_new_session=True)


def ended(running: list[subprocess.Popen[bytes]]) -> list[int]:
    """Exit codes, once all have ended; whatever they started ends with them."""
    try:
        return [one.wait(LIMIT) for one in running]
    finally:
        for one in running:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)


def read(out: Path) -> list[dict[str, Any]]:
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


def assert_same(pair: list[dict[str, Any]], alone: dict[str, Any], last: int, least: float) -> None:
    """Losses of the last steps, gradient norms and weights of two processes are one process's.

    More than a fraction `least` of the weights have moved far.
    """
    assert [len(one["steps"]) for one in pair] == [last, last]
    for step in range(-last, 0):
        losses = [float(one["steps"][step]["loss"]) for one in pair]
        assert sum(losses) / 2 == pytest.approx(float(alone["steps"][step]["loss"]), rel=0.01, abs=1e-5)
    assert abs(float(alone["steps"][-1]["loss"])) > 1e-3
    assert pair[0]["norms"] == pytest.approx(alone["norms"], rel=0.02) and min(alone["norms"]) > 0.05
    start, moved, far = weights(tiny_policy()), 0, []
    assert pair[0]["weights"].keys() == alone["weights"].keys()
    for name, value in alone["weights"].items():
        assert torch.equal(pair[0]["weights"][name], pair[1]["weights"][name]), name
        far.append(((pair[0]["weights"][name] - value).abs() > 1e-4).flatten())
        moved += bool((value - start[name]).abs().max() > 1e-3)
    assert moved > len(start) * least
    # Another batch size may move a pixel by a step of 255, which bends small gradients: 1.5% of the weights.
    # Moments that are lost show in 69%, gradients bounded to 1 in place of 0.05 in 30%.
    assert float(torch.cat(far).float().mean()) < 0.04


def alone(out: Path, rank: int = 0) -> dict[str, Any]:
    """One process's training, unbroken."""
    return train_and_keep(out, max_grad_norm=0.05, schedule="linear", lora_rank=rank, lora_alpha=128)


@pytest.mark.parametrize("rank", [0, 4])
def test_sharded_training_killed_between_two_updates_ends_as_one_process_does(rank, tmp_path):
    """Fails where a checkpoint lacks a share of the optimiser's state, or norms are bounded otherwise."""
    assert ended([started("fsdp2", tmp_path, free_port(), rank=rank, dies=True)]) != [0]
    assert [path.name for path in whole_checkpoints(tmp_path)] == ["checkpoint-1"]
    assert not (tmp_path / "0.pt").exists()
    assert ended([started("fsdp2", tmp_path, free_port(), rank=rank)]) == [0]
    pair = read(tmp_path)
    assert [one["kind"] for one in pair] == ["FSDP", "FSDP"]
    # Adapters sit on 28 of 76 weights.
    assert_same(pair, alone(tmp_path / "alone", rank), last=1, least=0.3 if rank else 0.5)


def test_two_machines_of_one_process_each_end_as_one_process_does(tmp_path):
    port = free_port()
    there = ("--num_machines", "2", "--main_process_ip", "127.0.0.1", "--machine_rank")
    assert ended([started("nodes", tmp_path, port, *there, str(rank)) for rank in range(2)]) == [0, 0]
    assert_same(read(tmp_path), alone(tmp_path / "alone"), last=2, least=0.5)
