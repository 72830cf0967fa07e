"""A scorer plus an error model with stated rates, so that reward hacking can be studied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from hashlib import blake2b
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from editenv.records import TASKS
from editenv.registry import build
from editenv.rewards import SCORERS
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.strict import Strict, check, read_yaml
from editenv.types import SCORE_NAMES, Image, Scores, TurnResult

FOLDER = Path(__file__).parent / "error_models"
_NORMAL = NormalDist()

Share = Annotated[float, Field(ge=0, le=1)]


class Rates(Strict):
    """Errors in judging one score; what is not given is 0."""

    miss: Share = 0.0  # probability that a vote calls a right result wrong
    false_alarm: Share = 0.0  # probability that a vote calls a wrong result right
    noise: Share = 0.0  # standard deviation added to the score as a whole, for scores that are shares


class ScoreRates(Rates):
    """Rates of a score, and under `tasks` those of tasks that have their own."""

    tasks: dict[Literal[TASKS], Rates] = Field({})  # type: ignore[valid-type]


class Tint(Strict):
    """Bias for tinted pictures."""

    # Shift of a picture's colours, as a share of the range, at which the bias is full.
    full: Annotated[float, Field(gt=0, le=1)] = 0.1
    false_alarm: Share = 0.0  # probability that a vote says right to a wrong result that is tinted in full


class Failures(Strict):
    """Share of pictures without an answer: `rate` of all, `flat` on top of those of one colour."""

    rate: Share = 0.0
    flat: Share = 0.0


class ErrorModel(Strict):
    """The errors of a judge, as a YAML file or a mapping holds them."""

    # Rates by score. Scores without rates are passed on as they are, so every score with a reward weight should have
    # some.
    scores: dict[Literal[SCORE_NAMES], ScoreRates] = Field({})  # type: ignore[valid-type]
    votes: int = Field(4, ge=1)  # how often each question is asked; the score is the share of votes that say right
    correlation: Share = 0.0  # between a picture's votes, 0 (independent) to 1 (all err together)
    # Probability that a vote says right to a wrong result, whatever the task, on top of its rate.
    yes_bias: Share = 0.0
    tint: Tint = Tint()
    failures: Failures = Failures()


def open_error_model(model: str | Mapping[str, Any]) -> tuple[str, ErrorModel]:
    """Name and content of the error model that a name, the path of a YAML file, or a mapping stands for."""
    if not isinstance(model, str):
        return "own", check(ErrorModel, model)
    path = FOLDER / f"{model}.yaml" if (FOLDER / f"{model}.yaml").is_file() else Path(model)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise ValueError(f"error model {model!r} is not known, expected {shipped}, a YAML file or a mapping")
    try:
        return path.stem, check(ErrorModel, read_yaml(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"error model {model!r}: {error}") from error


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
        name, self.errors = open_error_model(errors)
        self.seed = seed
        self.base = build("scorer", base, SCORERS, base_settings, world, self.weights)
        content = blake2b(repr(self.errors).encode(), digest_size=4).hexdigest()
        self.version = f"imperfect 1 {name}:{content} seed {seed} of {self.base.version}"
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
        detail = {"truth": {field.name: getattr(truth, field.name) for field in fields(Scores)}}
        flat = errors.failures.flat if errors.failures.flat and is_flat(turn.after) else 0.0
        if noise.uniform("failure") < 1 - (1 - errors.failures.rate) * (1 - flat):
            return Scores(detail=detail, error="imperfect: no answer, as the error model has it")
        shift = errors.tint.false_alarm
        if shift:
            shift *= min(1.0, tint(turn.before, turn.after) / errors.tint.full)
        lenient = 1 - (1 - errors.yes_bias) * (1 - shift)
        task = getattr(getattr(turn.message.meaning, "edit", None), "task", "")
        judged: dict[str, Any] = {}
        for name in SCORE_NAMES:
            true, known = getattr(truth, name), errors.scores.get(name)
            if true is None or known is None:
                judged[name] = true
                continue
            rates = known.tasks.get(task, known)
            if name in ("content_consistency", "turn_consistency"):
                lifted = true + (1 - true) * shift + rates.noise * noise.normal(name)
                judged[name] = min(1.0, max(0.0, lifted))
            else:
                wrong = rates.miss if true == 1 else 1 - (1 - rates.false_alarm) * (1 - lenient)
                mistakes = self._mistakes(wrong, noise, name)
                judged[name] = (errors.votes - mistakes if true == 1 else mistakes) / errors.votes
        return with_reward(Scores(**judged, detail=detail), self.weights)

    def _mistakes(self, wrong: float, noise: _Noise, name: str) -> int:
        """How many votes on a score err, each with this probability."""
        shared, correlation = noise.normal(name), self.errors.correlation
        own = (noise.normal(f"{name} {vote}") for vote in range(self.errors.votes))
        return sum(_NORMAL.cdf(sqrt(correlation) * shared + sqrt(1 - correlation) * one) < wrong for one in own)


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
