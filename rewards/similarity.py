"""Consistency by looks: are the objects and the background that had to stay as in the source picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from editenv.rewards.asked import Asked, asked
from editenv.rewards.vision import Box, Detector, Features
from editenv.rewards.weighting import RewardWeights, with_reward
from editenv.types import Image, Scores, TurnResult

GREY = 128
"""What covers objects where the background is looked at."""


class Embeds(Protocol):
    """Features of pictures."""

    def embed(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Directions [N, D] of length 1."""


class Finds(Protocol):
    """Boxes of phrases in pictures."""

    def find(self, pictures: Sequence[Image], phrases: Sequence[str]) -> list[Box | None]:
        """One box or None a picture and its phrase."""


class SimilarityScorer:
    """CC as Edit-R2's MICE-Bench has it: the mean of two similarities of features, current against source.

    (a) Objects that had to stay: cosine between the crops that a detector finds for a phrase in both
    pictures, negative ones 0; 0 where the object is gone, left out where the source does not show it.
    (b) The background, where it had to stay: cosine between both pictures, with the boxes of all known
    objects covered in both.

    A turn for which neither applies has no CC. IF and GA are None: this scorer does not judge them.
    `detail` keeps the similarity of every object and of the background.

    Args:
        world: whose sessions are judged.
        weights: of the reward.
        features: folder of a DINOv3 model, or an object that embeds pictures.
        detector: folder of a GroundingDINO model with its tokenizer, or an object that finds phrases.
        threshold: least confidence of a box that counts as found, 0 to 1.
        device: of torch.

    Raises:
        ValueError: a folder holds no such model, or the threshold is not in its range.
    """

    def __init__(
        self,
        world: Any,
        weights: RewardWeights | None = None,
        *,
        features: str | Embeds,
        detector: str | Finds,
        threshold: float = 0.3,
        device: str = "cpu",
    ) -> None:
        if isinstance(threshold, bool) or not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold!r}, expected a number from 0 to 1")
        self.weights = weights or RewardWeights()
        names = [
            Path(part).name if isinstance(part, str) else type(part).__name__ for part in (features, detector)
        ]
        self.version = f"similarity 1 {' '.join(names)} threshold {threshold}"
        self.features: Embeds = Features(features, device) if isinstance(features, str) else features
        self.detector: Finds = (
            Detector(detector, threshold, device) if isinstance(detector, str) else detector
        )

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns; each phrase is looked for once in each picture, all crops are embedded at once."""
        meant = [asked(turn) for turn in turns]
        boxes = _Boxes(self.detector)
        boxes.look(
            (picture, phrase)
            for turn, words in zip(turns, meant, strict=True)
            for picture in (turn.source, turn.after)
            for phrase in _phrases(words)
        )
        views = [_views(turn, words, boxes) for turn, words in zip(turns, meant, strict=True)]
        shown = [picture for own in views for view in own for picture in view.pair or ()]
        directions = iter(self.features.embed(shown) if shown else ())
        return [self._scores({view.name: _similarity(view, directions) for view in own}) for own in views]

    def _scores(self, similar: Mapping[str | None, float]) -> Scores:
        """CC from the similarity of each object by phrase, and of the background under None."""
        objects = {name: value for name, value in similar.items() if name is not None}
        parts = [sum(objects.values()) / len(objects)] if objects else []
        if None in similar:
            parts.append(similar[None])
        consistency = sum(parts) / len(parts) if parts else None
        detail = {"objects": objects, "background": similar.get(None)}
        return with_reward(Scores(content_consistency=consistency, detail=detail), self.weights)


@dataclass(frozen=True)
class _View:
    """Two pictures to compare; an object that is gone has no pair, the background no name."""

    name: str | None
    pair: tuple[Image, Image] | None


class _Boxes:
    """Where phrases were found, so that nothing is looked for twice."""

    def __init__(self, detector: Finds) -> None:
        self._detector = detector
        self._found: dict[tuple[bytes, str], Box | None] = {}

    def look(self, wanted: Iterable[tuple[Image, str]]) -> None:
        """Looks for phrases in pictures, all of one size."""
        jobs = {(_digest(picture), phrase): picture for picture, phrase in wanted}
        found = self._detector.find(list(jobs.values()), [phrase for _, phrase in jobs]) if jobs else []
        self._found.update(zip(jobs, found, strict=True))

    def of(self, picture: Image, phrase: str) -> Box | None:
        """A box that was looked for."""
        return self._found[_digest(picture), phrase]


def _views(turn: TurnResult, words: Asked, boxes: _Boxes) -> list[_View]:
    """What is to be compared in a turn."""
    views = []
    for phrase in dict.fromkeys(words.unchanged or ()):
        before, after = boxes.of(turn.source, phrase), boxes.of(turn.after, phrase)
        if before is not None:
            pair = None if after is None else (_crop(turn.source, before), _crop(turn.after, after))
            views.append(_View(phrase, pair))
    if words.background and words.unchanged is not None:
        covered = [
            box
            for picture in (turn.source, turn.after)
            for phrase in _phrases(words)
            if (box := boxes.of(picture, phrase)) is not None
        ]
        views.append(_View(None, (_covered(turn.source, covered), _covered(turn.after, covered))))
    return views


def _phrases(words: Asked) -> list[str]:
    """All phrases that are looked for, each once."""
    return list(dict.fromkeys((*(words.unchanged or ()), *words.objects)))


def _similarity(view: _View, directions: Any) -> float:
    """Cosine of a pair's directions, taken from the iterator; 0 for an object that is gone."""
    if view.pair is None:
        return 0.0
    first, second = next(directions), next(directions)
    return float(min(1.0, max(0.0, float(np.dot(first, second)))))


def _crop(picture: Image, box: Box) -> Image:
    left, top, right, bottom = box
    return picture[top:bottom, left:right]


def _covered(picture: Image, boxes: Sequence[Box]) -> Image:
    """The picture with grey boxes."""
    shown = picture.copy()
    for left, top, right, bottom in boxes:
        shown[top:bottom, left:right] = GREY
    return shown


def _digest(picture: Image) -> bytes:
    return blake2b(picture.tobytes(), digest_size=16).digest()
