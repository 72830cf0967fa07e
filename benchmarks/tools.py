"""`editenv bench tools`: steps a second of the batched tools environment beside SB3's ways to play single ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from editenv.agents.sb3.vec_env import ToolsVecEnv
from editenv.build import make_tools_vector_env


def bench_tools(
    num_envs: int = 16, steps: int = 100, repeats: int = 5, suite: str = "mixed", tokens: int = 32, seed: int = 0
) -> dict[str, Any]:
    """Play sessions by random operations, masks asked for in each step as MaskablePPO does, one kind after the other.

    Args:
        num_envs: sessions side by side; `SubprocVecEnv` has a process for each.
        steps: of all sessions, a repeat.
        repeats: how often to measure each kind, in turn, so that all see the same load.
        suite, tokens: of the environments.
        seed: of the sessions and the operations.

    Returns:
        Turns a second by kind, medians over the repeats: `batched` (with the process that draws ahead), `alone`
        (without it), `subproc`, `dummy`; turns a second of processor time, all processes together, under the
        same names with `_cpu`; `ratio`, of the faster batched one to subproc, and `ratio_cpu`; `load`, the
        machine's load average over a minute before and after; `cores`.
    """
    single = partial(gym.make, "editenv:MICEEditTools-v0", suite=suite, tokens=tokens)
    batch = partial(make_tools_vector_env, num_envs=num_envs, suite=suite, tokens=tokens)
    before = os.getloadavg()[0]
    kinds: dict[str, VecEnv] = {
        "batched": ToolsVecEnv(batch(draw_ahead=True)),
        "alone": ToolsVecEnv(batch()),
        "subproc": make_vec_env(single, num_envs, vec_env_cls=SubprocVecEnv),
        "dummy": make_vec_env(single, num_envs, vec_env_cls=DummyVecEnv),
    }
    rng = np.random.default_rng(seed)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    try:
        for env in kinds.values():
            env.seed(seed)
            env.reset()
        # The first round fills caches and is not counted.
        for repeat in range(repeats + 1):
            for name, env in kinds.items():
                played = _timed(env, steps if repeat else 10, rng)
                times[name] += [played] if repeat else []
    finally:
        for env in kinds.values():
            env.close()
    turns = steps * num_envs
    figures = {name: turns / median(wall for wall, _ in taken) for name, taken in times.items()}
    figures |= {f"{name}_cpu": turns / median(cpu for _, cpu in taken) for name, taken in times.items()}
    load = {"before": before, "after": os.getloadavg()[0]}
    for end in ("", "_cpu"):
        figures[f"ratio{end}"] = max(figures[f"batched{end}"], figures[f"alone{end}"]) / figures[f"subproc{end}"]
    cores = len(os.sched_getaffinity(0))
    return figures | {"load": load, "cores": cores, "num_envs": num_envs, "steps": steps, "repeats": repeats}


def tools_table(figures: Mapping[str, Any]) -> str:
    """The figures as lines of a number and what it is."""
    named = {
        "batched": "the batched environment, sessions drawn ahead",
        "alone": "the batched environment in one process",
        "subproc": f"SubprocVecEnv of {figures['num_envs']} single ones",
        "dummy": f"DummyVecEnv of {figures['num_envs']} single ones",
    }
    lines = [
        f"{figures[name]:8,.0f} turns a second, {figures[f'{name}_cpu']:7,.0f} of processor time: {what}"
        for name, what in named.items()
    ]
    load = figures["load"]
    lines.append(f"{figures['ratio']:8.1f} times SubprocVecEnv, {figures['ratio_cpu']:.1f} of processor time")
    lines.append(f"load {load['before']:.1f} before, {load['after']:.1f} after, on {figures['cores']} cores")
    return "\n".join(lines)


def _timed(env: VecEnv, steps: int, rng: np.random.Generator) -> tuple[float, float]:
    """Seconds, and the processor's seconds of this process and its children, for steps of random operations."""
    sizes = env.get_attr("single_action_space" if isinstance(env, ToolsVecEnv) else "action_space")[0].nvec
    actions = rng.integers(0, sizes, (steps, env.num_envs, len(sizes)))
    workers = [process.pid for process in getattr(env, "processes", ())]
    if isinstance(env, ToolsVecEnv):
        workers += [pid] if (pid := getattr(env.envs.engine.world, "pid", None)) else []
    cpu, start = _processor_seconds(workers), perf_counter()
    for action in actions:
        env.env_method("action_masks")
        env.step(action)
    return perf_counter() - start, _processor_seconds(workers) - cpu


def _processor_seconds(workers: list[int]) -> float:
    """Of this process and others that are running."""
    own = os.times()
    ticks = 0
    for pid in workers:
        # proc(5): utime and stime are fields 14 and 15; the name before them may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return own.user + own.system + ticks / os.sysconf("SC_CLK_TCK")
