"""Plays numbered sessions with a policy, many side by side, and says what came out of them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import AutoresetMode
from rich.console import Console
from rich.progress import Progress

from editenv.agents.stats import MaybeScore, TurnScores
from editenv.protocols import Observations, Policy
from editenv.records import RecordSpec, read_records
from editenv.session import Session
from editenv.spaces import read_actions
from editenv.types import SCORE_NAMES, Image, Scores
from editenv.vector import MICEEditVectorEnv
from editenv.viewer import Shown, filmstrip
from editenv.worlds.records.sentences import pronouns, stated_rule
from editenv.worlds.studio.rule import check_edit, right_result
from editenv.worlds.studio.session import StudioSpec

NAMES = (*SCORE_NAMES, "reward")
"""Names of the scores that are reported."""
_REASONS = 20
_IDS = re.compile(r"\b(?=\w*\d)\w{4,}\b")  # status codes are shorter
_SECONDS_A_LINE = 10.0

Count = float | tuple[int, int]
"""A number that grows, or a share as (part, whole), which grow both."""


@runtime_checkable
class Counting(Protocol):
    """A policy or user that counts what deserves reporting."""

    def counts(self) -> dict[str, Count]:
        """Counts by name, of all turns played so far."""
        ...


def shares(counts: Mapping[str, Count]) -> dict[str, float]:
    """Counts as they are reported: a pair as part / whole."""
    return {
        name: value[0] / max(value[1], 1) if isinstance(value, tuple | list) else value
        for name, value in counts.items()
    }


def run_episodes(
    envs: MICEEditVectorEnv,
    policy: Policy[Any],
    sessions: Sequence[int],
    seed: int,
    progress: str | None = None,
    attempt: int = 0,
) -> list[Session]:
    """The finished sessions of all of `play_waves`, in the order of their numbers' list."""
    return [one for wave in play_waves(envs, policy, sessions, seed, progress, attempt) for one in wave]


def play_waves(
    envs: MICEEditVectorEnv,
    policy: Policy[Any],
    sessions: Sequence[int],
    seed: int,
    progress: str | None = None,
    attempt: int = 0,
) -> Iterator[list[Session]]:
    """Plays sessions of a seed, `envs.num_envs` at a time.

    The policy sees only sessions that are going on. Rows left over in the last wave play its last session
    with the picture untouched and are dropped, so `envs` should have no `on_end` that would count them.

    Args:
        envs: with autoreset disabled.
        sessions: their numbers.
        seed: of the sessions; a policy's seed is a function of it, the session's number and the attempt.
        progress: what the progress says: a bar on a terminal, lines anywhere else; None shows none.
        attempt: another one has other noise in the same sessions.

    Raises:
        ValueError: autoreset is not disabled, or the policy's answer is not in the action space.
    """
    if envs.autoreset_mode != AutoresetMode.DISABLED:
        raise ValueError(f"autoreset_mode is {envs.autoreset_mode}, expected AutoresetMode.DISABLED")
    with _progress(progress, len(sessions)) as show:
        for start in range(0, len(sessions), envs.num_envs):
            wave = sessions[start : start + envs.num_envs]
            seeds = [policy_seed(seed, number, attempt) for number in wave]
            numbers = [*wave, *[wave[-1]] * (envs.num_envs - len(wave))]
            observations, _ = envs.reset(seed=seed, options={"sessions": numbers})
            rows, turns = range(len(wave)), 0
            memories = _checked_memories(policy, policy.start(rows_of(observations, rows), seeds), len(wave))
            while live := [row for row in rows if envs.sessions[row].ending is None]:
                answer = policy.act(rows_of(observations, live), [memories[row] for row in live])
                images, intents, kept = _checked_answer(envs, policy, answer, len(live))
                # The rows that are over rest: the picture untouched.
                everywhere, texts = np.array(observations["image"]), [""] * envs.num_envs
                everywhere[live] = images
                for row, intent, memory in zip(live, intents, kept, strict=True):
                    texts[row], memories[row] = intent, memory
                observations, *_ = envs.step({"image": everywhere, "intent": tuple(texts)})
                turns += len(live)
                show(min(start + turns / envs.engine.world.max_turns, start + len(wave)))
            show(start + len(wave))
            yield list(envs.sessions[: len(wave)])


def policy_seed(seed: int, session: int, attempt: int = 0) -> int:
    """The policy's seed for an attempt at a session, 64 bits."""
    return int(np.random.SeedSequence((seed, session, attempt)).generate_state(1, np.uint64)[0])


def rows_of(observations: Observations, rows: Sequence[int]) -> dict[str, Any]:
    """The observations of some rows, batched as before."""
    return {
        name: values[list(rows)] if isinstance(values, np.ndarray) else tuple(values[row] for row in rows)
        for name, values in observations.items()
    }


def _checked_answer(
    envs: MICEEditVectorEnv, policy: Policy[Any], answer: Any, count: int
) -> tuple[Image, tuple[str, ...], list[Any]]:
    """What `act` returned, held to the action space as `step` does it; an intent that is missing is empty."""
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
    """One memory a session, as a list."""
    if isinstance(memories, Sequence) and not isinstance(memories, str) and len(memories) == count:
        return list(memories)
    came = f"{len(memories)} of them" if isinstance(memories, Sequence) else f"a {type(memories).__name__}"
    raise ValueError(f"policy {type(policy).__name__}: memories are {came}, expected a list of {count}, one a session")


