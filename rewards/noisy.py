"""A scorer plus an error model with stated rates, so that reward hacking can be studied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from editenv.records import TASKS
from editenv.registry import build
from editenv.rewards import SCORERS
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.strict import read_yaml
from editenv.types import SCORE_NAMES, Image, Scores, TurnResult

FOLDER = Path(__file__).parent / "error_models"
_NORMAL = NormalDist()
_FIELDS = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True)
class Rates:
    """Errors in judging one score; what is not given is 0.

    Attributes:
        miss: probability that a vote calls a right result wrong.
        false_alarm: probability that a vote calls a wrong result right.
        noise: standard deviation added to the score as a whole, for scores that are shares.
    """

    miss: float = 0.0
    false_alarm: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class ErrorModel:
    """The errors of a judge.

    Attributes:
        name: for versions and reports.
        scores: rates by score and then by task; the task "" holds for all that are not named. Scores without
            rates are passed on as they are, so every score with a reward weight should have some.
        votes: how often each question is asked; the score is the share of votes that say right.
        correlation: between a picture's votes, 0 (independent) to 1 (all err together).
        yes_bias: probability that a vote says right to a wrong result, whatever the task, on top of its rate.
        tint_full: shift of a picture's colours, as a share of the range, at which the tint's bias is full.
        tint_false_alarm: probability that a vote says right to a wrong result that is tinted in full.
        failure_rate: share of pictures for which the judge gives no answer.
        failure_flat: the same among pictures of one colour, on top.
    """

    name: str
    scores: Mapping[str, Mapping[str, Rates]] = field(default_factory=dict)
    votes: int = 4
    correlation: float = 0.0
    yes_bias: float = 0.0
    tint_full: float = 0.1
    tint_false_alarm: float = 0.0
    failure_rate: float = 0.0
    failure_flat: float = 0.0

    def rates(self, score: str, task: str) -> Rates | None:
        """Rates of a score in a task; None where the score is passed on."""
        by_task = self.scores.get(score)
        return None if by_task is None else by_task.get(task, by_task[""])


class NoisyScorer:
    """Judges as another scorer does, then errs.

    A vote on a right result says wrong with probability `miss`. A vote on a wrong one says right with
    probability 1 - (1 - false_alarm) (1 - yes_bias) (1 - tint). Votes on one picture are correlated by a
    Gaussian copula: vote v errs where Phi(sqrt(c) z + sqrt(1 - c) z_v) < p, with z shared. A score that is a
    share gets noise, and a tint lifts it towards 1. Failures leave every score None, with an error.

    All random numbers follow from the seed and from what is judged: source, both pictures, words and turn. So
    the same turn is judged the same in any batch and order, as by a judge with a cache. `detail["truth"]`
    keeps the base scorer's scores, its own detail included; global awareness is judged on the true history.

    Args:
        world: whose sessions are judged.
        weights: of the reward, of the truth's too.
        base: name of the scorer that tells the truth.
        base_settings: its settings.
        errors: name of an error model that comes with the package, path of a YAML file, or its mapping.
        seed: of the errors; other seeds err elsewhere, equally often.

    Raises:
        ValueError: a setting is not known or not in its range.
    """

    def __init__(
        self,
        world: Any,
        weights: RewardWeights | None = None,
        *,
        base: str = "exact",
        base_settings: Mapping[str, Any] | None = None,
        errors: str | Mapping[str, Any] = "typical",
        seed: int = 0,
    ) -> None:
        if type(seed) is not int:
            raise ValueError(f"seed is {seed!r}, expected a whole number")
        self.weights = weights or RewardWeights()
        self.errors = open_error_model(errors)
        self.seed = seed
        self.base = build("scorer", base, SCORERS, base_settings, world, self.weights)
        content = blake2b(repr(self.errors).encode(), digest_size=4).hexdigest()
        self.version = f"imperfect 1 {self.errors.name}:{content} seed {seed} of {self.base.version}"
        self.pure = getattr(self.base, "pure", False)

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """The judgements, in order; `detail["truth"]` holds the true scores as JSON values."""
        true_history = [tuple(Scores(**past.detail["truth"]) for past in turn.history) for turn in turns]
        truths = self.base.score(
            [replace(turn, history=history) for turn, history in zip(turns, true_history, strict=True)]
        )
        return [self._judge(turn, truth) for turn, truth in zip(turns, truths, strict=True)]

    def _judge(self, turn: TurnResult, truth: Scores) -> Scores:
        errors, noise = self.errors, _Noise(self.seed, turn)
        detail = {"truth": {name: getattr(truth, name) for name in _FIELDS}}
        flat = errors.failure_flat if errors.failure_flat and is_flat(turn.after) else 0.0
        if noise.uniform("failure") < 1 - (1 - errors.failure_rate) * (1 - flat):
            return Scores(detail=detail, error="imperfect: no answer, as the error model has it")
        shift = errors.tint_false_alarm
        if shift:
            shift *= min(1.0, tint(turn.before, turn.after) / errors.tint_full)
        lenient = 1 - (1 - errors.yes_bias) * (1 - shift)
        task = getattr(getattr(turn.message.meaning, "edit", None), "task", "")
        judged: dict[str, Any] = {}
        for name in SCORE_NAMES:
            true, rates = getattr(truth, name), errors.rates(name, task)
            if true is None or rates is None:
                judged[name] = true
            elif name in ("content_consistency", "turn_consistency"):
                lifted = true + (1 - true) * shift + rates.noise * noise.normal(name)
                judged[name] = min(1.0, max(0.0, lifted))
            else:
                judged[name] = _share_of_votes(true, rates, lenient, errors, noise, name)
        return with_reward(Scores(**judged, detail=detail), self.weights)


def _share_of_votes(
    true: float, rates: Rates, lenient: float, errors: ErrorModel, noise: _Noise, name: str
) -> float:
    """Share of the votes that say right, where `lenient` is the probability of a yes to anything wrong."""
    wrong = rates.miss if true == 1 else 1 - (1 - rates.false_alarm) * (1 - lenient)
    shared = noise.normal(name)
    mistakes = 0
    for vote in range(errors.votes):
        own = noise.normal(f"{name} {vote}")
        mixed = sqrt(errors.correlation) * shared + sqrt(1 - errors.correlation) * own
        mistakes += _NORMAL.cdf(mixed) < wrong
    return (errors.votes - mistakes if true == 1 else mistakes) / errors.votes


class _Noise:
    """Random numbers that follow from a seed and a turn's content alone."""

    def __init__(self, seed: int, turn: TurnResult) -> None:
        content = blake2b(digest_size=16)
        for part in (turn.source, turn.before, turn.after):
            content.update(str(part.shape).encode() + part.tobytes())
        content.update(f"{seed} {turn.turn} {turn.message.text}".encode(errors="surrogatepass"))
        self._content = content.digest()

    def uniform(self, name: str) -> float:
        """A number in (0, 1) for a purpose."""
        drawn = blake2b(name.encode(), key=self._content, digest_size=8).digest()
        return (int.from_bytes(drawn, "big") + 0.5) / 2**64

    def normal(self, name: str) -> float:
        """A standard normal number for a purpose."""
        return _NORMAL.inv_cdf(min(self.uniform(name), 1 - 2**-53))


