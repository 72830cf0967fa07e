"""`editenv evaluate`: plays sessions with a policy, reports the scores of each turn, and keeps them for pairing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from editenv.agents.baselines import POLICIES
from editenv.agents.episodes import NAMES, play_waves, shares, unscored_turns, write_filmstrip
from editenv.agents.settings import GenerationSettings
from editenv.agents.stats import Summary, TurnScores, summarise
from editenv.agents.tables import turn_table
from editenv.agents.waves import RECORDS, CountsSince, Waves, kept_waves
from editenv.build import make_vector_env
from editenv.configs.schema import EvaluateConfig, PlayConfig
from editenv.files import atomic_write, atomic_write_text
from editenv.protocols import Policy
from editenv.records import SessionRecord, read_records, read_sessions_file
from editenv.registry import build, load_class
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.records.export import published_keys

_REASONS_SHOWN = 5
SESSIONS = 256
"""Sessions of an evaluation that names no number."""
NO_JUDGE = (
    "No scores: a judge is missing for these pictures; scorer=judge asks a vision-language model. What "
    "`editenv export` wrote is scored exactly."
)
MODEL_SETTINGS = [
    "model", "intent", "image", "intent_form", "intent_from_turn", "max_intent_tokens", "temperature",
    "steps", "shift", "context", "text_guidance", "image_guidance", "guidance_renorm", "guidance_renorm_min",
    "guidance_low", "guidance_high", "prompts", "question",
]  # fmt: skip
"""Settings that say something where policy=model alone."""
MODEL = {"model": "editenv.agents.editor:editor_policy"}
"""The policies that are trained, in the form of POLICIES; called with the environments and more."""
RUNS = {
    "policy.json": "editenv.agents.sb3.policy:SB3Policy",
    "tool_agent.json": "editenv.agents.tool_agent.policy:ToolPolicy",
}
"""Policies by the file that runs of `train agent=...` leave; `policy=` takes the run's folder."""
_BESIDE = ("threads", "max_unscored", "filmstrip")
"""Settings that decide no score; where a server is and how patiently it is asked does not either."""


@dataclass(frozen=True)
class Evaluation:
    """What came out of sessions, which lie in `folder`."""

    folder: Path
    lines: list[dict[str, Any]]  # of scores.jsonl, one a session, in order
    facts: dict[str, Any]  # JSON values: the settings, versions, seconds, and what was counted

    @cached_property
    def scores(self) -> TurnScores:
        """By name, session and turn."""
        return {name: [line[name] for line in self.lines] for name in NAMES}

    @cached_property
    def summary(self) -> Summary:
        """Means a turn by score's name, with their intervals."""
        return summarise(self.scores)

    def records(self) -> Iterator[SessionRecord]:
        """The sessions with their pictures, where `save_images` kept them."""
        return read_records(self.folder / RECORDS)

    def to_json(self) -> dict[str, Any]:
        """Facts and summary as JSON values."""
        return self.facts | self.summary


def main(config: EvaluateConfig) -> int:
    """`editenv evaluate`; the exit status is 1 where more turns than `max_unscored` have no score."""
    return status(evaluate(config), config.max_unscored)


def status(evaluation: Evaluation, most: float) -> int:
    """The exit status; says why it is 1."""
    share = evaluation.facts["unscored"]["share"]
    if share > most:
        print(f"{share:.1%} of turns are unscored, more than max_unscored={most:g}")
    return int(share > most)


def evaluate(config: EvaluateConfig) -> Evaluation:
    """`run_evaluation` that prints its table."""
    name = agent_name(config)
    evaluation = run_evaluation(config, f"evaluating {name}")
    print_evaluation(evaluation, f"{name} on {config.sessions_file or f'{config.suite}, {config.split}'}")
    return evaluation