@contextmanager
def _progress(label: str | None, total: int) -> Iterator[Any]:
    """A function to tell how many sessions are done: a bar on a terminal, else lines; silent without a label."""
    if label is None:
        yield lambda done: None
    elif Console().is_terminal:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda done: bar.update(task, completed=done)
    else:
        start = said = time.perf_counter()

        def line(done: float) -> None:
            nonlocal said
            if time.perf_counter() - said > _SECONDS_A_LINE and done < total:
                print(f"{label}: {int(done)} of {total} sessions", flush=True)
                said = time.perf_counter()

        # Flushed, so that a pipe or a log file has it as it happens.
        print(f"{label}: {total} sessions", flush=True)
        yield line
        print(f"{label}: done in {time.perf_counter() - start:.1f} s", flush=True)


# What came out


def session_line(session: Session) -> dict[str, Any]:
    """A session as JSON values: which one it was, what was said and meant, and lists of one entry a turn.

    `task` and `family` ("rule" where one asks something, "reference" where words point, "plain") follow from the
    script, so they are the same whoever plays and judges; None where the user does not follow it.
    """
    turns, script = len(session.scores), list[tuple[str, str]]()
    if str(session.versions["user"]).startswith("replay"):
        script = _script(session.spec)[:turns]
    kinds = [*script, *[(None, None)] * (turns - len(script))]
    return {
        "session": session.spec.id,
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "versions": dict(session.versions),
        "transcript": list(session.transcript),
        "intents": list(session.intents),
        "ending": session.ending.reason if session.ending else None,
        "turn": list(range(1, turns + 1)),
        "task": [task for task, _ in kinds],
        "family": [family for _, family in kinds],
        **{name: _column(session, name) for name in NAMES},
        "errors": [scores.error for scores in session.scores],
    }


def _script(spec: Any) -> list[tuple[str, str]]:
    """Task and family of each turn of a script; none of a world that is not known here."""
    kinds = []
    if isinstance(spec, StudioSpec):
        scene, past = spec.scene, []
        for turn in spec.turns:
            result = right_result(turn.edit, turn.rules, scene, past)
            ruled = check_edit(turn.edit, turn.rules, scene, result, past).kept is not None
            kinds.append((turn.edit.task, ruled, turn.reference is not None))
            past.append(scene)
            scene = result
    elif isinstance(spec, RecordSpec):
        rules = 0
        for text, meant in zip(spec.instruction, spec.turns, strict=True):
            rules += stated_rule(text) is not None
            kinds.append((meant.task_type, bool(rules), bool(pronouns(text))))
    return [(task, "rule" if ruled else "reference" if points else "plain") for task, ruled, points in kinds]


def _column(session: Session, name: str) -> list[MaybeScore]:
    judged = session.versions["scorer"] is not None
    return [getattr(scores, name) if judged and scores.scored else None for scores in session.scores]


def turn_scores(sessions: Sequence[Session]) -> TurnScores:
    """Scores by name, session and turn; None where no judge gave an answer, for the reward too."""
    return {name: [_column(session, name) for session in sessions] for name in NAMES}


def unscored_turns(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many turns of `session_line`s a judge gave no answer to, and why.

    Returns:
        JSON values: `turns`, how many; `of`, how many were played; `share`; `reasons`, the count of each
        of the most frequent reasons. Those that differ in a request's id or another long number are one, told as
        the first of them was.
    """
    errors = [error for line in lines for error in line["errors"]]
    first: dict[str, str] = {}
    failed = [error for error in errors if error is not None]
    reasons = Counter(first.setdefault(_IDS.sub("#", error), error) for error in failed)
    missing = len(failed)
    share = missing / len(errors) if errors else 0.0
    return {"turns": missing, "of": len(errors), "share": share, "reasons": dict(reasons.most_common(_REASONS))}


def most_different(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """Places of the sessions whose GA differs most between two evaluations' lines, the most different first."""

    def difference(place: int) -> float:
        pairs = zip_longest(one[place]["global_awareness"], other[place]["global_awareness"])
        return sum(abs((a or 0.0) - (b or 0.0)) for a, b in pairs)

    return sorted(range(min(len(one), len(other))), key=difference, reverse=True)[:count]


@dataclass(frozen=True)
class Captioned:
    """What a filmstrip shows of a session, under a title with a caption; fields as `Shown` describes them."""

    title: str
    pictures: Sequence[Image]
    transcript: Sequence[str]
    intents: Sequence[str]
    scores: Sequence[Scores]

    @classmethod
    def of(cls, caption: str, session: Shown) -> Captioned:
        """The session, a caption before its title."""
        shown = (session.pictures, session.transcript, session.intents, session.scores)
        return cls(f"{caption}  {session.title}", *shown)


def side_by_side(folders: Mapping[str, Path], places: Sequence[int]) -> list[Captioned]:
    """Recorded sessions, each from all folders of records, one under another.

    Args:
        folders: by caption; their records are of the same sessions in the same order.
        places: of the sessions in the records.
    """
    found = {
        caption: dict(zip(sorted(places), read_records(folder, places), strict=True))
        for caption, folder in folders.items()
    }
    return [Captioned.of(caption, found[caption][place]) for place in places for caption in folders]


def write_filmstrip(sessions: Sequence[Shown], path: Path) -> None:
    """The sessions' filmstrip as a PNG."""
    from PIL import Image

    Image.fromarray(filmstrip(sessions)).save(path, format="PNG")
