"""Figures of Stable-Baselines3's agents, seed after seed: warm-started on `mixed`, and from nothing on one task.

    OMP_NUM_THREADS=1 python -m editenv.benchmarks.sb3 [--out runs/sb3] [--seeds 5]

Takes about 9 minutes of one core for a seed warm-started, 1 for one from nothing, and the evaluations. The same
command goes on after a kill. Prints a table and writes OUT/figures.json: turn-1 IF and turn-3 GA of what PPO made of
the clone, and of the clone; IF of an agent trained from nothing to change backgrounds, and of random operations; means
over the seeds with 95% intervals by Student's t; processor and wall seconds of the trainings.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from editenv.agents.sb3.vec_env import ToolsVecEnv
from editenv.build import make_tools_vector_env
from editenv.cli import main as editenv

BACKGROUNDS = "turns: 1\nobjects: [2, 5]\nreference: {share: 0.0}\ntasks: {background_change: 1}\n"
SESSIONS = 2048
"""Test sessions of each evaluation."""
# All in one process, so that its processor time is the run's.
ALONE = ["eval_every=0", "save_every=20480", "threads=1", "draw_ahead=false"]
WARM = [
    *ALONE, "suite=mixed", "steps=81920", "clone=16000", "clone_epochs=5", "clone_rate=1.5e-3", "learning_rate=2e-4",
    "num_envs=64", "n_steps=64", "batch_size=1024", "n_epochs=2", "gamma=0", "vf_coef=0.25", "target_kl=0.05",
]  # fmt: skip
SCRATCH = [*ALONE, "steps=12800", "learning_rate=1e-3", "ent_coef=0.005", "gamma=0"]


def measure(out: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Trains and evaluates; figures by name, one value a seed."""
    out.mkdir(parents=True, exist_ok=True)
    suite = out / "backgrounds.yaml"
    suite.write_text(BACKGROUNDS, encoding="utf-8")
    found: dict[str, list[float]] = {}

    def keep(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    def train(name: str, seed: int, *settings: str) -> Path:
        folder = out / f"{name}_{seed}"
        _command(["train", "agent=maskable_ppo", f"seed={seed}", *settings, f"out={folder}"])
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        keep(f"processor seconds, {name}", summary["processor_seconds"])
        keep(f"wall seconds, {name}", summary["seconds"])
        return folder

    for seed in seeds:
        warm = train("mixed", seed, *WARM)
        trained, cloned = (_scores(folder, "mixed", out / name) for folder, name in (
            (warm, f"played_{seed}"), (warm / "clone", f"played_clone_{seed}"),
        ))  # fmt: skip
        for turn, name in ((1, "instruction_following"), (3, "global_awareness")):
            label = f"turn-{turn} {'IF' if turn == 1 else 'GA'}"
            keep(f"{label}, PPO after the clone", trained[name][turn - 1])
            keep(f"{label}, the clone", cloned[name][turn - 1])
            keep(f"{label}, difference", trained[name][turn - 1] - cloned[name][turn - 1])
        scratch = train("backgrounds", seed, *SCRATCH, f"suite={suite}")
        from_nothing = _scores(scratch, str(suite), out / f"played_backgrounds_{seed}")["instruction_following"][0]
        keep("IF on backgrounds, PPO from nothing", from_nothing)
        keep("IF on backgrounds, random operations", random_operations(str(suite), seed))
        keep("IF on backgrounds, difference", from_nothing - found["IF on backgrounds, random operations"][-1])
    figures = {name: {"mean": float(np.mean(v)), "interval": interval(v), "seeds": v} for name, v in found.items()}
    return {"figures": figures, "load": os.getloadavg(), "cores": len(os.sched_getaffinity(0))}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean, by Student's t over the seeds; infinite for one of them."""
    if len(values) < 2:
        return float("-inf"), float("inf")
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def random_operations(suite: str, seed: int) -> float:
    """Mean IF of operations whose parts are drawn from what the masks allow."""
    env = ToolsVecEnv(make_tools_vector_env(num_envs=64, suite=suite, split="test"))
    env.seed(seed)
    env.reset()
    rng, ends = np.random.default_rng(seed), np.cumsum(env.envs.parts.sizes)[:-1]
    followed = []
    for _ in range(SESSIONS // 64):
        masks = np.split(np.array(env.env_method("action_masks")), ends, axis=1)
        actions = [(rng.random(mask.shape) * mask).argmax(1) for mask in masks]
        *_, infos = env.step(np.stack(actions, 1))
        followed += [info["scores"].instruction_following for info in infos]
    return float(np.mean(followed))


def _scores(agent: Path, suite: str, out: Path) -> dict[str, list[float]]:
    """Means a turn by score's name."""
    _command(["evaluate", f"policy={agent}", f"suite={suite}", f"sessions={SESSIONS}", "filmstrip=0", f"out={out}"])
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return {name: summary[name] for name in ("instruction_following", "global_awareness")}


def _command(words: list[str]) -> None:
    print("== editenv " + " ".join(words), flush=True)
    if editenv(words):
        raise SystemExit(f"editenv {words[0]} failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/sb3"))
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    result = measure(chosen.out, range(chosen.seeds))
    (chosen.out / "figures.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, figure in result["figures"].items():
        low, high = figure["interval"]
        print(f"{name:40} {figure['mean']:.3f} [{low:.3f}, {high:.3f}]")
