"""The scores of Edit-R2's MICE-Bench as its reward servers compute them (arXiv 2606.05950, code of 2026-06-18).

From top to bottom: the scorer; what the detector says of an edit (IF); what the encoder says of what had to stay (CC).
docs/scorers.md says for each number whether it can be compared with published ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from editenv.registry import build
from editenv.rewards import SCORERS
from editenv.rewards.judge import JudgeScorer, Question, question_messages
from editenv.rewards.judge_context import JudgeContext, judge_context
from editenv.rewards.similarity import DinoEncoder, Found, GroundingDinoDetector, model_name
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.types import Image, Scores, TurnResult
from editenv.worlds.records.sentences import Sentence, take_apart

DETECTOR_ALONE = ("subject_remove", "position_change", "count_change")
MODEL_ALONE = ("color_alter", "material_alter")
"""Tasks whose IF one of both decides; in the others the detector and the share of votes are multiplied."""
USUAL, REMOVED, PLACED, KEPT, CONSISTENT = 0.3, 0.35, 0.4, 0.25, 0.35
"""Least confidence of a box: in most tasks, of a removal, of a position, of what stays before a background; for CC."""

READ = "Write down all text that can be read in this picture, letter by letter, and nothing else."
"""Asked for text_change; the vote is whether the wanted text stands in the answer, whatever the capitals."""

Look = Callable[..., list[Found]]
"""look(picture, phrase or phrases, least confidence): boxes, in the model's order."""


