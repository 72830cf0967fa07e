"""A held-out evaluation as a run keeps it, one line of JSON each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from editenv.agents.atomic import write_text_atomically
from editenv.agents.edit_r2.metrics import turn_means
from editenv.agents.edit_r2.watched import Judged
from editenv.agents.watching.drift import Point
from editenv.session import Session

FILE = "held_out.jsonl"
"""A run's evaluations, in the order of their iterations."""


@dataclass(frozen=True)
class Estimate:
    """A mean of scores in [0, 1].

    Attributes:
        mean: of them.
        error: its standard error.
    """

    mean: float
    error: float


@dataclass(frozen=True)
class Evaluation:
    """What held-out sessions said of the weights after a number of iterations.

    Attributes:
        iteration: iterations made before, 0 for the starting point.
        scorer: version of who judged.
        sessions: how many were played.
        global_awareness, instruction_following: of each session's last turn; None where nobody judged it.
        training: reward a turn that training's own scorer paid in the rollout of that iteration, mean over
            the scripts with the error over them; None after the last update, which no rollout follows.
        scores: means by a score's name, a turn each; None where it applied to no session.
        warning: what was said about it.
        error: why there are no scores; None where the evaluation could be made.
    """

    iteration: int
    scorer: str
    sessions: int
    global_awareness: Estimate | None
    instruction_following: Estimate | None
    training: Estimate | None
    scores: dict[str, list[float | None]]
    warning: str | None = None
    error: str | None = None

    @property
    def rank(self) -> tuple[float, float]:
        """What decides which weights are best: GA of the last turn, then IF; below 0 where nobody judged."""
        parts = (self.global_awareness, self.instruction_following)
        first, second = (-1.0 if part is None else part.mean for part in parts)
        return first, second

    def comparable(self, other: Evaluation) -> bool:
        """Whether the same judge was asked about as many sessions."""
        return (self.scorer, self.sessions) == (other.scorer, other.sessions)


def evaluation(iteration: int, played: Sequence[Session], rollout: Sequence[Judged]) -> Evaluation:
    """The evaluation that held-out sessions make, beside the sessions that are trained on."""
    last = [session.scores[-1] for session in played if session.scores[-1].scored]
    return Evaluation(
        iteration,
        str(played[0].versions["scorer"]),
        len(played),
        estimate(scores.global_awareness for scores in last),
        estimate(scores.instruction_following for scores in last),
        training_reward(rollout),
        _by_turn(turn_means(played)),
    )


def failed_evaluation(
    iteration: int, scorer: str, sessions: int, rollout: Sequence[Judged], error: Exception
) -> Evaluation:
    """What is kept of an evaluation whose sessions could not be played or judged."""
    said = f"{type(error).__name__}: {error}"
    return Evaluation(iteration, scorer, sessions, None, None, training_reward(rollout), {}, error=said)


def training_reward(sessions: Sequence[Judged]) -> Estimate | None:
    """Mean reward a scored turn; its error is over scripts, since rollouts of one script are alike.

    The sessions are those of all processes: a script's rollouts may lie in several.
    """
    scripts: dict[int, list[float]] = {}
    for session in sessions:
        scripts.setdefault(session.index, []).extend(
            s.reward for s in session.scores if s.scored and math.isfinite(s.reward)
        )
    return estimate(sum(rewards) / len(rewards) for rewards in scripts.values() if rewards)


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Mean and standard error of what is known and a number; None where nothing is.

    A single value has the largest error that a score in [0, 1] can have, 0.5.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    return Estimate(fmean(known), stdev(known) / math.sqrt(len(known)) if len(known) > 1 else 0.5)


def series(past: Sequence[Evaluation]) -> tuple[list[Point], list[Point]]:
    """Training reward and held-out GA of evaluations, as far as there are any."""
    pairs = [(look.iteration, look.training, look.global_awareness) for look in past]
    training = [Point(time, paid.mean, paid.error) for time, paid, _ in pairs if paid]
    return training, [Point(time, seen.mean, seen.error) for time, _, seen in pairs if seen]


def read_evaluations(folder: Path) -> list[Evaluation]:
    """The evaluations of a run's folder; none where there is no file.

    Raises:
        ValueError: a line is none; names file and line.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(_from_json(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: no held-out evaluation: {error}") from error
    return found


def write_evaluations(past: Sequence[Evaluation], folder: Path) -> None:
    """Writes all lines anew, in one step: a resumed run may have to take some back."""
    lines = [json.dumps(asdict(look), allow_nan=False) + "\n" for look in past]
    write_text_atomically(folder / FILE, "".join(lines))


def _from_json(data: dict[str, Any]) -> Evaluation:
    parts = ("global_awareness", "instruction_following", "training")
    estimates = {name: None if data[name] is None else Estimate(**data[name]) for name in parts}
    return Evaluation(**data | estimates)


def _by_turn(means: dict[str, float]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for name, value in means.items():
        found.setdefault(name.rpartition("/")[0], []).append(None if math.isnan(value) else value)
    return found
