"""Plays numbered sessions with a policy, many side by side, and says what came out of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import AutoresetMode
from rich.console import Console
from rich.progress import Progress

from editenv.agents.stats import MaybeScore, TurnScores
from editenv.protocols import Observations, Policy
from editenv.session import Session
from editenv.spaces import read_actions
from editenv.types import SCORE_NAMES, Image, Scores
from editenv.vector import MICEEditVectorEnv
from editenv.viewer import Shown, filmstrip

NAMES = (*SCORE_NAMES, "reward")
"""Names of the scores that are reported."""
_REASONS = 20


@runtime_checkable
class Counting(Protocol):
    """A policy that counts what deserves reporting."""

    def counts(self) -> dict[str, float]:
        """Shares by name, of all turns played so far."""
        ...


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
        progress: what the progress says: a bar on a terminal, lines anywhere else; None shows none.
        attempt: number of the attempt; another one has other noise in the same sessions.

    Returns:
        The finished sessions, in the order of their numbers' list.

    Raises:
        ValueError: autoreset is not disabled, or the policy's answer is not in the action space.
    """
    if envs.autoreset_mode != AutoresetMode.DISABLED:
        raise ValueError(f"autoreset_mode is {envs.autoreset_mode}, expected AutoresetMode.DISABLED")
    played: list[Session] = []
    with _progress(progress, len(sessions)) as bar:
        for start in range(0, len(sessions), envs.num_envs):
            wave = sessions[start : start + envs.num_envs]
            seeds = [policy_seed(seed, number, attempt) for number in wave]
            played += _play_wave(envs, policy, wave, seed, seeds, bar)
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
    bar: _Progress,
) -> list[Session]:
    """At most num_envs sessions, from the first word to the last."""
    left_over = envs.num_envs - len(wave)
    observations, _ = envs.reset(seed=seed, options={"sessions": [*wave, *[wave[-1]] * left_over]})
    rows = range(len(wave))
    memories = _checked_memories(policy, policy.start(rows_of(observations, rows), policy_seeds), len(wave))
    while live := [row for row in rows if envs.sessions[row].ending is None]:
        chosen = [memories[row] for row in live]
        answer = policy.act(rows_of(observations, live), chosen)
        images, intents, kept = _checked_answer(envs, policy, answer, len(live))
        for row, memory in zip(live, kept, strict=True):
            memories[row] = memory
        observations, *_ = envs.step(_for_all(envs, observations, live, images, intents))
        bar.advance(len(live) / envs.engine.world.max_turns)
    bar.advance_to(len(wave))
    return list(envs.sessions[: len(wave)])


def _checked_answer(
    envs: MICEEditVectorEnv, policy: Policy[Any], answer: Any, count: int
) -> tuple[Image, tuple[str, ...], list[Any]]:
    """What `act` returned, held to the action space as `step` does it; an intent that is missing is empty.

    Raises:
        ValueError: names the policy, the field, what came and what is expected.
    """
    if not isinstance(answer, tuple) or len(answer) != 2:
        came = f"{len(answer)} values" if isinstance(answer, tuple) else f"a {type(answer).__name__}"
        raise ValueError(f"policy {type(policy).__name__}: act returned {came}, expected (actions, memories)")
    actions, memories = answer
    if isinstance(actions, Mapping) and "intent" not in actions:
        actions = {**actions, "intent": ("",) * count}
    try:
        images, intents = read_actions(actions, count, envs.engine.world.image_shape, envs.engine.max_length)
    except ValueError as error:
        raise ValueError(f"policy {type(policy).__name__}: {error}") from error
    return images, intents, _checked_memories(policy, memories, count)


def _checked_memories(policy: Policy[Any], memories: Any, count: int) -> list[Any]:
    """One memory a session, as a list.

    Raises:
        ValueError: there are more or fewer, or none at all.
    """
    if isinstance(memories, Sequence) and not isinstance(memories, str) and len(memories) == count:
        return list(memories)
    came = f"{len(memories)} of them" if isinstance(memories, Sequence) else f"a {type(memories).__name__}"
    raise ValueError(f"policy {type(policy).__name__}: memories are {came}, expected a list of {count}, one a session")