class TokenEncoder(Protocol):
    """Features of pictures, one by one and in parts."""

    def tokens(self, pictures: Sequence[Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class tokens [N, D] and patch tokens [N, h, w, D]."""
        ...


class BoxDetector(Protocol):
    """All boxes of phrases in pictures."""

    def detect(
        self, pictures: Sequence[Image], phrases: Sequence[str | Sequence[str]], threshold: float
    ) -> list[list[Found]]:
        """Boxes of each picture's phrase, or of all its phrases together."""
        ...


class MiceScorer:
    """IF by task from detections and votes, CC from features of crops and of the masked background, GA by one look.

    IF: detections decide removals, positions and counts; the votes' share colours and materials; both multiplied
    additions, replacements, backgrounds and texts. What is none of the nine tasks, or follows no known sentence, the
    votes decide alone. CC: current against source picture, see `consistency`. GA: the judge's one question about all
    turns so far, with its votes.

    A detector, encoder or judge that fails leaves its score None, and an error. `counts` tells how often IF was
    decided by whom; `detail` keeps the votes, what the detector said and both parts of CC.

    Args:
        world: whose sessions are judged.
        weights: of the reward.
        endpoint: of the judge.
        features: folder of a DINOv3 model, or a TokenEncoder.
        detector: folder of a GroundingDINO model, or a BoxDetector.
        device: of torch, for both.
        judge: further settings of `JudgeScorer`.
    """

    def __init__(
        self,
        world: Any,
        weights: RewardWeights | None = None,
        *,
        endpoint: Mapping[str, Any],
        features: str | TokenEncoder,
        detector: str | BoxDetector,
        device: str = "cpu",
        **judge: Any,
    ) -> None:
        self.weights = weights or RewardWeights()
        self.judge: JudgeScorer = build("scorer", "judge", SCORERS, {"endpoint": endpoint, **judge}, world, weights)
        self.features = DinoEncoder(features, device) if isinstance(features, str) else features
        self.detector = GroundingDinoDetector(detector, device=device) if isinstance(detector, str) else detector
        self.version = f"mice 1 {model_name(features)} {model_name(detector)}, {self.judge.version}"
        self.decided: Counter[str] = Counter({"if_by_detector": 0, "if_by_both": 0, "if_by_model": 0})

    def close(self) -> None:
        """Gives the judge's connections back."""
        self.judge.close()

    def counts(self) -> dict[str, float]:
        """Turns whose IF was decided by the detector, by both, by the model alone."""
        return dict(self.decided)

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns, in order; pictures are looked at turn by turn, all questions of all turns asked at once."""

        @cache
        def boxes(shape: tuple[int, ...], pixels: bytes, phrases: str | tuple[str, ...], least: float) -> list[Found]:
            picture = np.frombuffer(pixels, np.uint8).reshape(shape)
            return self.detector.detect([picture], [phrases], least)[0]

        def look(picture: Image, phrases: str | Sequence[str], least: float) -> list[Found]:
            named = phrases if isinstance(phrases, str) else tuple(phrases)
            return boxes(picture.shape, picture.tobytes(), named, least)

        meant = [judge_context(turn) for turn in turns]
        looked = [self._looked(turn, words, look) for turn, words in zip(turns, meant, strict=True)]
        questions = [self._questions(*three) for three in zip(turns, meant, looked, strict=True)]
        asked = zip(looked, self.judge.poll(questions), strict=True)
        return [with_reward(_together(seen, said), self.weights) for seen, said in asked]

    def _looked(self, turn: TurnResult, words: JudgeContext, look: Look) -> Scores:
        """IF as far as the detector decides it (1.0 where it has nothing against the edit), and CC."""
        sentence = take_apart(words.resolved[-1]) if not words.impossible else None
        if sentence is not None and (
            sentence.task != words.task or (words.task == "count_change" and not str(sentence.value).isdecimal())
        ):
            sentence = None
        by = "model" if sentence is None or words.task in MODEL_ALONE else "both"
        by = "detector" if sentence is not None and words.task in DETECTOR_ALONE else by
        self.decided[f"if_by_{by}"] += 1
        follows, found, errors = 1.0, None, []
        try:
            follows = float(sentence is None or detector_agrees(sentence, turn.before, turn.after, look))
        except Exception as error:  # whatever a model raises is its failure, not the session's
            follows = None
            errors.append(f"instruction_following: {type(error).__name__}: {error}")
        detail: dict[str, Any] = {"if_by": by, "detector": follows if by != "model" else None}
        try:
            found, detail["objects"], detail["background"] = consistency(turn, words, look, self.features)
        except Exception as error:
            errors.append(f"content_consistency: {type(error).__name__}: {error}")
        return Scores(follows, found, detail=detail, error="; ".join(errors) or None)

    def _questions(self, turn: TurnResult, words: JudgeContext, looked: Scores) -> list[Question]:
        """GA's question, and that of IF where a vote can still change it."""
        kept = [one for one in self.judge.questions(turn, words) if one.score != "content_consistency"]
        if looked.detail["if_by"] == "detector" or not looked.instruction_following:
            kept = [one for one in kept if one.score != "instruction_following"]
        sentence = take_apart(words.resolved[-1]) if words.task == "text_change" else None
        if sentence is not None and sentence.value and looked.detail["if_by"] == "both":
            messages = question_messages(READ, [turn.after], self.judge.side)
            read = Question("instruction_following", messages, partial(_reads, sentence.value))
            kept = [read if one.score == "instruction_following" else one for one in kept]
        return kept


def _together(seen: Scores, said: Scores) -> Scores:
    """A turn's scores from what the models saw and what the votes said."""
    following, votes = seen.instruction_following, said.detail["votes"]
    if following and "instruction_following" in votes:
        following = said.instruction_following
    errors = "; ".join(error for error in (seen.error, said.error) if error)
    return replace(
        said, instruction_following=following, content_consistency=seen.content_consistency,
        detail={**said.detail, **seen.detail}, error=f"mice: {errors}" if errors else None,
    )  # fmt: skip


def _reads(wanted: str, answer: str) -> float:
    return float(wanted.lower() in answer.rpartition("</think>")[2].lower())


# IF: what the detector says.

_AXES = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}


def detector_agrees(sentence: Sentence, before: Image, after: Image, look: Look) -> bool:
    """Whether detections speak for an edit, as published; True where they decide nothing.

    - subject_add: the new object is found afterwards; with a position, one of its centres lies on that side of one of
      the other object's centres before, by more than 0.03 of the picture.
    - subject_remove: the likeliest box before is there, and none afterwards, or one with IoU < 0.2 to it; boxes of the
      whole picture (more than 0.98 of both sides) do not count.
    - subject_replace: a box of the old object before and one of the new object afterwards overlap.
    - position_change: as many of both objects before and afterwards, and the first box of the one lies on that side of
      the first box of the other, by its centre.
    - count_change: the object is there before, and afterwards as many as asked for; boxes of IoU > 0.8 are one.
    - background_change: every object that was to stay is found, and not all over the picture (0.9 of both sides).
    - text_change: the object that carries a text to be replaced is found before.
    """
    task, thing, other, where = (
        sentence.task,
        sentence.object or "",
        sentence.beside,
        _AXES.get(sentence.position or ""),
    )
    if task == "subject_add":
        new = look(after, thing, USUAL)
        if other is None or where is None:
            return bool(new)
        old = look(before, other, USUAL)
        return any(_offset(one, beside, where) > 0.03 for one in new for beside in old)
    if task == "subject_remove":
        was, now = (
            _likeliest([one for one in look(picture, thing, REMOVED) if not _covers(one, 0.98)])
            for picture in (before, after)
        )
        return was is not None and (now is None or iou(was, now) < 0.2)
    if task == "subject_replace":
        old, new = look(before, _singular(thing), USUAL), look(after, _singular(sentence.value or ""), USUAL)
        return any(iou(one, another) > 0 for one in old for another in new)
    if task == "position_change":
        pairs = [(look(before, name, PLACED), look(after, name, PLACED)) for name in (other or "", thing)]
        if where is None or any(count(old) != count(new) for old, new in pairs) or not all(new for _, new in pairs):
            return False
        (_, beside), (_, moved) = pairs
        return _offset(moved[0], beside[0], where) > 0
    if task == "count_change":
        return bool(look(before, thing, USUAL)) and count(look(after, thing, USUAL)) == int(sentence.value or "")
    if task == "background_change":
        kept = [_likeliest(look(after, name, KEPT)) for name in sentence.kept]
        return all(one is not None and not _covers(one, 0.9) for one in kept)
    return task != "text_change" or not thing or bool(look(before, thing, USUAL))


def iou(one: Found, other: Found) -> float:
    """Intersection over union of two boxes."""
    (a, b, c, d), (e, f, g, h) = one.box, other.box
    both = max(0.0, min(c, g) - max(a, e)) * max(0.0, min(d, h) - max(b, f))
    union = (c - a) * (d - b) + (g - e) * (h - f) - both
    return both / union if union else 0.0


def count(boxes: Sequence[Found]) -> int:
    """How many objects boxes show: one that has IoU > 0.8 with an earlier one counts with it."""
    different: list[Found] = []
    for box in boxes:
        if all(iou(box, known) <= 0.8 for known in different):
            different.append(box)
    return len(different)


def _offset(one: Found, other: Found, where: tuple[int, int]) -> float:
    """How far one box's centre lies from another's in a direction (axis, sign), as a share of that side."""
    axis, sign = where
    return sign * (one.center[axis] - other.center[axis])


def _covers(one: Found, share: float) -> bool:
    left, top, right, bottom = one.box
    return right - left > share and bottom - top > share


def _likeliest(boxes: Sequence[Found]) -> Found | None:
    return max(boxes, key=lambda one: one.score, default=None)


def _singular(name: str) -> str:
    """As published: without a last "es", else without a last "s"."""
    return name[:-2] if name.endswith("es") else name.removesuffix("s")


# CC: what the encoder says.


def consistency(
    turn: TurnResult, words: JudgeContext, look: Look, features: TokenEncoder
) -> tuple[float | None, float | None, float | None]:
    """CC and its two parts, the current against the source picture; None for what does not apply.

    Objects: mean over the boxes that the source shows of the unchanged objects, cut out of both pictures at the same
    place, of 0.5 cos(class tokens) + 0.5 cos(means of patch tokens). Background, where it had to stay: cosine of
    both pictures' mean unit patch tokens outside of all known objects' boxes in either; a patch has as weight the
    share of it that is outside, and none below a half. CC is the mean of both. Negative cosines are 0.
    """
    objects = background = None
    stays = look(turn.source, words.unchanged, CONSISTENT) if words.unchanged else []
    if stays:
        crops = [_crop(picture, one) for one in stays for picture in (turn.source, turn.after)]
        classes, patches = features.tokens(crops)
        means = patches.mean((1, 2))
        alike = [(_cosine(*classes[at : at + 2]) + _cosine(*means[at : at + 2])) / 2 for at in range(0, len(crops), 2)]
        objects = max(0.0, sum(alike) / len(alike))
    covered = []
    if words.background and words.objects:
        covered = [one for picture in (turn.source, turn.after) for one in look(picture, words.objects, CONSISTENT)]
    if covered:
        _, patches = features.tokens([turn.source, turn.after])
        weights = background_weights(turn.source.shape[:2], covered, (patches.shape[1], patches.shape[2]))
        if weights.any():
            unit = patches / np.maximum(np.linalg.norm(patches, axis=-1, keepdims=True), 1e-8)
            background = max(0.0, _cosine(*np.einsum("nhwd,hw->nd", unit, weights)))
    parts = [part for part in (objects, background) if part is not None]
    return (min(1.0, sum(parts) / len(parts)) if parts else None), objects, background


def background_weights(shape: tuple[int, int], boxes: Sequence[Found], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Share of each patch [h, w] that lies outside of all boxes, 0 where that is less than a half."""
    outside = np.ones(shape, np.float32)
    for one in boxes:
        left, top, right, bottom = one.pixels(np.empty((*shape, 3), np.uint8))
        outside[top:bottom, left:right] = 0
    shares = np.array(PILImage.fromarray(outside).resize((grid[1], grid[0]), PILImage.Resampling.BOX))
    return np.where(shares >= 0.5, shares, 0)


def _crop(picture: Image, one: Found) -> Image:
    left, top, right, bottom = one.pixels(picture)
    return picture[top:bottom, left:right]


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-8))