def run_evaluation(config: EvaluateConfig, progress: str | None = None) -> Evaluation:
    """Plays sessions 0, 1, ... of the seed; the same call goes on where it was stopped.

    Writes scores.jsonl and records a wave at a time, then summary.json, and filmstrip.png of the first sessions of the
    first wave. An evaluation that has ended is read, not played again.

    Args:
        progress: what to print while it plays; None prints nothing.

    Raises:
        ValueError: a setting is not in its range or another one than that the folder's scores were made with, or
            the policy's answers are not in the action space.
        OSError: `out` cannot be written.
    """
    count = session_count(config)
    # Waves of nearly one size: a row without a session of its own costs as much as another.
    envs = build_envs(config, -(-count // -(-count // config.num_envs)))
    policy, out = build_policy(config, envs), Path(config.out)
    deciding = {"sessions": count, "versions": envs.engine.versions()}
    with kept_waves(out, config, _BESIDE, deciding, config.save_images) as waves:
        counting = CountsSince(policy=policy, user=envs.engine.user, scorer=envs.engine.scorer)
        published = partial(published_keys, envs.engine.world) if config.save_images else None
        tell_kept(waves, count, progress)
        left, start = range(len(waves.lines), count), perf_counter()
        for sessions in play_waves(envs, policy, left, config.seed, progress, config.attempt) if left else ():
            if config.filmstrip and not waves.lines:
                shown = sessions[: config.filmstrip]
                atomic_write(out / "filmstrip.png", partial(write_filmstrip, shown))
            waves.add(sessions, perf_counter() - start, counting.take(), published)
            start = perf_counter()
        facts = described(config) | {"versions": waves.lines[0]["versions"]}
        return finished(out, waves, facts)


def tell_kept(waves: Waves, count: int, progress: str | None) -> None:
    """Says where a command goes on."""
    if progress and waves.lines:
        left = "nothing is played again" if len(waves.lines) == count else "going on from there"
        print(f"{waves.out} holds {len(waves.lines)} of {count} sessions: {left}", flush=True)


def finished(out: Path, waves: Waves, facts: dict[str, Any]) -> Evaluation:
    """Writes summary.json of all waves."""
    facts |= {"seconds": waves.seconds, "unscored": unscored_turns(waves.lines)}
    facts |= shares(waves.counts.get("policy", {}))
    facts |= {f"{who}_counts": shares(waves.counts[who]) for who in ("user", "scorer") if who in waves.counts}
    evaluation = Evaluation(out, waves.lines, facts)
    atomic_write_text(out / "summary.json", json.dumps(evaluation.to_json(), indent=2) + "\n")
    return evaluation


def described(config: PlayConfig) -> dict[str, Any]:
    """What a summary says of the settings; the model's only where a model plays."""
    names = ["policy", "suite", "split", "seed", "sessions_file", "reward_weights"]
    names += MODEL_SETTINGS if config.policy == "model" else ["policy_settings"]
    names += ["model"] if config.policy == "diffusers" else []
    known = {name: getattr(config, name) for name in names}
    if config.sessions_file is not None:
        known["suite"] = None  # the file says which sessions these are
    parts = {
        name: {"kind": part.kind, **part.settings} for name, part in (("user", config.user), ("scorer", config.scorer))
    }
    return known | parts


def print_evaluation(evaluation: Evaluation, title: str) -> None:
    """Prints the table of turns, and what has no score and why."""
    console = Console()
    console.print(turn_table(evaluation.summary, title))
    if all(line["versions"]["scorer"] is None for line in evaluation.lines):
        console.print(NO_JUDGE)
    print_failures(evaluation.facts)


def print_failures(facts: Mapping[str, Any]) -> None:
    """Prints what judge, policy and user could not do; `failed_turns` and `WHO_counts` need not be there."""
    unscored, console = facts["unscored"], Console()
    if unscored["turns"]:
        share = f"{unscored['turns']} of {unscored['of']} turns are unscored ({unscored['share']:.1%}):"
        console.print(share, highlight=False)
        for reason, count in list(unscored["reasons"].items())[:_REASONS_SHOWN]:
            console.print(f"  {count} x {reason}", markup=False, highlight=False)
    if facts.get("failed_turns"):
        print("edits that failed, where the picture stayed as it was: {failed_turns} of {turns}".format(**facts))
    for who in ("user", "scorer"):
        if f"{who}_counts" in facts:
            counted = ", ".join(f"{name} {value:g}" for name, value in facts[f"{who}_counts"].items())
            console.print(f"{who}: {counted}", highlight=False)


def agent_name(config: PlayConfig) -> str:
    """The agent in words: "oracle", "model=practice, intent=oracle"."""
    if config.policy == "diffusers":
        return f"diffusers, model={config.model}"
    if config.policy != "model":
        return config.policy
    usual = {"intent": "model", "image": "model", "intent_form": "free"}
    named = [f"{name}={getattr(config, name)}" for name, value in usual.items() if getattr(config, name) != value]
    return ", ".join([f"model={config.model}", *named])


def session_count(config: EvaluateConfig) -> int:
    """How many sessions are played: what was asked for, else SESSIONS or all that a file has."""
    if config.sessions is not None or config.sessions_file is None:
        return config.sessions or SESSIONS
    return len(read_sessions_file(config.sessions_file).lines)


def build_envs(config: PlayConfig, num_envs: int) -> MICEEditVectorEnv:
    """The environments, whose ended sessions rest; ValueError where a setting is not known."""
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
        name, settings = config.policy, config.policy_settings
        for card, played in RUNS.items():
            if Path(name, card).is_file():
                name, settings = played, {**settings, "run": name}
        if name == "diffusers":
            from editenv.agents.distributed import use_threads

            use_threads(config.threads)
            settings = {"model": config.model, **settings}
        policy: Policy[Any] = build("policy", name, MODEL | POLICIES, settings, envs)
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
    settings = GenerationSettings(**{one.name: getattr(config, one.name) for one in fields(GenerationSettings)})
    model: Policy[Any] = make(envs, config.model, config.intent, config.image, settings, config.intent_form)
    return model
