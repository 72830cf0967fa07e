"""The card of a shipped checkpoint: what it was taught, and its measured scores."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from editenv.agents.editor import EditorPolicy, OracleWriter, with_form
from editenv.agents.episodes import run_episodes
from editenv.agents.settings import GenerationSettings
from editenv.agents.stats import known_mean
from editenv.agents.unified.autoencoder import CellAutoencoder
from editenv.agents.unified.policy import UnifiedPolicy
from editenv.build import make_vector_env
from editenv.session import Session
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.world import StudioWorld

ATTEMPTS = 6
"""Attempts k of pass@k, as many as rollouts in a group."""

_SCORES = ("instruction_following", "content_consistency", "global_awareness", "rule_kept")
_NOISE_LEVELS = (0.0, 0.05, 0.1, 0.2)
_LONGEST_INTENT = 40


def _envs(checkpoint: UnifiedPolicy, grid: int, suite: str, count: int) -> MICEEditVectorEnv:
    size = checkpoint.autoencoder.config.token_side * grid
    return make_vector_env(num_envs=count, suite=suite, split="test", size=size, grid=grid, autoreset_mode="Disabled")


def mixed_scores(checkpoint: UnifiedPolicy, grid: int, sessions: int, seed: int, form: str) -> dict[str, Any]:
    """Scores a turn on test sessions of `mixed`: greedy, with right intents, and the best of 6 attempts."""
    envs = _envs(checkpoint, grid, "mixed", min(sessions, 256))
    greedy = with_form(GenerationSettings(temperature=0.0, steps=8), form)
    given = EditorPolicy(checkpoint, greedy, OracleWriter(envs, form))
    sampling = EditorPolicy(checkpoint, replace(greedy, temperature=0.9))

    def played(policy: EditorPolicy, name: str, attempt: int = 0) -> list[Session]:
        return run_episodes(envs, policy, range(sessions), seed, name, attempt=attempt)

    attempts = [played(sampling, f"attempt {k + 1}", k) for k in range(ATTEMPTS)]
    guided = [played(given, f"right intents {k + 1}", k) for k in range(ATTEMPTS)]
    return {
        "suite": "mixed",
        "split": "test",
        "sessions": sessions,
        "seed": seed,
        "greedy": _best_by_turn([played(EditorPolicy(checkpoint, greedy), "greedy")]),
        "right_intents": _best_by_turn(guided[:1]),
        f"pass@{ATTEMPTS}": _best_by_turn(attempts),
        f"right_intents_pass@{ATTEMPTS}": _best_by_turn(guided),
    }


def suite_scores(checkpoint: UnifiedPolicy, grid: int, sessions: int, seed: int, form: str) -> dict[str, Any]:
    """Scores on test sessions of every suite (fixed scripts), with the likeliest and with right intents.

    Returns:
        "sessions" (of each suite); "suites": by suite, "greedy" and "right_intents": means of IF and CC over
        all turns, and GA of the last one; "tasks": by task, "turns" and the mean IF of both over those turns of
        all suites.
    """
    settings = GenerationSettings(max_intent_tokens=_LONGEST_INTENT, temperature=0.0, steps=8)
    settings = with_form(settings, form)
    suites: dict[str, Any] = defaultdict(dict)
    followed: dict[str, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for suite in suite_names():
        envs = _envs(checkpoint, grid, suite, sessions)
        for name, writer in {"greedy": None, "right_intents": OracleWriter(envs, form)}.items():
            policy = EditorPolicy(checkpoint, settings, writer)
            played = run_episodes(envs, policy, range(sessions), seed, f"{suite}, {name}")
            scores = [score for session in played for score in session.scores]
            suites[suite][name] = {
                "instruction_following": _rounded_mean(score.instruction_following for score in scores),
                "content_consistency": _rounded_mean(score.content_consistency for score in scores),
                "last_global_awareness": _rounded_mean(session.scores[-1].global_awareness for session in played),
            }
            for session in played:
                for turn, score in zip(session.spec.turns, session.scores, strict=True):
                    followed[turn.edit.task][name].append(score.instruction_following)
    tasks = {
        task: {"turns": len(by["greedy"])} | {name: _rounded_mean(values) for name, values in by.items()}
        for task, by in sorted(followed.items())
    }
    return {"sessions": sessions, "suites": dict(suites), "tasks": tasks}


def _best_by_turn(attempts: Sequence[Sequence[Session]]) -> dict[str, list[float | None]]:
    """Means by turn of each session's best attempt, score by score; None where a score applies nowhere."""

    def mean_of_best(name: str, turn: int) -> float | None:
        tries = ([getattr(session.scores[turn], name) for session in same] for same in zip(*attempts, strict=True))
        return _rounded_mean(max((v for v in same if v is not None), default=None) for same in tries)

    turns = range(len(attempts[0][0].scores))
    return {name: [mean_of_best(name, turn) for turn in turns] for name in _SCORES}


