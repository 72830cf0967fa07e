"""`editenv train agent=ppo|a2c|maskable_ppo`: Stable-Baselines3's algorithms, resumed where they stopped."""

from __future__ import annotations

import json
import random
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback
from stable_baselines3.common.logger import Logger, make_output_format
from stable_baselines3.common.vec_env import VecTransposeImage

from editenv.agents.baselines.oracle import CLONE_SEED
from editenv.agents.distributed import use_threads
from editenv.agents.resume import (
    begin_checkpoint,
    deciding_settings,
    flat_settings,
    go_on,
    keep_newest,
    mark_complete,
    note_first,
    run_lock,
)
from editenv.agents.sb3.clone import clone, oracle_turns
from editenv.agents.sb3.policy import ALGORITHMS, Card, save_agent
from editenv.agents.sb3.vec_env import ToolsVecEnv
from editenv.build import make_tools_vector_env
from editenv.configs.schema import TrainSB3Config
from editenv.files import atomic_write_text
from editenv.registry import build
from editenv.settings import check_settings

SHARED = ("learning_rate", "n_steps", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm")
PPO_ALONE = ("batch_size", "n_epochs", "clip_range", "target_kl")
BESIDE = (
    "out", "steps", "max_seconds", "draw_ahead", "save_every", "eval_every", "eval_sessions", "tensorboard",
    "callbacks", "threads",
)  # fmt: skip
"""Settings that decide nothing of what is learnt."""
MODEL, STATE, BEST = "model.zip", "state.pt", "best"
EVALUATED = (
    "best_mean_reward", "last_mean_reward", "evaluations_timesteps", "evaluations_results", "evaluations_length",
    "evaluations_successes",
)  # fmt: skip
"""What SB3's EvalCallback remembers."""


def train(config: TrainSB3Config) -> None:
    """Trains; writes checkpoints, model.zip, the agent that `evaluate policy=OUT` plays, logs and summary.json.

    The same call again goes on from the newest complete checkpoint in `config.out`.

    Raises:
        ValueError: a setting does not fit.
    """
    check_settings(config)
    callbacks = checked(config)
    out = Path(config.out)
    use_threads(config.threads)
    with run_lock(out):
        checkpoint = go_on(out, deciding_settings(config, BESIDE), config.steps + config.n_steps * config.num_envs)
        env = make_env(config, config.split, config.num_envs, config.draw_ahead)
        held_out = make_env(config, "validation", min(config.num_envs, config.eval_sessions))
        # The same sessions every time.
        held_out.restart = config.seed
        try:
            run = _Run(config, env, checkpoint)
            run.learn(held_out, callbacks)
            run.write()
        finally:
            env.close()
            held_out.close()


def checked(config: TrainSB3Config) -> list[BaseCallback]:
    """Holds settings to each other; returns the callbacks from outside.

    Raises:
        ValueError: names the setting, what came and what is expected.
    """
    config.check_judged()
    if config.width % 4:
        raise ValueError(f"width is {config.width}, expected a multiple of 4")
    rollout = config.n_steps * config.num_envs
    if config.agent == "a2c":
        for name in PPO_ALONE:
            if getattr(config, name) != getattr(TrainSB3Config, name):
                raise ValueError(
                    f"{name} is {getattr(config, name)}, expected none with agent=a2c, which has no such setting"
                )
    elif rollout % config.batch_size:
        raise ValueError(f"batch_size is {config.batch_size}, expected a divisor of n_steps * num_envs = {rollout}")
    if config.tensorboard and find_spec("tensorboard") is None:
        raise ValueError("tensorboard is true, but tensorboard is not installed: pip install tensorboard")
    callbacks = [build("callback", place, {}, None) for place in config.callbacks]
    for place, callback in zip(config.callbacks, callbacks, strict=True):
        if not isinstance(callback, BaseCallback):
            raise ValueError(f"callback {place!r} made a {type(callback).__name__}, expected a BaseCallback of SB3")
    return callbacks


def make_env(config: TrainSB3Config, split: str, num_envs: int, draw_ahead: bool = False) -> ToolsVecEnv:
    """Sessions of a split side by side."""
    settings = config.env() | {"split": split, "tokens": config.tokens, "draw_ahead": draw_ahead}
    return ToolsVecEnv(make_tools_vector_env(num_envs=num_envs, **settings))


def make_model(config: TrainSB3Config, env: ToolsVecEnv, card: Card) -> Any:
    """The algorithm with its settings."""
    names = SHARED if config.agent == "a2c" else SHARED + PPO_ALONE
    settings = {name: getattr(config, name) for name in names}
    with warnings.catch_warnings():
        # SB3 advises against a GPU where it sees no network of its own for pictures.
        warnings.filterwarnings("ignore", message="You are trying to run .* on the GPU")
        return ALGORITHMS[config.agent](
            "MultiInputPolicy", env, policy_kwargs=card.policy_kwargs(), seed=config.seed, **settings
        )


class _Run:
    """A training in its folder.

    Args:
        config: its settings.
        env: what is played.
        checkpoint: where it goes on; None begins, with cloning where asked for.
    """

    def __init__(self, config: TrainSB3Config, env: ToolsVecEnv, checkpoint: Path | None) -> None:
        self.config, self.out, self.env = config, Path(config.out), env
        self.started, self.processor_started = time.perf_counter(), time.process_time()
        world, tools = env.envs.engine.world, env.envs
        sizes: dict[str, int] = {name: getattr(config, name) for name in ("tokens", "width", "text_layers", "layers")}
        self.card = Card(
            agent=config.agent,
            max_turns=world.max_turns,
            grid=tools.grid,
            size=world.image_shape[0],
            parts=tuple(tools.parts.sizes),
            words=len(tools.words.words),
            **sizes,
        )
        self.state: dict[str, Any] | None = None
        self.cloned: dict[str, float] = {}
        self.curve: list[dict[str, float]] = []
        if checkpoint is None:
            self.model = make_model(config, env, self.card)
            if config.clone:
                self.cloned = self._clone()
                save_agent(self.out / "clone", self.card, self.model.policy)
        else:
            # SB3's own format, which pickles: a file that this run wrote itself.
            self.model = ALGORITHMS[config.agent].load(checkpoint / MODEL, env=env, force_reset=False)
            state = self.state = torch.load(checkpoint / STATE, weights_only=True)
            self.cloned, self.curve = state["cloned"], state["curve"]
            self.started -= state["seconds"]
            self.processor_started -= state["processor_seconds"]
        kinds = ["csv", *(["tensorboard"] if config.tensorboard else [])]
        # A file a start: SB3 begins its files anew.
        suffix = f"-{self.model.num_timesteps}" if self.model.num_timesteps else ""
        formats = [make_output_format(kind, str(self.out / ("" if kind == "csv" else kind)), suffix) for kind in kinds]
        self.model.set_logger(Logger(str(self.out), formats))

    @property
    def seconds(self) -> float:
        """That the run has taken, those of processes that were killed up to their checkpoints."""
        return time.perf_counter() - self.started

    @property
    def processor_seconds(self) -> float:
        """The same of this process's processor time, over all its threads; drawing ahead is another process."""
        return time.process_time() - self.processor_started

    @property
    def is_over(self) -> bool:
        """Whether its time is up."""
        return self.config.max_seconds is not None and self.seconds >= self.config.max_seconds

    def learn(self, held_out: ToolsVecEnv, callbacks: list[BaseCallback]) -> None:
        """Plays and learns what is left of the steps."""
        config, model = self.config, self.model
        left = config.steps - model.num_timesteps
        kind = MaskableEvalCallback if config.agent == "maskable_ppo" else EvalCallback
        self.evaluation = kind(
            VecTransposeImage(held_out),
            n_eval_episodes=config.eval_sessions,
            eval_freq=-(-config.eval_every // config.num_envs),
            log_path=str(self.out),
            callback_on_new_best=_SaveBest(self),
            verbose=0,
        )
        self.evaluation.n_calls = model.num_timesteps // config.num_envs
        if self.state is not None:
            for name, value in json.loads(self.state["evaluation"]).items():
                setattr(self.evaluation, name, value)
            self.env.set_states(self.state["sessions"])
            _set_rng(self.state["rng"])
        if left > 0 and not self.is_over:
            known = CallbackList([_Checkpoints(self), self.evaluation, _Progress(self), *callbacks])
            model.learn(left, callback=known, reset_num_timesteps=False, log_interval=1)

    def note(self) -> None:
        """A point of the learning curve: turns, optimiser steps, seconds, mean reward a turn of the last sessions."""
        ended = self.model.ep_info_buffer
        if ended and (not self.curve or self.curve[-1]["turns"] < self.model.num_timesteps):
            reward = sum(one["r"] for one in ended) / sum(one["l"] for one in ended)
            batches = self.config.n_steps * self.config.num_envs // getattr(self.model, "batch_size", 1)
            updates = self.model._n_updates * (batches if self.config.agent != "a2c" else 1)
            point = {"turns": self.model.num_timesteps, "updates": updates, "seconds": self.seconds}
            self.curve.append(point | {"reward": float(reward)})

    def save(self) -> None:
        """A checkpoint: SB3's own file, what it leaves out, and the agent as `evaluate` plays it."""
        folder = self.out / f"checkpoint-{self.model.num_timesteps}"
        begin_checkpoint(folder)
        self.model.save(folder / MODEL)
        state = {
            "sessions": self.env.get_states(),
            "rng": _rng(),
            "evaluation": json.dumps({name: getattr(self.evaluation, name) for name in EVALUATED}, default=_plain),
            "cloned": self.cloned,
            "curve": self.curve,
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
        }
        torch.save(state, folder / STATE)
        save_agent(folder, self.card, self.model.policy)
        mark_complete(folder, {"turns": self.model.num_timesteps})
        note_first(folder)
        keep_newest(self.out)

    def write(self) -> None:
        """What is left in the end."""
        seconds = self.seconds
        save_agent(self.out, self.card, self.model.policy)
        if self.config.eval_every and not (self.out / BEST).is_dir():
            # It ended before any evaluation.
            save_agent(self.out / BEST, self.card, self.model.policy)
        self.model.save(self.out / MODEL)
        played = dict(zip(self.evaluation.evaluations_timesteps, self.evaluation.evaluations_results, strict=True))
        means = {int(turns): float(np.mean(rewards)) for turns, rewards in played.items()}
        summary = {
            "config": flat_settings(self.config),
            "seed": self.config.seed,
            "turns": self.model.num_timesteps,
            "seconds": seconds,
            "processor_seconds": self.processor_seconds,
            "clone": self.cloned,
            "evaluations": means,
            "curve": self.curve,
        }
        atomic_write_text(self.out / "summary.json", json.dumps(summary, indent=2) + "\n")
        print(f"{self.model.num_timesteps} turns, {seconds:.0f} s: editenv evaluate policy={self.out}", flush=True)

    def _clone(self) -> dict[str, float]:
        """Learns what the oracle does in sessions of its own, which the agent does not play again."""
        config, started = self.config, time.perf_counter()
        lines = _Lines()
        lines.say(f"the oracle plays {config.clone} sessions")
        envs = make_env(config, config.split, 64, config.draw_ahead)
        try:
            turns = oracle_turns(envs.envs, config.clone, seed=CLONE_SEED + config.seed, gamma=config.gamma)
        finally:
            envs.close()
        loss = clone(
            self.model.policy,
            turns,
            envs.envs.parts,
            epochs=config.clone_epochs,
            batch=config.clone_batch,
            rate=config.clone_rate,
            max_grad_norm=config.max_grad_norm,
            seed=config.seed,
            told=lambda step, total, loss: lines.now_and_then(f"cloning: {step} of {total} steps, loss {loss:.3f}"),
        )
        seconds = time.perf_counter() - started
        lines.say(f"cloned {len(turns.actions)} turns in {seconds:.0f} s, loss {loss:.3f}")
        return {"turns": len(turns.actions), "loss": loss, "seconds": seconds}


def _rng() -> dict[str, Any]:
    """The state of all generators that SB3 draws from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    name, keys, *rest = np.random.get_state()
    numpy = (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest)
    return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": numpy, "python": random.getstate()}


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays as JSON knows them."""
    return value.tolist()


def _set_rng(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])


class _Checkpoints(BaseCallback):
    """Saves between two rollouts, where nothing that was played is lost: at the beginning and every `save_every`."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run, self.saved = run, run.model.num_timesteps if run.state is not None else -run.config.save_every

    def _on_rollout_start(self) -> None:
        self.run.note()
        if self.num_timesteps - self.saved >= self.run.config.save_every:
            self.saved = self.num_timesteps
            self.run.save()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.run.note()
        self.run.save()


class _SaveBest(BaseCallback):
    """Keeps the agent that held-out sessions liked best."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run = run

    def _on_step(self) -> bool:
        save_agent(self.run.out / BEST, self.run.card, self.model.policy)
        return True


class _Lines:
    """Lines of progress, at once on a terminal, in a pipe or in a file."""

    EVERY = 10.0
    """Seconds between two lines that come by themselves."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def say(self, text: str) -> None:
        """Prints a line."""
        print(text, flush=True)
        self.last = time.monotonic()

    def now_and_then(self, text: str) -> None:
        """Prints it if the last line is old enough."""
        if time.monotonic() - self.last >= self.EVERY:
            self.say(text)


class _Progress(BaseCallback):
    """Says how far the training is, and ends it when its time is up."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run, self.lines = run, _Lines()

    def _on_training_start(self) -> None:
        self.began, self.before = time.monotonic(), self.num_timesteps

    def _on_step(self) -> bool:
        rate = (self.num_timesteps - self.before) / max(1e-9, time.monotonic() - self.began)
        ended, right = self.model.ep_info_buffer, self.model.ep_success_buffer
        reward = np.mean([one["r"] for one in ended]) if ended else float("nan")
        success = np.mean(right) if right else float("nan")
        said = f"{self.num_timesteps} of {self.run.config.steps} turns, {rate:.0f} a second"
        self.lines.now_and_then(f"{said}; last sessions: reward {reward:.2f}, all right {success:.2f}")
        return not self.run.is_over