def _for_all(
    envs: MICEEditVectorEnv, observations: Observations, live: Sequence[int], images: Image, intents: Sequence[str]
) -> dict[str, Any]:
    """The actions of the live rows, and the picture untouched in all others."""
    everywhere, texts = np.array(observations["image"]), [""] * envs.num_envs
    everywhere[list(live)] = images
    for row, intent in zip(live, intents, strict=True):
        texts[row] = intent
    return {"image": everywhere, "intent": tuple(texts)}


class _Progress:
    """Counts sessions: moves a bar, or prints a line now and then.

    Args:
        label: of what is going on.
        total: sessions.
        bar: on a terminal; None prints lines.
    """

    EVERY = 10.0
    """Seconds between two lines."""

    def __init__(self, label: str, total: int, bar: Progress | None) -> None:
        self.label, self.total, self.bar = label, total, bar
        self.done, self.whole, self.said = 0.0, 0, time.perf_counter()
        self.task = None if bar is None else bar.add_task(label, total=total)

    def advance(self, sessions: float) -> None:
        """Counts a share of sessions as done."""
        self.done += sessions
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.done)
        elif self.label and time.perf_counter() - self.said > self.EVERY and self.done < self.total:
            self.say(f"{int(self.done)} of {self.total} sessions")

    def advance_to(self, sessions: int) -> None:
        """Counts further sessions as over, however many turns they had."""
        self.whole += sessions
        self.done = float(self.whole)
        self.advance(0.0)

    def say(self, text: str) -> None:
        """Prints a line at once, so that a pipe or a log file has it as it happens."""
        print(f"{self.label}: {text}", flush=True)
        self.said = time.perf_counter()


@contextmanager
def _progress(label: str | None, total: int) -> Iterator[_Progress]:
    """A bar where standard output is a terminal, else lines; nothing without a label."""
    if label is None:
        yield _Progress("", total, None)
    elif Console().is_terminal:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            yield _Progress(label, total, bar)
    else:
        lines, start = _Progress(label, total, None), time.perf_counter()
        lines.say(f"{total} sessions")
        yield lines
        lines.say(f"done in {time.perf_counter() - start:.1f} s")


def turn_scores(sessions: Sequence[Session]) -> TurnScores:
    """Scores by name, session and turn; None where no judge gave an answer, for the reward too."""
    return {name: [_column(session, name) for session in sessions] for name in NAMES}


def is_scored(sessions: Sequence[Session]) -> bool:
    """Is there a judge; False where all scores are None because none is configured."""
    return any(session.versions["scorer"] is not None for session in sessions)


def unscored_turns(sessions: Sequence[Session]) -> dict[str, Any]:
    """How many turns a judge gave no answer to, and why.

    Returns:
        JSON values: `turns`, how many; `of`, how many were played; `share`; `reasons`, the count of each
        of the most frequent reasons.
    """
    errors = [scores.error for session in sessions for scores in session.scores]
    reasons = Counter(error for error in errors if error is not None)
    missing = sum(reasons.values())
    share = missing / len(errors) if errors else 0.0
    return {"turns": missing, "of": len(errors), "share": share, "reasons": dict(reasons.most_common(_REASONS))}


def write_lines(sessions: Iterable[Session], path: Path) -> None:
    """JSON Lines, one session each: which one it was, what was said and meant, and its scores by name."""
    lines = [json.dumps(_line(session), ensure_ascii=False) + "\n" for session in sessions]
    path.write_text("".join(lines), encoding="utf-8")


def write_filmstrip(sessions: Sequence[Shown], path: Path) -> None:
    """The sessions' filmstrip as a PNG."""
    from PIL import Image

    Image.fromarray(filmstrip(sessions)).save(path)


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
        "errors": [scores.error for scores in session.scores],
        **_kinds(session),
    }


def _kinds(session: Session) -> dict[str, list[str | None]]:
    """Each turn's task and family: "rule" where one asks something, "reference" where words point, "plain".

    None where the user does not follow a script, whose turns alone are known here.
    """
    script = session.spec.turns if str(session.versions["user"]).startswith("replay") else ()
    meant = [script[turn] if turn < len(script) else None for turn in range(len(session.scores))]
    families = [_family(one, scores) for one, scores in zip(meant, session.scores, strict=True)]
    return {"task": [getattr(getattr(one, "edit", one), "task", None) for one in meant], "family": families}


def _family(meant: Any, scores: Scores) -> str | None:
    if meant is None:
        return None
    if scores.rule_kept is not None:
        return "rule"
    return "reference" if getattr(meant, "reference", None) is not None else "plain"
