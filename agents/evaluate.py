"""Evaluation: plays sessions with a policy, reports the scores of each turn, and keeps them for pairing."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from editenv.agents.baselines import POLICIES
from editenv.agents.episodes import (
    Counting,
    is_scored,
    run_episodes,
    turn_scores,
    unscored_turns,
    write_filmstrip,
    write_lines,
)
from editenv.agents.settings import GenerationSettings
from editenv.agents.stats import Summary, TurnScores, summarise
from editenv.agents.tables import turn_table
from editenv.build import make_vector_env
from editenv.configs.schema import EvaluateConfig, PlayConfig
from editenv.protocols import Policy
from editenv.registry import build, load_class
from editenv.session import Session
from editenv.vector import MICEEditVectorEnv

_REASONS_SHOWN = 5
SESSIONS = 256
"""Sessions of an evaluation that names no number."""

NO_JUDGE = (
    "No scores: a judge is missing for these pictures; scorer=judge asks a vision-language model. What "
    "`editenv export` wrote is scored exactly."
)

MODEL_SETTINGS = [
    "model", "intent", "image", "intent_form", "intent_from_turn", "max_intent_tokens", "temperature",
    "steps", "shift", "context", "text_guidance", "image_guidance",
]  # fmt: skip
"""Settings that say something where policy=model alone."""

MODEL = {"model": "editenv.agents.editor:editor_policy"}
"""The policies that are trained, in the form of POLICIES; called with the environments and more."""


@dataclass(frozen=True)
class Evaluation:
    """Sessions that were played, and what came out.

    Attributes:
        sessions: in order.
        scores: scores[name][session][turn].
        summary: means a turn by score's name, with their intervals.
        facts: JSON values: the settings, versions, seconds, and what the policy counted.
    """

    sessions: list[Session]
    scores: TurnScores
    summary: Summary
    facts: dict[str, Any]

    @property
    def scored(self) -> bool:
        """Whether there was a judge."""
        return is_scored(self.sessions)

    def to_json(self) -> dict[str, Any]:
        """Facts and summary as JSON values."""
        return self.facts | self.summary


def main(config: EvaluateConfig) -> int:
    """`editenv evaluate`; the exit status is 1 where more turns than `max_unscored` have no score."""
    unscored = evaluate(config).facts["unscored"]
    if unscored["share"] <= config.max_unscored:
        return 0
    print(f"{unscored['share']:.1%} of turns are unscored, more than max_unscored={config.max_unscored:g}")
    return 1


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Prints the table and writes summary.json, scores.jsonl and filmstrip.png.

    Raises:
        ValueError: a setting is not in its range, or the policy's answers are not in the action space.
        OSError: `out` cannot be written.
    """
    name = agent_name(config)
    evaluation = run_evaluation(config, f"evaluating {name}")
    write_evaluation(evaluation, Path(config.out), config.filmstrip)
    print_evaluation(evaluation, f"{name} on {config.sessions_file or f'{config.suite}, {config.split}'}")
    return evaluation


