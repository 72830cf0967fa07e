"""Held-out evaluations of a run: what is kept of each, the best weights, and the reward-hacking check."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol

import numpy as np
from pydantic import TypeAdapter
from scipy.stats import linregress

from editenv.agents.metrics import turn_means
from editenv.files import atomic_write_text
from editenv.session import Session
from editenv.types import Scores

FILE = "held_out.jsonl"
"""A run's evaluations, in the order of their iterations, a line of JSON each."""
BEST = "best"
"""Below a run's folder: the weights that held-out sessions liked best, loadable as a model."""
BEST_FACTS = "best.json"
"""In that folder: which iteration, its scores and who judged."""

LAST = 6
"""Evaluations whose trend is looked at."""
LEAST = 4
"""Evaluations below which nothing is said: three points have a trend by chance."""
ERRORS = 3.0
"""Standard errors that each trend must be away from none."""
SMALLEST = 0.02
"""Change over the window, of scores in [0, 1], below which a trend is of no interest, however sure."""


class Judged(Protocol):
    """What is known of every session of an iteration, whichever process played it."""

    @property
    def index(self) -> int:
        """Number of its script."""
        ...

    @property
    def scores(self) -> Sequence[Scores]:
        """Of its turns."""
        ...


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
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(TypeAdapter(Evaluation).validate_json(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: no held-out evaluation: {error}") from error
    return found


def write_evaluations(past: Sequence[Evaluation], folder: Path) -> None:
    """Writes all lines anew, in one step: a resumed run may have to take some back."""
    lines = [json.dumps(asdict(look), allow_nan=False) + "\n" for look in past]
    atomic_write_text(folder / FILE, "".join(lines))


def _by_turn(means: dict[str, float]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for name, value in means.items():
        found.setdefault(name.rpartition("/")[0], []).append(None if math.isnan(value) else value)
    return found


# The best weights


def write_best(save: Callable[[Path], None], facts: dict[str, Any], out: Path) -> None:
    """Puts weights into a run's `best` folder, in place of those that lie there.

    The new ones are written whole beside the old ones, which then make room; what a kill in between leaves,
    `recover_best` puts right.

    Args:
        save: writes the weights into a folder.
        facts: JSON values about them.
        out: the run's folder.
    """
    best, new, old = _best_folders(out)
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    new.mkdir(parents=True)
    save(new)
    atomic_write_text(new / BEST_FACTS, json.dumps(facts, indent=2) + "\n")
    if best.exists():
        best.replace(old)
    new.replace(best)
    shutil.rmtree(old, ignore_errors=True)


def recover_best(out: Path) -> None:
    """Takes back the last best weights where a run was killed just before new ones took their place."""
    best, new, old = _best_folders(out)
    if old.is_dir() and not best.exists():
        old.replace(best)
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)


def read_best(out: Path) -> dict[str, Any] | None:
    """What is known of a run's best weights; None where there are none."""
    path = out / BEST / BEST_FACTS
    if not path.is_file():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        int(facts["iteration"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}), expected what the run wrote: remove {path.parent}"
        ) from error
    return facts


def _best_folders(out: Path) -> tuple[Path, Path, Path]:
    return out / BEST, out / f"{BEST}.part", out / f"{BEST}.old"


# The reward-hacking check


@dataclass(frozen=True)
class Point:
    """A mean at one time.

    Attributes:
        iteration: when.
        mean: of scores in [0, 1].
        error: standard error of the mean, over sessions.
    """

    iteration: int
    mean: float
    error: float


@dataclass(frozen=True)
class Trend:
    """A straight line through points.

    Attributes:
        change: of the line from the first point's iteration to the last one's.
        error: standard error of that change.
    """

    change: float
    error: float

    @property
    def sure(self) -> bool:
        """Whether the change is more than `ERRORS` of its errors, and more than `SMALLEST`."""
        return abs(self.change) > max(ERRORS * self.error, SMALLEST)


def trend(points: Sequence[Point]) -> Trend:
    """The least-squares line through points.

    Its error is the larger one of what the points' own errors make of it, sqrt(sum (x - X)^2 e^2) / S with
    S = sum (x - X)^2, and of what the points' distances r from the line say, sqrt(sum r^2 / (n - 2) / S);
    both times the length of the window. The first alone would not know how much a policy wanders between
    two evaluations, the second alone is small by chance where points are few.

    Args:
        points: two or more, at different iterations.

    Raises:
        ValueError: there are fewer, or all are of one iteration.
    """
    times = np.array([point.iteration for point in points], dtype=np.float64)
    different = sorted({point.iteration for point in points})
    if len(different) < 2:
        raise ValueError(f"points are of the iterations {different}, expected two or more")
    line: Any = linregress(times, [point.mean for point in points])
    apart = times - times.mean()
    sampled = np.linalg.norm(apart * [point.error for point in points]) / (apart @ apart)
    window = float(np.ptp(times))
    return Trend(float(line.slope) * window, max(float(sampled), float(line.stderr)) * window)


def reward_hacking(training: Sequence[Point], held_out: Sequence[Point]) -> tuple[Trend, Trend] | None:
    """The two trends where training surely rises and held-out surely falls, else None.

    Both are taken over the last `LAST` evaluations; with fewer than `LEAST` in either there is no answer.

    Args:
        training: reward that training's scorer paid, in the order of time.
        held_out: score that another scorer gave on held-out sessions, in the order of time.
    """
    if min(len(training), len(held_out)) < LEAST:
        return None
    rising, falling = trend(training[-LAST:]), trend(held_out[-LAST:])
    if rising.sure and falling.sure and rising.change > 0 > falling.change:
        return rising, falling
    return None
