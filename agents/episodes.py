"""Plays numbered sessions with a policy, many side by side, and says what came out of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import AutoresetMode
from rich.console import Console
from rich.progress import Progress

from editenv.agents.stats import MaybeScore, TurnScores
from editenv.protocols import Observations, Policy
from editenv.session import Session
from editenv.types import SCORE_NAMES, Scores
from editenv.vector import MICEEditVectorEnv
from editenv.viewer import Shown, filmstrip

NAMES = (*SCORE_NAMES, "reward")
"""Names of the scores that are reported."""


@runtime_checkable
class Counting(Protocol):
    """A policy that counts what deserves reporting."""

    def counts(self) -> dict[str, float]:
        """Shares by name, of all turns played so far."""


def run_episodes(
    envs: MICEEditVectorEnv,
    policy: Policy[Any],
    sessions: Sequence[int],
    seed: int,
    progress: str | None = None,
    attempt: int = 0,
) -> list[Session]:
    """Plays sessions of a seed, `envs.num_envs` at a time.

    The policy sees only sessions that are going on. Rows left over in the last wave play its last session
    with the picture untouched and are dropped, so `envs` should have no `on_end` that would count them.

    Args:
        envs: with autoreset disabled.
        policy: what to play with.
        sessions: numbers of the sessions.
        seed: of the sessions; a policy's seed is a function of it, the session's number and the attempt.
        progress: what the progress bar says, on a terminal; None shows none.
        attempt: number of the attempt; another one has other noise in the same sessions.

    Returns:
        The finished sessions, in the order of their numbers' list.

    Raises:
        ValueError: autoreset is not disabled.
    """
    if envs.autoreset_mode != AutoresetMode.DISABLED:
        raise ValueError(f"autoreset_mode is {envs.autoreset_mode}, expected AutoresetMode.DISABLED")
    played: list[Session] = []
    console = Console(stderr=True)
    silent = progress is None or not console.is_terminal
    with Progress(console=console, transient=True, disable=silent) as bar:
        task = bar.add_task(progress or "", total=len(sessions))
        for start in range(0, len(sessions), envs.num_envs):
            wave = sessions[start : start + envs.num_envs]
            seeds = [policy_seed(seed, number, attempt) for number in wave]
            played += _play_wave(envs, policy, wave, seed, seeds, lambda share: bar.advance(task, share))
    return played


def policy_seed(seed: int, session: int, attempt: int = 0) -> int:
    """The policy's seed for an attempt at a session, 64 bits."""
    return int(np.random.SeedSequence((seed, session, attempt)).generate_state(1, np.uint64)[0])


def rows_of(observations: Observations, rows: Sequence[int]) -> dict[str, Any]:
    """The observations of some rows, batched as before."""
    return {
        name: values[list(rows)] if isinstance(values, np.ndarray) else tuple(values[row] for row in rows)
        for name, values in observations.items()
    }


def _play_wave(
    envs: MICEEditVectorEnv,
    policy: Policy[Any],
    wave: Sequence[int],
    seed: int,
    policy_seeds: Sequence[int],
    advance: Callable[[float], None],
) -> list[Session]:
    """At most num_envs sessions, from the first word to the last."""
    left_over = envs.num_envs - len(wave)
    observations, _ = envs.reset(seed=seed, options={"sessions": [*wave, *[wave[-1]] * left_over]})
    rows = range(len(wave))
    memories = policy.start(rows_of(observations, rows), policy_seeds)
    while live := [row for row in rows if envs.sessions[row].ending is None]:
        chosen = [memories[row] for row in live]
        actions, kept = policy.act(rows_of(observations, live), chosen)
        for row, memory in zip(live, kept, strict=True):
            memories[row] = memory
        observations, *_ = envs.step(_for_all(envs, observations, live, actions))
        advance(len(live) / envs.engine.world.max_turns)
    return list(envs.sessions[: len(wave)])


def _for_all(
    envs: MICEEditVectorEnv, observations: Observations, live: Sequence[int], actions: dict[str, Any]
) -> dict[str, Any]:
    """The actions of the live rows, and the picture untouched in all others."""
    images, intents = np.array(observations["image"]), [""] * envs.num_envs
    images[list(live)] = actions["image"]
    for row, intent in zip(live, actions["intent"], strict=True):
        intents[row] = intent
    return {"image": images, "intent": tuple(intents)}


def turn_scores(sessions: Sequence[Session]) -> TurnScores:
    """Scores by name, session and turn; None where no judge gave an answer, for the reward too."""
    return {name: [_column(session, name) for session in sessions] for name in NAMES}


def is_scored(sessions: Sequence[Session]) -> bool:
    """Is there a judge; False where all scores are None because none is configured."""
    return any(session.versions["scorer"] is not None for session in sessions)


def write_lines(sessions: Iterable[Session], path: Path) -> None:
    """JSON Lines, one session each: which one it was, what was said and meant, and its scores by name."""
    lines = [json.dumps(_line(session), ensure_ascii=False) + "\n" for session in sessions]
    path.write_text("".join(lines), encoding="utf-8")


def write_filmstrip(sessions: Sequence[Shown], path: Path) -> None:
    """The sessions' filmstrip as a PNG."""
    from PIL import Image

    Image.fromarray(filmstrip(sessions)).save(path)


def as_text(session: Session) -> str:
    """The session for a reader: what was said, meant and scored in each turn."""
    lines = [session.title]
    for turn, (said, intent, scores) in enumerate(
        zip(session.transcript, session.intents, session.scores, strict=False), start=1
    ):
        lines += [
            f"turn {turn}",
            f"  user:   {said}",
            f"  intent: {intent or '-'}",
            f"  scores: {_written(scores)}",
        ]
    return "\n".join([*lines, f"end: {session.ending.reason if session.ending else 'it goes on'}"])


def _column(session: Session, name: str) -> list[MaybeScore]:
    judged = session.versions["scorer"] is not None
    return [getattr(scores, name) if judged and scores.scored else None for scores in session.scores]


def _line(session: Session) -> dict[str, Any]:
    return {
        "session": session.spec.id,
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "transcript": list(session.transcript),
        "intents": list(session.intents),
        "ending": session.ending.reason if session.ending else None,
        **{name: _column(session, name) for name in NAMES},
    }


def _written(scores: Scores) -> str:
    if scores.error is not None:
        return f"none, {scores.error}"
    values = {name: getattr(scores, name) for name in SCORE_NAMES}
    known = [f"{name} {value:.2f}" for name, value in values.items() if value is not None]
    return ", ".join([*known, f"reward {scores.reward:.2f}"]) if known else "none"