def run_evaluation(config: EvaluateConfig, progress: str | None = None) -> Evaluation:
    """Plays sessions 0, 1, ... of the seed and summarises them; makes the folder `out`, and prints progress.

    Raises:
        ValueError: a setting is not in its range, or the policy's answers are not in the action space.
        OSError: `out` cannot be made.
    """
    count = session_count(config)
    # Waves of nearly one size: a row without a session of its own costs as much as another.
    waves = -(-count // config.num_envs)
    envs = build_envs(config, -(-count // waves))
    policy = build_policy(config, envs)
    # A folder that cannot be written is told before anything is played, wrong settings leave none behind.
    Path(config.out).mkdir(parents=True, exist_ok=True)
    start = perf_counter()
    sessions = run_episodes(envs, policy, range(count), config.seed, progress)
    seconds = perf_counter() - start
    scores = turn_scores(sessions)
    facts = described(config, sessions) | {"seconds": seconds, "unscored": unscored_turns(sessions)}
    if isinstance(policy, Counting):
        facts |= policy.counts()
    if isinstance(envs.engine.user, Counting):
        facts["user_counts"] = envs.engine.user.counts()
    return Evaluation(sessions, scores, summarise(scores), facts)


def described(config: PlayConfig, sessions: list[Session]) -> dict[str, Any]:
    """What a summary says of the settings; the model's only where a model plays."""
    names = ["policy", "suite", "split", "seed", "sessions_file", "reward_weights"]
    names += MODEL_SETTINGS if config.policy == "model" else ["policy_settings"]
    user, scorer = ({"kind": part.kind, **part.settings} for part in (config.user, config.scorer))
    known = {name: getattr(config, name) for name in names}
    if config.sessions_file is not None:
        # The file says which sessions these are.
        known["suite"] = None
    return known | {"user": user, "scorer": scorer, "versions": dict(sessions[0].versions)}


def write_evaluation(evaluation: Evaluation, folder: Path, filmstrip: int) -> None:
    """Writes summary.json, scores.jsonl (one session a line) and a filmstrip of the first sessions."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(evaluation.to_json(), indent=2) + "\n", encoding="utf-8")
    write_lines(evaluation.sessions, folder / "scores.jsonl")
    if filmstrip > 0:
        write_filmstrip(evaluation.sessions[:filmstrip], folder / "filmstrip.png")


def print_evaluation(evaluation: Evaluation, title: str) -> None:
    """Prints the table of turns, and what has no score and why."""
    console = Console()
    console.print(turn_table(evaluation.summary, title))
    if not evaluation.scored:
        console.print(NO_JUDGE)
    unscored = evaluation.facts["unscored"]
    if unscored["turns"]:
        share = f"{unscored['turns']} of {unscored['of']} turns are unscored ({unscored['share']:.1%}):"
        console.print(share, highlight=False)
        for reason, count in list(unscored["reasons"].items())[:_REASONS_SHOWN]:
            console.print(f"  {count} x {reason}", markup=False, highlight=False)
    if "user_counts" in evaluation.facts:
        counted = ", ".join(f"{name} {value:g}" for name, value in evaluation.facts["user_counts"].items())
        console.print(f"user: {counted}", highlight=False)


def agent_name(config: PlayConfig) -> str:
    """The agent in words: "oracle", "model=practice, intent=oracle"."""
    if config.policy != "model":
        return config.policy
    parts = {"intent": config.intent, "image": config.image}
    named = [f"{name}={value}" for name, value in parts.items() if value != "model"]
    form = config.intent_form
    return ", ".join([f"model={config.model}", *named, *([f"intent_form={form}"] if form != "free" else [])])


def session_count(config: EvaluateConfig) -> int:
    """How many sessions are played: what was asked for, else SESSIONS or all that a file has."""
    if config.sessions is not None:
        return config.sessions
    if config.sessions_file is None:
        return SESSIONS
    from editenv.records import read_sessions_file

    return len(read_sessions_file(config.sessions_file).lines)


def build_envs(config: PlayConfig, num_envs: int) -> MICEEditVectorEnv:
    """The environments, whose ended sessions rest.

    Raises:
        ValueError: a setting is not known.
    """
    with warnings.catch_warnings():
        # Whoever reads a table is told below it that there are no scores.
        warnings.filterwarnings("ignore", message=".*(no scorer is configured|a judge is missing)")
        return make_vector_env(num_envs=num_envs, autoreset_mode="Disabled", **config.env())


def build_policy(config: PlayConfig, envs: MICEEditVectorEnv) -> Policy[Any]:
    """The policy by name, with the model's settings where a model plays.

    Raises:
        ValueError: a name or a setting is not known.
    """
    if config.policy not in MODEL:
        policy: Policy[Any] = build("policy", config.policy, MODEL | POLICIES, config.policy_settings, envs)
        for method in ("start", "act"):
            if not callable(getattr(policy, method, None)):
                raise ValueError(f"policy {config.policy!r} has no method {method!r}, expected start and act")
        return policy
    if config.policy_settings:
        raise ValueError(
            f"policy_settings are {config.policy_settings}, expected none with policy=model, whose settings "
            f"are {', '.join(MODEL_SETTINGS)}"
        )
    make = load_class("policy", config.policy, MODEL)
    from transformers.utils import logging

    from editenv.agents.distributed import use_threads

    use_threads(config.threads)
    # Loading a small model is no work worth a progress bar.
    logging.disable_progress_bar()
    model: Policy[Any] = make(
        envs, config.model, config.intent, config.image, turn_settings(config), config.intent_form
    )
    return model


def turn_settings(config: PlayConfig) -> GenerationSettings:
    """The settings of a model's turn."""
    return GenerationSettings(**{one.name: getattr(config, one.name) for one in fields(GenerationSettings)})
