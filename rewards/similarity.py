"""Consistency by looks: detector and image encoder compare what had to stay with the source picture.

From top to bottom: the scorer; what is compared with what; a DINOv3 encoder and a GroundingDINO detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from editenv.rewards import require_share
from editenv.rewards.judge_context import JudgeContext, judge_context
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.types import Image, Scores, TurnResult

GREY = 128
"""What covers objects where the background is compared."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""
_Boxes = dict[tuple[bytes, str], Box | None]
"""Where a phrase was found, by the picture's bytes and the phrase."""


class Encoder(Protocol):
    """Features of pictures."""

    def embed(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors [N, D]."""
        ...


class Detector(Protocol):
    """Boxes of phrases in pictures."""

    def find(self, pictures: Sequence[Image], phrases: Sequence[str]) -> list[Box | None]:
        """The likeliest box of each picture's phrase; None where it is not there."""
        ...


class SimilarityScorer:
    """CC as in Edit-R2's MICE-Bench: the mean of two cosine similarities of features, current against source.

    (a) Objects that had to stay: cosine between the crops that a detector finds for a phrase in both
    pictures, negative ones 0; 0 where the object is gone, left out where the source does not show it. (b) The
    background, where it had to stay: cosine between both pictures, with the boxes of all known objects
    covered in both.

    A turn for which neither applies has no CC. IF and GA are None: this scorer does not judge them. `detail`
    keeps the similarity of every object and of the background.

    Args:
        world: whose sessions are judged.
        weights: of the reward.
        features: folder of a DINOv3 model, or an Encoder.
        detector: folder of a GroundingDINO model with its tokenizer, or a Detector.
        threshold: least confidence of a box that counts as found, 0 to 1.
        device: of torch.
    """

    def __init__(
        self,
        world: Any,
        weights: RewardWeights | None = None,
        *,
        features: str | Encoder,
        detector: str | Detector,
        threshold: float = 0.3,
        device: str = "cpu",
    ) -> None:
        require_share("threshold", threshold)
        self.weights = weights or RewardWeights()
        self.version = f"similarity 2 {model_name(features)} {model_name(detector)} threshold {threshold}"
        self.features: Encoder = DinoEncoder(features, device) if isinstance(features, str) else features
        if isinstance(detector, str):
            detector = GroundingDinoDetector(detector, threshold, device)
        self.detector: Detector = detector

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns; each phrase is looked for once in each picture, all crops are embedded at once."""
        meant = [judge_context(turn) for turn in turns]
        wanted = {
            (picture.tobytes(), phrase): picture
            for turn, words in zip(turns, meant, strict=True)
            for picture in (turn.source, turn.after)
            for phrase in _phrases(words)
        }
        found = self.detector.find(list(wanted.values()), [phrase for _, phrase in wanted]) if wanted else []
        boxes = dict(zip(wanted, found, strict=True))
        pairs = [_pairs(turn, words, boxes) for turn, words in zip(turns, meant, strict=True)]
        shown = [picture for own in pairs for pair in own.values() for picture in pair or ()]
        vectors = iter(self.features.embed(shown) if shown else ())
        scores = []
        for own in pairs:
            # Cosine of unit vectors, at least 0; an object that is gone has no pair.
            objects = {
                name: 0.0 if pair is None else min(1.0, max(0.0, float(next(vectors) @ next(vectors))))
                for name, pair in own.items()
            }
            background = objects.pop(None, None)
            parts = [sum(objects.values()) / len(objects)] if objects else []
            if background is not None:
                parts.append(background)
            consistency = sum(parts) / len(parts) if parts else None
            detail = {"objects": objects, "background": background}
            scores.append(with_reward(Scores(content_consistency=consistency, detail=detail), self.weights))
        return scores


# What is compared with what.


def _pairs(turn: TurnResult, words: JudgeContext, boxes: _Boxes) -> dict[str | None, tuple[Image, Image] | None]:
    """Crops of unchanged objects by phrase, None where gone; under None both backgrounds, objects covered."""
    pairs: dict[str | None, tuple[Image, Image] | None] = {}
    source, after = turn.source.tobytes(), turn.after.tobytes()
    for phrase in words.unchanged or ():
        there, now = boxes[source, phrase], boxes[after, phrase]
        if there is not None:
            pairs[phrase] = None if now is None else (_crop(turn.source, there), _crop(turn.after, now))
    if words.background and words.unchanged is not None:
        covered = turn.source.copy(), turn.after.copy()
        for box in (boxes[picture, phrase] for picture in (source, after) for phrase in _phrases(words)):
            if box is not None:
                for picture in covered:
                    _crop(picture, box)[:] = GREY
        pairs[None] = covered
    return pairs


def _phrases(words: JudgeContext) -> list[str]:
    """All phrases that are looked for, each once."""
    return list(dict.fromkeys((*(words.unchanged or ()), *words.objects)))


def _crop(picture: Image, box: Box) -> Image:
    left, top, right, bottom = box
    return picture[top:bottom, left:right]


# The models, from local folders as transformers saves them.


@dataclass(frozen=True, slots=True)
class Found:
    """One box that a detector found: left, top, right, bottom as shares of width and height, and its confidence."""

    box: tuple[float, float, float, float]
    score: float

    @property
    def center(self) -> tuple[float, float]:
        """From the left and from the top, as shares of the picture."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    def pixels(self, picture: Image) -> Box:
        """The box in pixels; one pixel at least, inside of the picture."""
        height, width = picture.shape[:2]
        left, top = (min(max(0, round(at * n)), n - 1) for at, n in zip(self.box, (width, height), strict=False))
        right = min(max(left + 1, round(self.box[2] * width)), width)
        return left, top, right, min(max(top + 1, round(self.box[3] * height)), height)


class DinoEncoder:
    """Features of a model such as DINOv3; `batch` pictures at one time, resized by the model's own processor."""

    def __init__(self, folder: str, device: str = "cpu", batch: int = 16) -> None:
        from transformers import AutoImageProcessor, AutoModel, ViTImageProcessorPil
        from transformers.utils.import_utils import is_torchvision_available

        self._model = _load(AutoModel, folder, device)
        # DINOv3's own processor is one of torchvision alone; ViT's reads the same settings and does the same.
        self._images = _load(AutoImageProcessor if is_torchvision_available() else ViTImageProcessorPil, folder, None)
        self._device, self._batch = device, batch

    def embed(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """The pooled output of pictures uint8 [H, W, 3] of any size, as unit vectors [N, D]."""
        parts = [output.pooler_output for output, _ in self._outputs(pictures)]
        found = np.concatenate([part.float().cpu().numpy() for part in parts])
        directions: NDArray[np.float32] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return directions

    def tokens(self, pictures: Sequence[Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last layer's class tokens [N, D] and patch tokens [N, h, w, D], register tokens left out."""
        classes, patches = [], []
        for output, (height, width) in self._outputs(pictures):
            state = output.last_hidden_state.float().cpu().numpy()
            side = self._model.config.patch_size
            grid = height // side, width // side
            classes.append(state[:, 0])
            patches.append(state[:, -grid[0] * grid[1] :].reshape(len(state), *grid, -1))
        return np.concatenate(classes), np.concatenate(patches)

    def _outputs(self, pictures: Sequence[Image]) -> Iterator[tuple[Any, tuple[int, int]]]:
        """What the model says of each batch, and the height and width in pixels at which it was shown."""
        import torch

        for first in range(0, len(pictures), self._batch):
            part = list(pictures[first : first + self._batch])
            # Said, since it would else be guessed from the sizes, wrongly for crops 3 pixels high.
            given = self._images(images=part, input_data_format="channels_last", return_tensors="pt")
            pixels = given["pixel_values"]
            with torch.inference_mode():
                yield self._model(pixel_values=pixels.to(self._device)), tuple(pixels.shape[-2:])


class GroundingDinoDetector:
    """Where objects are that phrases describe.

    Args:
        folder: a GroundingDINO model, its tokenizer and its image processor's settings beside it.
        threshold: confidence, 0 to 1, above which `find` counts a box as found.
        device: of torch.
        batch: pictures at one time.
    """

    def __init__(self, folder: str, threshold: float = 0.3, device: str = "cpu", batch: int = 4) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer, GroundingDinoImageProcessorPil

        self._model = _load(AutoModelForZeroShotObjectDetection, folder, device)
        self._tokenizer = _load(AutoTokenizer, folder, None)
        self._images = _load(GroundingDinoImageProcessorPil, folder, None)
        self._threshold, self._device, self._batch = threshold, device, batch

    def find(self, pictures: Sequence[Image], phrases: Sequence[str]) -> list[Box | None]:
        """The likeliest box of a phrase in each picture, all of one size; None where none is likely enough."""
        found = self.detect(pictures, phrases, self._threshold)
        best = [max(boxes, key=lambda one: one.score, default=None) for boxes in found]
        return [one and one.pixels(picture) for one, picture in zip(best, pictures, strict=True)]

    def detect(
        self, pictures: Sequence[Image], phrases: Sequence[str | Sequence[str]], threshold: float
    ) -> list[list[Found]]:
        """All boxes in each picture, all of one size, of more than a confidence, in the model's order.

        A box's confidence is the highest of any token of its caption, sigmoid(logit). Several phrases are looked for
        by one caption, "a . b .", whose boxes do not tell which of them they show.
        """
        parts = (slice(first, first + self._batch) for first in range(0, len(pictures), self._batch))
        return [boxes for part in parts for boxes in self._detect(pictures[part], phrases[part], threshold)]

    def _detect(
        self, pictures: Sequence[Image], phrases: Sequence[str | Sequence[str]], threshold: float
    ) -> list[list[Found]]:
        import torch

        listed = [[one] if isinstance(one, str) else one for one in phrases]
        captions = [" . ".join(phrase.strip().lower().replace(".", "") for phrase in one) + " ." for one in listed]
        given = self._tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
        given |= self._images(images=list(pictures), input_data_format="channels_last", return_tensors="pt")
        with torch.inference_mode():
            output = self._model(**{name: value.to(self._device) for name, value in given.items()})
        scores = output.logits.float().sigmoid().amax(-1).cpu().tolist()  # of [B, boxes, tokens]
        x, y, w, h = output.pred_boxes.float().cpu().unbind(-1)
        corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1).tolist()
        return [
            [Found(tuple(box), score) for box, score in zip(boxes, sure, strict=True) if score > threshold]
            for boxes, sure in zip(corners, scores, strict=True)
        ]


def model_name(model: Any) -> str:
    """What a version calls a model that is a folder or an object."""
    return Path(model).name if isinstance(model, str) else type(model).__name__


def _load(kind: Any, folder: str, device: str | None) -> Any:
    """A model, or a processor where `device` is None, from a local folder; weights in safetensors alone."""
    if not Path(folder).is_dir():
        raise ValueError(f"model folder {folder!r} does not exist, expected one as transformers saves it")
    try:
        if device is None:
            return kind.from_pretrained(folder, local_files_only=True)
        return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True).to(device).eval()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"model folder {folder!r} cannot be used: {error}") from error