def tint(before: Image, after: Image) -> float:
    """How far a picture's colours have shifted as a whole, 0 to 1.

    The largest median difference of a channel: an edit of few pixels leaves it 0, a colour cast does not. A
    new background shifts a picture too, and a judge with this bias falls for it likewise.
    """
    shifts = np.median(after.reshape(-1, 3).astype(np.int16) - before.reshape(-1, 3), axis=0)
    return float(np.abs(shifts).max()) / 255


def is_flat(picture: Image) -> bool:
    """Is the picture of one colour?"""
    # Most pictures show in their first row that they are not.
    return all(bool((part == picture[0, 0]).all()) for part in (picture[0], picture))


# Error models as YAML files or mappings.


def open_error_model(model: str | Mapping[str, Any]) -> ErrorModel:
    """The error model that a name, the path of a YAML file, or a mapping of the same form describes.

    Raises:
        ValueError: there is none of that name, or a key or value is not as expected.
    """
    if not isinstance(model, str):
        return _error_model("own", model)
    path = FOLDER / f"{model}.yaml" if (FOLDER / f"{model}.yaml").is_file() else Path(model)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise ValueError(f"error model {model!r} is not known, expected {shipped}, a YAML file or a mapping")
    try:
        return _error_model(path.stem, read_yaml(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"error model {model!r}: {error}") from error


def _error_model(name: str, data: Mapping[str, Any]) -> ErrorModel:
    _check_keys("error model", data, ("votes", "correlation", "yes_bias", "scores", "tint", "failures"))
    votes = data.get("votes", 4)
    if type(votes) is not int or votes < 1:
        raise ValueError(f"votes is {votes!r}, expected a whole number of 1 or more")
    tint, failures, scores = (data.get(key, {}) for key in ("tint", "failures", "scores"))
    _check_keys("tint", tint, ("full", "false_alarm"))
    _check_keys("failures", failures, ("rate", "flat"))
    _check_keys("scores", scores, SCORE_NAMES)
    full = _share("tint.full", tint.get("full", 0.1))
    if not full:
        raise ValueError("tint.full is 0, expected more")
    return ErrorModel(
        name=name,
        scores={score: _rates_by_task(score, rates) for score, rates in scores.items()},
        votes=votes,
        correlation=_share("correlation", data.get("correlation", 0.0)),
        yes_bias=_share("yes_bias", data.get("yes_bias", 0.0)),
        tint_full=full,
        tint_false_alarm=_share("tint.false_alarm", tint.get("false_alarm", 0.0)),
        failure_rate=_share("failures.rate", failures.get("rate", 0.0)),
        failure_flat=_share("failures.flat", failures.get("flat", 0.0)),
    )


def _rates_by_task(score: str, data: Mapping[str, Any]) -> dict[str, Rates]:
    """Rates for all tasks under "", and those of tasks that have their own."""
    _check_keys(score, data, ("miss", "false_alarm", "noise", "tasks"))
    tasks = data.get("tasks", {})
    _check_keys(f"{score}.tasks", tasks, TASKS)
    rates = {"": _rates(score, {name: value for name, value in data.items() if name != "tasks"})}
    for task, own in tasks.items():
        _check_keys(f"{score}.{task}", own, ("miss", "false_alarm", "noise"))
        rates[task] = _rates(f"{score}.{task}", own)
    return rates


def _rates(place: str, data: Mapping[str, Any]) -> Rates:
    return Rates(**{name: _share(f"{place}.{name}", value) for name, value in data.items()})


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}, expected a number from 0 to 1")
    return float(value)


def _check_keys(place: str, data: Any, names: tuple[str, ...]) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"{place} is {data!r}, expected a table of {', '.join(names)}")
    for name in data:
        if name not in names:
            raise ValueError(f"{place} has no {name!r}, expected some of {', '.join(names)}")
