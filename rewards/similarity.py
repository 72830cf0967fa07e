"""Consistency by looks: detector and image encoder compare what had to stay with the source picture.

From top to bottom: the scorer; what is compared with what; a DINOv3 encoder and a GroundingDINO detector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
        names = [Path(part).name if isinstance(part, str) else type(part).__name__ for part in (features, detector)]
        self.version = f"similarity 1 {' '.join(names)} threshold {threshold}"
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

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoEncoder:
    """Features of a model such as DINOv3: its pooled output as a unit vector; `batch` pictures at one time."""

    def __init__(self, folder: str, device: str = "cpu", batch: int = 16) -> None:
        from transformers import AutoModel

        self._model = _load(AutoModel, folder, device)
        self._device, self._batch = device, batch
        self._settings = _preprocessing(folder)
        size = self._settings.get("size", {})
        self._shape = (size.get("height", 224), size.get("width", 224))

    def embed(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors [N, D] of pictures uint8 [H, W, 3] of any size, each resized to the model's."""
        import torch

        rows = []
        for first in range(0, len(pictures), self._batch):
            part = _pixels(pictures[first : first + self._batch], self._shape, self._settings)
            with torch.inference_mode():
                pixels = torch.from_numpy(part).to(self._device)
                rows.append(self._model(pixel_values=pixels).pooler_output.float().cpu().numpy())
        found = np.concatenate(rows)
        directions: NDArray[np.float32] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return directions


class GroundingDinoDetector:
    """Where an object is that a phrase describes: the box with the highest score of any token of the phrase.

    Args:
        folder: a GroundingDINO model, its tokenizer beside it.
        threshold: least confidence, 0 to 1, of a box that counts as found.
        device: of torch.
        batch: pictures at one time.
    """

    def __init__(self, folder: str, threshold: float = 0.3, device: str = "cpu", batch: int = 4) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer

        self._model = _load(AutoModelForZeroShotObjectDetection, folder, device)
        self._tokenizer = _load(AutoTokenizer, folder, None)
        self._threshold, self._device, self._batch = threshold, device, batch
        self._settings = _preprocessing(folder)

    def find(self, pictures: Sequence[Image], phrases: Sequence[str]) -> list[Box | None]:
        """The likeliest box of a phrase in each picture, all of one size; None where none is likely enough."""
        parts = (slice(first, first + self._batch) for first in range(0, len(pictures), self._batch))
        return [box for part in parts for box in self._find(pictures[part], phrases[part])]

    def _find(self, pictures: Sequence[Image], phrases: Sequence[str]) -> list[Box | None]:
        import torch

        height, width = pictures[0].shape[:2]
        shape = _detector_shape(height, width, self._settings.get("size", {}))
        pixels = torch.from_numpy(_pixels(pictures, shape, self._settings))
        captions = [f"{phrase.lower().strip().rstrip('.')}." for phrase in phrases]
        tokens = self._tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
        # Special tokens and the final point are no part of a phrase.
        others = [*self._tokenizer.all_special_ids, self._tokenizer.convert_tokens_to_ids(".")]
        own = tokens["attention_mask"].bool() & ~torch.isin(tokens["input_ids"], torch.tensor(others))
        with torch.inference_mode():
            output = self._model(
                pixel_values=pixels.to(self._device),
                **{name: value.to(self._device) for name, value in tokens.items()},
            )
        likely = output.logits.float().sigmoid().cpu()[..., : own.shape[1]]
        scores, best = likely.masked_fill(~own[:, None], 0.0).amax(-1).max(1)  # of [B, boxes]
        boxes = output.pred_boxes.float().cpu()[torch.arange(len(best)), best].numpy()
        return [
            _in_pixels(box, height, width) if score >= self._threshold else None
            for box, score in zip(boxes, scores, strict=True)
        ]


def _load(kind: Any, folder: str, device: str | None) -> Any:
    """A model, or a tokenizer where `device` is None, from a local folder; weights in safetensors alone."""
    if not Path(folder).is_dir():
        raise ValueError(f"model folder {folder!r} does not exist, expected one as transformers saves it")
    try:
        if device is None:
            return kind.from_pretrained(folder, local_files_only=True)
        return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True).to(device).eval()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"model folder {folder!r} cannot be used: {error}") from error


def _preprocessing(folder: str) -> Mapping[str, Any]:
    """What preprocessor_config.json says, {} without one; transformers' own processors need torchvision."""
    path = Path(folder) / "preprocessor_config.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _pixels(pictures: Sequence[Image], shape: tuple[int, int], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Pictures at a height and width, less the model's mean, over its deviation; float32 [N, 3, H, W]."""
    from PIL import Image as PILImage

    size = (shape[1], shape[0])  # resizing to its own size leaves a picture as it is
    resized = [np.array(PILImage.fromarray(picture).resize(size, PILImage.Resampling.BICUBIC)) for picture in pictures]
    mean = np.float32(settings.get("image_mean", _MEAN))
    deviation = np.float32(settings.get("image_std", _DEVIATION))
    values = (np.stack(resized).astype(np.float32) / 255 - mean) / deviation
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def _detector_shape(height: int, width: int, size: Mapping[str, int]) -> tuple[int, int]:
    """Height and width whose shorter side is as wished, unless the longer one would grow too long."""
    shorter, longer = size.get("shortest_edge", 800), size.get("longest_edge", 1333)
    scale = min(shorter / min(height, width), longer / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _in_pixels(box: NDArray[np.float32], height: int, width: int) -> Box:
    """A box of centre and size, as shares of the picture, in pixels; one pixel at least, inside of it."""
    x, y, w, h = (float(value) for value in box)
    left = min(max(0, round((x - w / 2) * width)), width - 1)
    top = min(max(0, round((y - h / 2) * height)), height - 1)
    right = min(max(left + 1, round((x + w / 2) * width)), width)
    bottom = min(max(top + 1, round((y + h / 2) * height)), height)
    return left, top, right, bottom
