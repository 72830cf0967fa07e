"""The card of a shipped checkpoint: what it was taught, and what it can do when it is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.policy import EditorPolicy, ModelPainter, ModelWriter, OracleWriter
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.episodes import run_episodes
from editenv.agents.pretrain.suitescores import rounded_mean
from editenv.agents.unified.autoencoder import CellAutoencoder
from editenv.build import make_vector_env
from editenv.session import Session
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.world import StudioWorld

ATTEMPTS = 6
"""Attempts k of pass@k, as many as rollouts in a group."""

_SCORES = ("instruction_following", "content_consistency", "global_awareness", "rule_kept")
_NOISE_LEVELS = (0.0, 0.05, 0.1, 0.2)


def card_scores(
    checkpoint: Checkpoint, size: int, grid: int, sessions: int, seed: int, form: str = "free"
) -> dict[str, Any]:
    """Scores a turn on test sessions of `mixed`: greedy, with right intents, and the best of 6 attempts."""
    envs = make_vector_env(
        num_envs=min(sessions, 256),
        suite="mixed",
        split="test",
        size=size,
        grid=grid,
        autoreset_mode="Disabled",
    )
    greedy = TurnSettings(intent_form=form)
    warm = replace(greedy, temperature=0.9)
    painter = ModelPainter(checkpoint, greedy)
    numbers = range(sessions)
    plain = EditorPolicy(ModelWriter(checkpoint, greedy), painter)
    given = EditorPolicy(OracleWriter(envs, form), painter)
    sampling = EditorPolicy(ModelWriter(checkpoint, warm), painter)
    attempts = [
        run_episodes(envs, sampling, numbers, seed, f"attempt {k + 1}", attempt=k) for k in range(ATTEMPTS)
    ]
    guided = [
        run_episodes(envs, given, numbers, seed, f"right intents {k + 1}", attempt=k) for k in range(ATTEMPTS)
    ]
    return {
        "suite": "mixed",
        "split": "test",
        "sessions": sessions,
        "seed": seed,
        "greedy": _means(run_episodes(envs, plain, numbers, seed, "greedy")),
        "right_intents": _means(guided[0]),
        f"pass@{ATTEMPTS}": _best(attempts),
        f"right_intents_pass@{ATTEMPTS}": _best(guided),
    }


@torch.no_grad()
def round_trip(autoencoder: CellAutoencoder, size: int, grid: int, sessions: int = 512) -> dict[str, float]:
    """Share of test scenes that parse exactly after encoding and decoding, by the latents' noise."""
    world = StudioWorld("mixed", size, grid)
    specs = [world.session("test", 0, index) for index in range(sessions)]
    latents = autoencoder.encode(torch.from_numpy(np.stack([world.picture(spec) for spec in specs])))
    shares = {}
    for level in _NOISE_LEVELS:
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        pictures = autoencoder.decode(latents + level * noise).numpy()
        read = parse(list(pictures), grid)
        shares[str(level)] = sum(a == spec.scene for a, spec in zip(read, specs, strict=True)) / sessions
    return shares


def write_card(card: dict[str, Any], folder: Path) -> None:
    """Writes card.json, and card.md for people."""
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(_markdown(card), encoding="utf-8")


def _markdown(card: dict[str, Any]) -> str:
    scores = card["scores"]
    lines = [
        f"# {card['name']}",
        "",
        f"Made by `editenv pretrain recipe={card['name']}`, seed {card['seed']}, in {card['seconds']} seconds"
        + (f", starting from `{card['start']}`." if card["start"] else ", from random weights."),
        "",
        f"**Taught:** {card['taught']}",
        "",
        f"**Not taught:** {card['not_taught']}",
        "",
        f"{scores['sessions']} test sessions of `{scores['suite']}`, seed {scores['seed']}, turns 1 / 2 / 3:",
        "",
        "| | IF | CC | GA | rules kept |",
        "|---|---|---|---|---|",
    ]
    for name, means in scores.items():
        if isinstance(means, dict):
            cells = [" / ".join("-" if v is None else f"{v:.2f}" for v in means[score]) for score in _SCORES]
            lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines + _everywhere(card["everywhere"])) + "\n"


def _everywhere(found: dict[str, Any]) -> list[str]:
    """Tables by suite and by task."""
    lines = [
        "",
        f"By suite, {found['sessions']} test sessions each (greedy, and with right intents):",
        "",
        "| suite | IF | CC | GA of the last turn | IF, right intents | GA of the last turn, right intents |",
        "|---|---|---|---|---|---|",
    ]
    for suite, by in found["suites"].items():
        greedy, given = by["greedy"], by["right_intents"]
        cells = [greedy[name] for name in ("instruction_following", "content_consistency")]
        cells += [greedy["last_global_awareness"], given["instruction_following"]]
        lines.append(_row(suite, [*cells, given["last_global_awareness"]]))
    lines += [
        "",
        "By task, over the turns of all suites (right is, in some, to leave the picture alone):",
        "",
        "| task | turns | IF | IF, right intents |",
        "|---|---|---|---|",
    ]
    for task, by in found["tasks"].items():
        lines.append(_row(f"{task} | {by['turns']}", [by["greedy"], by["right_intents"]]))
    return lines


def _row(name: str, values: Sequence[float | None]) -> str:
    return f"| {name} | {' | '.join('-' if value is None else f'{value:.2f}' for value in values)} |"


def _means(sessions: Sequence[Session]) -> dict[str, list[float | None]]:
    return _best([sessions])


def _best(attempts: Sequence[Sequence[Session]]) -> dict[str, list[float | None]]:
    """Means a turn of each session's best attempt, score by score; None where a score applies nowhere."""
    turns = range(len(attempts[0][0].scores))
    return {name: [_mean_of_best(attempts, name, turn) for turn in turns] for name in _SCORES}


def _mean_of_best(attempts: Sequence[Sequence[Session]], name: str, turn: int) -> float | None:
    tries = (
        [getattr(session.scores[turn], name) for session in same] for same in zip(*attempts, strict=True)
    )
    return rounded_mean(max((v for v in same if v is not None), default=None) for same in tries)
