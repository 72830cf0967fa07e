"""`editenv train agent=...`: clones, learns, survives kills, and is evaluated like any other policy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from editenv.agents.episodes import run_episodes
from editenv.agents.sb3.clone import Turns, batches, clone, evaluate, oracle_turns
from editenv.agents.sb3.policy import ALGORITHMS, SB3Policy
from editenv.agents.sb3.train import train
from editenv.build import make_tools_vector_env, make_vector_env
from editenv.cli import main
from editenv.configs.compose import compose
from editenv.configs.schema import TrainSB3Config
from editenv.worlds.studio.operations import operation_parts
from editenv.worlds.studio.suites import suite_names

SMALL = [
    "num_envs=4", "n_steps=8", "batch_size=32", "n_epochs=2", "width=16", "eval_sessions=4", "eval_every=32",
    "save_every=32", "draw_ahead=false", "threads=1",
]  # fmt: skip


def settings(out: Path, *words: str, agent: str = "maskable_ppo") -> TrainSB3Config:
    small = [word for word in SMALL if agent != "a2c" or not word.startswith(("batch_size", "n_epochs"))]
    config = compose("train", [f"agent={agent}", *small, *words], out=str(out))
    assert isinstance(config, TrainSB3Config)
    return config


def weights(folder: Path) -> bytes:
    return (folder / "policy.safetensors").read_bytes()


class Stop(BaseCallback):
    """Ends the process's training in the middle of a rollout, as a kill would."""

    def _on_step(self) -> bool:
        if self.num_timesteps == 84:
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize("agent", ["ppo", "a2c", "maskable_ppo"])
def test_a_run_leaves_what_it_says(agent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(settings(tmp_path, "steps=64", "clone=4", "clone_epochs=1", agent=agent))
    said = capsys.readouterr().out
    assert "the oracle plays 4 sessions" in said and f"evaluate policy={tmp_path}" in said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["turns"] == 64 and summary["config"]["agent"] == agent
    assert list(summary["evaluations"]) == ["32", "64"]
    assert [point["turns"] for point in summary["curve"]] == [32, 64] and summary["curve"][1]["updates"] > 0
    assert all(0 <= point["reward"] <= 1 for point in summary["curve"])
    assert summary["clone"]["turns"] >= 12
    kept = {path.name for path in tmp_path.iterdir()}
    assert {"model.zip", "policy.json", "best", "evaluations.npz", "progress.csv", "checkpoint-64"} <= kept
    assert "rollout/ep_rew_mean" in (tmp_path / "progress.csv").read_text()
    assert ALGORITHMS[agent].load(tmp_path / "model.zip", device="cpu").num_timesteps == 64


def test_going_on_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Fails where a resumed run plays other sessions, draws other numbers, or forgets its optimiser."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(settings(whole, "steps=128"))
    place = f"{__name__}:Stop"
    sys.modules.setdefault(__name__, sys.modules[Stop.__module__])
    with pytest.raises(KeyboardInterrupt):
        train(settings(broken, "steps=128", f"callbacks=['{place}']"))
    assert [path.name for path in sorted(broken.glob("checkpoint-*"))] == ["checkpoint-32", "checkpoint-64"]
    train(settings(broken, "steps=128"))
    assert weights(whole) == weights(broken)
    assert weights(whole / "best") == weights(broken / "best")
    both = [np.load(folder / "evaluations.npz") for folder in (whole, broken)]
    assert np.array_equal(both[0]["results"], both[1]["results"])
    # And further than it was meant to go.
    train(settings(broken, "steps=160"))
    assert json.loads((broken / "summary.json").read_text())["turns"] == 160
    curves = [json.loads((one / "summary.json").read_text())["curve"] for one in (whole, broken)]
    without = [[{**point, "seconds": 0} for point in curve[:4]] for curve in curves]
    assert without[0] == without[1] and [len(curve) for curve in curves] == [4, 5]


def test_a_killed_process_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    words = ["train", "agent=ppo", *SMALL, "steps=100000", "eval_every=0", f"out={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "editenv.cli", *words],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    until = time.monotonic() + 120
    while not (tmp_path / "checkpoint-96" / "complete.json").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "checkpoint-9999").mkdir()
    newest = max(int(path.parent.name[11:]) for path in tmp_path.glob("checkpoint-*/complete.json"))
    assert newest >= 96
    train(settings(tmp_path, f"steps={newest + 32}", "eval_every=0", agent="ppo"))
    assert json.loads((tmp_path / "summary.json").read_text())["turns"] == newest + 32


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["agent=pp0"],
            "agent 'pp0' is not known, did you mean 'ppo'? expected one of a2c, edit_r2, maskable_ppo, ppo",
        ),
        (["agent=ppo", "stepz=3"], "train_sb3 has no setting 'stepz', did you mean 'steps'?"),
        (["agent=ppo", "gamma=1.5"], "gamma is 1.5, expected 0 or more and 1 or less"),
        (["agent=ppo", "batch_size=100"], "batch_size is 100, expected a divisor of n_steps * num_envs = 1024"),
        (["agent=a2c", "clip_range=0.1"], "clip_range is 0.1, expected none with agent=a2c"),
        (["agent=ppo", "width=30"], "width is 30, expected a multiple of 4"),
        (["agent=ppo", "scorer=none"], "scorer is none, expected one that judges"),
        (["agent=ppo", "callbacks=[builtins:dict]"], "callback 'builtins:dict' made a dict, expected a BaseCallback"),
    ],
)
def test_bad_settings_are_refused_by_name(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words, f"out={tmp_path / 'out'}"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_ends_when_its_time_is_up(tmp_path: Path) -> None:
    train(settings(tmp_path, "steps=1000000", "max_seconds=2", "eval_every=0"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert 0 < summary["turns"] < 1000000 and summary["seconds"] >= 2
    train(settings(tmp_path, "steps=1000000", "max_seconds=2", "eval_every=0"))
    assert json.loads((tmp_path / "summary.json").read_text())["turns"] == summary["turns"]


def test_other_settings_do_not_go_on(tmp_path: Path) -> None:
    train(settings(tmp_path, "steps=32"))
    with pytest.raises(ValueError, match="which holds a run with another gamma"):
        train(settings(tmp_path, "steps=64", "gamma=0.5"))


def test_tensorboard_is_asked_for_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editenv.agents.sb3.train.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="tensorboard is true, but tensorboard is not installed: pip install"):
        train(settings(tmp_path, "tensorboard=true"))


def test_tensorboard_gets_the_logs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(settings(tmp_path, "steps=64", "tensorboard=true"))
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_trained_agent_plays_every_suite_as_in_its_own_environment(tmp_path: Path) -> None:
    """Fails where what `evaluate` shows an agent, masks or draws differs from the environment it was trained in."""
    train(settings(tmp_path / "run", "steps=32", "clone=64", "clone_epochs=4", "clone_batch=32", "tokens=32"))
    run = str(tmp_path / "run")
    envs = make_tools_vector_env(num_envs=6, suite="mixed", split="test", tokens=32, autoreset_mode="Disabled")
    model = MaskablePPO.load(tmp_path / "run" / "model.zip", device="cpu")
    seen, _ = envs.reset(seed=0)
    for _ in range(3):
        seen["image"] = seen["image"].transpose(0, 3, 1, 2)
        actions, _ = model.predict(seen, action_masks=envs.action_masks(), deterministic=True)
        seen, *_ = envs.step(actions)
    plain = make_vector_env(num_envs=6, suite="mixed", split="test", autoreset_mode="Disabled")
    sessions = run_episodes(plain, SB3Policy(plain, run), range(6), 0)
    for ours, theirs in zip(sessions, envs.sessions, strict=True):
        assert ours.intents == theirs.intents and ours.scores == theirs.scores
        assert all(np.array_equal(*pair) for pair in zip(ours.pictures, theirs.pictures, strict=True))
    for suite in suite_names():
        out = tmp_path / suite
        words = [f"policy={run}/best", f"suite={suite}", "sessions=2", "filmstrip=0", f"out={out}"]
        assert main(["evaluate", *words]) == 0 and len((out / "scores.jsonl").read_text().splitlines()) == 2


def test_an_agent_of_other_pictures_is_refused(tmp_path: Path) -> None:
    train(settings(tmp_path, "steps=32"))
    with pytest.raises(ValueError, match=r"grid is 3 here, but the agent in .* was trained with 4"):
        SB3Policy(make_vector_env(num_envs=1, grid=3, size=48), str(tmp_path))
    (tmp_path / "policy.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"policy.safetensors does not hold the weights that policy.json describes"):
        SB3Policy(make_vector_env(num_envs=1), str(tmp_path))
    (tmp_path / "policy.json").write_text('{"agent": "dqn"}')
    with pytest.raises(ValueError, match=r"policy.json cannot be read .*, expected what `editenv train agent=ppo`"):
        SB3Policy(make_vector_env(num_envs=1), str(tmp_path))


@pytest.mark.parametrize("suite", suite_names())
def test_the_oracles_operations_are_paid_in_full(suite: str) -> None:
    envs = make_tools_vector_env(num_envs=8, suite=suite, tokens=8)
    turns = oracle_turns(envs, 8, seed=3, gamma=0.5)
    assert turns.actions.shape == (8 * envs.engine.world.max_turns, 10)
    returns, turn = turns.returns.reshape(-1, 8), turns.observations["turn"].reshape(-1, 8)
    assert np.allclose(returns[:-1], 1 + 0.5 * (turn[1:] > turn[:-1]) * returns[1:]) and (returns[-1] == 1).all()
    # Whatever a task does not look at may be anything.
    rng, sizes = np.random.default_rng(0), envs.single_action_space.nvec
    other = np.where(turns.read, turns.actions, rng.integers(0, sizes, turns.actions.shape))
    envs.reset(seed=3)
    for row in range(0, len(other), 8):
        _, rewards, *_ = envs.step(other[row : row + 8])
        assert rewards.tolist() == [1.0] * 8
    starts = np.cumsum([0, *sizes[:-1]])
    allowed = np.take_along_axis(turns.masks, turns.actions + starts, 1)
    assert allowed.all()


@pytest.mark.parametrize("agent", ["ppo", "maskable_ppo"])
def test_cloning_raises_the_oracles_log_probabilities(agent: str, tmp_path: Path) -> None:
    from editenv.agents.sb3.train import _Run, make_env

    config = settings(tmp_path, agent=agent)
    policy = _Run(config, make_env(config, "train", 4), None).model.policy
    turns = oracle_turns(make_tools_vector_env(num_envs=8, tokens=32), 16, seed=0, gamma=0.9)
    rows = np.arange(48)
    before, values = (tensor.detach() for tensor in evaluate(policy, turns, rows))
    missed = (values.numpy() - turns.returns) ** 2
    assert before.shape == (48, 10) and (before <= 0).all()
    told: list[int] = []
    how: Any = {"epochs": 20, "batch": 16, "rate": 5e-3, "max_grad_norm": 0.5, "seed": 0}
    loss = clone(policy, turns, operation_parts(4), **how, told=lambda step, total, loss: told.append(step))
    assert told == list(range(1, 61))
    after, values = (tensor.detach() for tensor in evaluate(policy, turns, rows))
    assert ((values.numpy() - turns.returns) ** 2).mean() < missed.mean() / 4
    read = torch.as_tensor(turns.read)
    assert after[read].sum() > before[read].sum() / 2 and 0 < loss < -before[read].sum() / 48


def test_batches_hold_every_row_once_and_rows_of_like_length() -> None:
    lengths = np.arange(1000) % 50
    found = batches(lengths, 32, np.random.default_rng(0))
    assert sorted(np.concatenate(found)) == list(range(1000))
    assert np.mean([np.ptp(lengths[rows]) for rows in found]) < 10


def test_a_part_that_is_not_read_teaches_nothing() -> None:
    envs = make_tools_vector_env(num_envs=4, tokens=16)
    turns = oracle_turns(envs, 4, seed=0, gamma=0.0)
    assert isinstance(turns, Turns) and turns.read[:, 0].all() and not turns.read.all()
