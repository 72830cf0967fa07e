"""An exact scorer that errs as a stated error model says, so that reward hacking can be studied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from hashlib import blake2b
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from editenv.registry import build
from editenv.rewards import SCORERS
from editenv.rewards.errormodel import ErrorModel, Rates, open_error_model
from editenv.rewards.weighting import RewardWeights, with_reward
from editenv.types import SCORE_NAMES, Image, Scores, TurnResult

_NORMAL = NormalDist()
_FIELDS = tuple(field.name for field in fields(Scores))


class ImperfectScorer:
    """Judges as another scorer does, then errs.

    A vote on a right result says wrong with probability `miss`. A vote on a wrong one says right with
    probability 1 - (1 - false_alarm) (1 - yes_bias) (1 - tint). Votes on one picture share part of their luck
    (a Gaussian copula with the model's `correlation`). A score that is a share gets noise, and a tint lifts
    it towards 1. Failures leave every score None, with an error.

    All luck follows from the seed and from what is judged: source, both pictures, words and turn. So the
    same turn is judged the same in any batch and order, again and again, as by a judge with a cache.
    `detail["truth"]` keeps what the other scorer said, its own detail included; global awareness is judged
    on the true history.

    Args:
        world: whose sessions are judged.
        weights: of the reward, of the truth's too.
        base: name of the scorer that tells the truth.
        base_settings: its settings.
        errors: name of an error model that comes with the package, path of a YAML file, or its mapping.
        seed: of the errors; judges with other seeds err elsewhere, equally often.

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

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """The judgements; `detail["truth"]` holds the true scores as JSON values."""
        truths = self.base.score([replace(turn, history=_true_history(turn)) for turn in turns])
        return [self._judge(turn, truth) for turn, truth in zip(turns, truths, strict=True)]

    def _judge(self, turn: TurnResult, truth: Scores) -> Scores:
        errors, luck = self.errors, _Luck(self.seed, turn)
        detail = {"truth": {name: getattr(truth, name) for name in _FIELDS}}
        flat = errors.failure_flat if errors.failure_flat and is_flat(turn.after) else 0.0
        fails = 1 - (1 - errors.failure_rate) * (1 - flat)
        if luck.uniform("failure") < fails:
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
                judged[name] = _share(true, rates, shift, luck.normal(name))
            else:
                judged[name] = _votes(true, rates, lenient, errors, luck, name)
        return with_reward(Scores(**judged, detail=detail), self.weights)


def tint(before: Image, after: Image) -> float:
    """How far a picture's colours have shifted as a whole, 0 to 1.

    The largest median difference of a channel: an edit of few pixels leaves it 0, a colour cast does not.
    A new background shifts a picture too, and a judge with this bias falls for it likewise.
    """
    shifts = np.median(after.reshape(-1, 3).astype(np.int16) - before.reshape(-1, 3), axis=0)
    return float(np.abs(shifts).max()) / 255


def is_flat(picture: Image) -> bool:
    """Is the picture of one colour."""
    # Most pictures show it in their first row.
    return all(bool((part == picture[0, 0]).all()) for part in (picture[0], picture))


def _votes(true: float, rates: Rates, lenient: float, errors: ErrorModel, luck: _Luck, name: str) -> float:
    """Share of the votes that say right."""
    wrong = rates.miss if true == 1 else 1 - (1 - rates.false_alarm) * (1 - lenient)
    shared = luck.normal(name)
    mistakes = 0
    for vote in range(errors.votes):
        own = luck.normal(f"{name} {vote}")
        mixed = sqrt(errors.correlation) * shared + sqrt(1 - errors.correlation) * own
        mistakes += _NORMAL.cdf(mixed) < wrong
    return (errors.votes - mistakes if true == 1 else mistakes) / errors.votes


def _share(true: float, rates: Rates, shift: float, normal: float) -> float:
    """A share with noise, lifted towards 1 by the tint's bias."""
    return min(1.0, max(0.0, true + (1 - true) * shift + rates.noise * normal))


class _Luck:
    """Random numbers that follow from a seed and a turn's content alone."""

    def __init__(self, seed: int, turn: TurnResult) -> None:
        content = blake2b(digest_size=16)
        for part in (turn.source, turn.before, turn.after):
            content.update(str(part.shape).encode() + part.tobytes())
        content.update(f"{seed} {turn.turn} {turn.message.text}".encode())
        self._content = content.digest()

    def uniform(self, name: str) -> float:
        """A number in (0, 1) for a purpose."""
        drawn = blake2b(name.encode(), key=self._content, digest_size=8).digest()
        return (int.from_bytes(drawn, "big") + 0.5) / 2**64

    def normal(self, name: str) -> float:
        """A standard normal number for a purpose."""
        return _NORMAL.inv_cdf(min(self.uniform(name), 1 - 2**-53))


def _true_history(turn: TurnResult) -> tuple[Scores, ...]:
    """The true scores of the earlier turns, as the other scorer gave them."""
    return tuple(Scores(**past.detail["truth"]) for past in turn.history)