def _rounded_mean(values: Iterable[float | None]) -> float | None:
    mean = known_mean(values)
    return None if mean is None else round(mean, 4)


@torch.no_grad()
def round_trip(autoencoder: CellAutoencoder, size: int, grid: int, sessions: int = 512) -> dict[str, float]:
    """Share of test scenes that parse exactly after encoding and decoding, by the latents' noise."""
    world = StudioWorld("mixed", size, grid)
    specs = [world.session("test", 0, index) for index in range(sessions)]
    latents = autoencoder.encode(torch.from_numpy(np.stack([world.picture(spec) for spec in specs])))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    shares = {}
    for level in _NOISE_LEVELS:
        read = parse(list(autoencoder.decode(latents + level * noise).numpy()), grid)
        shares[str(level)] = sum(a == spec.scene for a, spec in zip(read, specs, strict=True)) / sessions
    return shares


def write_card(card: dict[str, Any], folder: Path) -> None:
    """Write card.json, and a model's scores as tables in card.md."""
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    if "scores" in card:
        (folder / "card.md").write_text(_markdown(card), encoding="utf-8")


def _markdown(card: dict[str, Any]) -> str:
    scores, everywhere = card["scores"], card["everywhere"]
    means = {name.replace("_", " "): list(by.values()) for name, by in scores.items() if isinstance(by, dict)}
    suites = {
        name: [*by["greedy"].values(), *by["right_intents"].values()] for name, by in everywhere["suites"].items()
    }
    for values in suites.values():
        del values[4]  # CC with right intents
    tasks = {name: list(by.values()) for name, by in everywhere["tasks"].items()}
    start = f"starting from `{card['start']}`" if card["start"] else "from random weights"
    lines = [
        f"# {card['name']}",
        "",
        f"Made by `editenv pretrain recipe={card['name']}`, seed {card['seed']}, "
        f"in {card['seconds']} seconds, {start}.",
        "",
        f"**Taught:** {card['taught']}",
        "",
        f"**Not taught:** {card['not_taught']}",
        "",
        f"{scores['sessions']} test sessions of `{scores['suite']}`, seed {scores['seed']}, turns 1 / 2 / 3:",
        *_table("| | IF | CC | GA | rules kept |", means),
        f"By suite, {everywhere['sessions']} test sessions each (greedy, and with right intents):",
        *_table(
            "| suite | IF | CC | GA of the last turn | IF, right intents | GA of the last turn, right intents |",
            suites,
        ),
        "By task, over the turns of all suites (right is, in some, to leave the picture alone):",
        *_table("| task | turns | IF | IF, right intents |", tasks),
    ]
    return "\n".join(lines)


def _table(head: str, rows: dict[str, list[Any]]) -> list[str]:
    def cell(value: Any) -> str:
        if isinstance(value, list):
            return " / ".join(map(cell, value))
        return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}"

    body = [f"| {name} | {' | '.join(map(cell, values))} |" for name, values in rows.items()]
    return ["", head, "|---" * (head.count("|") - 1) + "|", *body, ""]
