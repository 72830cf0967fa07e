"""Figures of Stable-Baselines3's agents, seed after seed: warm-started on `mixed`, and from nothing on one task.

    OMP_NUM_THREADS=2 python -m editenv.benchmarks.sb3 [--out runs/sb3] [--seeds 5] [--minutes 10]

Takes seeds * 2 * minutes and some minutes of evaluation: 1 hour 50 on two cores as it stands. The same command goes
on after a kill. Prints a table and writes OUT/figures.json: turn-1 IF and turn-3 GA of what PPO made of the clone,
and of the clone; IF of an agent trained from nothing to change backgrounds, and of random operations; means over the
seeds with 95% intervals by Student's t.
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
SESSIONS = 512
"""Test sessions of each evaluation."""
LONG = ["steps=10000000", "eval_every=100000", "save_every=20000"]
WARM = [
    *LONG, "suite=mixed", "clone=24000", "clone_epochs=5", "clone_rate=1.5e-3", "learning_rate=2e-4", "n_steps=128",
    "batch_size=512", "target_kl=0.05",
]  # fmt: skip
SCRATCH = [*LONG, "learning_rate=1e-3", "ent_coef=0.005", "gamma=0"]


def measure(out: Path, seeds: Sequence[int], minutes: float) -> dict[str, Any]:
    """Trains and evaluates; figures by name, one value a seed."""
    out.mkdir(parents=True, exist_ok=True)
    suite = out / "backgrounds.yaml"
    suite.write_text(BACKGROUNDS, encoding="utf-8")
    found: dict[str, list[float]] = {}

    def keep(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for seed in seeds:
        run = ["train", "agent=maskable_ppo", f"seed={seed}", f"max_seconds={60 * minutes}"]
        warm, scratch = out / f"mixed_{seed}", out / f"backgrounds_{seed}"
        _command([*run, *WARM, f"out={warm}"])
        trained, cloned = (_scores(folder, "mixed", out / name) for folder, name in (
            (warm, f"played_{seed}"), (warm / "clone", f"played_clone_{seed}"),
        ))  # fmt: skip
        keep("turn-1 IF, PPO after the clone", trained["instruction_following"][0])
        keep("turn-1 IF, the clone", cloned["instruction_following"][0])
        keep("turn-3 GA, PPO after the clone", trained["global_awareness"][2])
        keep("turn-3 GA, the clone", cloned["global_awareness"][2])
        keep("turn-3 GA, difference", trained["global_awareness"][2] - cloned["global_awareness"][2])
        _command([*run, *SCRATCH, f"suite={suite}", f"out={scratch}"])
        from_nothing = _scores(scratch, str(suite), out / f"played_backgrounds_{seed}")["instruction_following"][0]
        keep("IF on backgrounds, PPO from nothing", from_nothing)
        keep("IF on backgrounds, random operations", random_operations(str(suite), seed))
        keep("IF on backgrounds, difference", from_nothing - found["IF on backgrounds, random operations"][-1])
    figures = {name: {"mean": float(np.mean(v)), "interval": interval(v), "seeds": v} for name, v in found.items()}
    return {"figures": figures, "minutes": minutes, "load": os.getloadavg(), "cores": len(os.sched_getaffinity(0))}


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
    parser.add_argument("--minutes", type=float, default=10.0)
    chosen = parser.parse_args()
    result = measure(chosen.out, range(chosen.seeds), chosen.minutes)
    (chosen.out / "figures.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, figure in result["figures"].items():
        low, high = figure["interval"]
        print(f"{name:40} {figure['mean']:.3f} [{low:.3f}, {high:.3f}]")
