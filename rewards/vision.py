"""DINOv3 features and a GroundingDINO detector from local folders, with preprocessing of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editenv.types import Image

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Features:
    """What a picture looks like, as a direction in the model's feature space.

    Args:
        folder: a model such as DINOv3 as transformers saves it: config.json and model.safetensors.
        device: of torch, such as "cpu" or "cuda".
        batch: pictures at one time.

    Raises:
        ValueError: the folder holds no such model.
    """

    def __init__(self, folder: str, device: str = "cpu", batch: int = 16) -> None:
        from transformers import AutoModel

        self._model = _load(AutoModel, folder, device)
        self._device, self._batch = device, batch
        self._settings = _preprocessing(folder)
        size = self._settings.get("size", {})
        self._shape = (size.get("height", 224), size.get("width", 224))

    def embed(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Directions [N, D] of length 1.

        Args:
            pictures: uint8 [H, W, 3] of any sizes; each is brought to the model's one size.
        """
        import torch

        rows = []
        for part in _parts(pictures, self._batch):
            pixels = _normalised([_resized(picture, self._shape) for picture in part], self._settings)
            with torch.inference_mode():
                output = self._model(pixel_values=torch.from_numpy(pixels).to(self._device))
            rows.append(output.pooler_output.float().cpu().numpy())
        found = np.concatenate(rows)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        directions: NDArray[np.float32] = found / np.maximum(lengths, 1e-12)
        return directions


class Detector:
    """Where an object is that a phrase describes.

    Args:
        folder: a GroundingDINO model as transformers saves it, its tokenizer beside it.
        threshold: least confidence, 0 to 1, of a box that counts as found.
        device: of torch.
        batch: pictures at one time.

    Raises:
        ValueError: the folder holds no such model.
    """

    def __init__(self, folder: str, threshold: float = 0.3, device: str = "cpu", batch: int = 4) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer

        self._model = _load(AutoModelForZeroShotObjectDetection, folder, device)
        self._tokenizer = _load(AutoTokenizer, folder, None)
        self._threshold, self._device, self._batch = threshold, device, batch
        self._settings = _preprocessing(folder)

    def find(self, pictures: Sequence[Image], phrases: Sequence[str]) -> list[Box | None]:
        """The likeliest box of a phrase in each picture, None where nothing is likely enough.

        Args:
            pictures: uint8 [H, W, 3], all of one size.
            phrases: one a picture.
        """
        found: list[Box | None] = []
        for first in range(0, len(pictures), self._batch):
            part = slice(first, first + self._batch)
            found += self._find(pictures[part], phrases[part])
        return found

    def _find(self, pictures: Sequence[Image], phrases: Sequence[str]) -> list[Box | None]:
        import torch

        height, width = pictures[0].shape[:2]
        shape = _detector_shape(height, width, self._settings.get("size", {}))
        pixels = torch.from_numpy(_normalised([_resized(p, shape) for p in pictures], self._settings))
        captions = [f"{phrase.lower().strip().rstrip('.')}." for phrase in phrases]
        tokens = self._tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
        own = tokens["attention_mask"].bool() & ~torch.isin(tokens["input_ids"], self._not_words())
        with torch.inference_mode():
            output = self._model(
                pixel_values=pixels.to(self._device),
                **{name: value.to(self._device) for name, value in tokens.items()},
            )
        likely = output.logits.float().sigmoid().cpu()[..., : own.shape[1]]
        scores = likely.masked_fill(~own[:, None], 0.0).amax(-1)
        boxes = output.pred_boxes.float().cpu()
        best = scores.argmax(1)
        rows = torch.arange(len(best))
        return [
            _pixels(box.numpy(), height, width) if score >= self._threshold else None
            for box, score in zip(boxes[rows, best], scores[rows, best], strict=True)
        ]

    def _not_words(self) -> Any:
        """Ids of tokens that are no part of a phrase."""
        import torch

        ids = [*self._tokenizer.all_special_ids, self._tokenizer.convert_tokens_to_ids(".")]
        return torch.tensor(ids)


def _load(kind: Any, folder: str, device: str | None) -> Any:
    """A model or tokenizer from a local folder, weights in safetensors alone."""
    if not Path(folder).is_dir():
        raise ValueError(f"model folder {folder!r} does not exist, expected one as transformers saves it")
    try:
        if device is None:
            return kind.from_pretrained(folder, local_files_only=True)
        model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        return model.to(device).eval()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"model folder {folder!r} cannot be used: {error}") from error


def _preprocessing(folder: str) -> Mapping[str, Any]:
    """What preprocessor_config.json says; nothing where there is none."""
    path = Path(folder) / "preprocessor_config.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _resized(picture: Image, shape: tuple[int, int]) -> Image:
    """The picture at a height and width (Pillow's BICUBIC, smoothed where it shrinks)."""
    from PIL import Image as PILImage

    if picture.shape[:2] == shape:
        return picture
    height, width = shape
    return np.array(PILImage.fromarray(picture).resize((width, height), PILImage.Resampling.BICUBIC))


def _normalised(pictures: Sequence[Image], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Pictures as float32 [N, 3, H, W] with the model's mean and deviation."""
    mean = np.float32(settings.get("image_mean", _MEAN))
    deviation = np.float32(settings.get("image_std", _DEVIATION))
    values = (np.stack(pictures).astype(np.float32) / 255 - mean) / deviation
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def _detector_shape(height: int, width: int, size: Mapping[str, int]) -> tuple[int, int]:
    """Height and width whose shorter side is as wished, unless the longer one would grow too long."""
    shorter, longer = size.get("shortest_edge", 800), size.get("longest_edge", 1333)
    scale = min(shorter / min(height, width), longer / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _pixels(box: NDArray[np.float32], height: int, width: int) -> Box:
    """A box of centre and size, as shares of the picture, in pixels; one pixel at least, inside of it."""
    x, y, w, h = (float(value) for value in box)
    left = min(max(0, round((x - w / 2) * width)), width - 1)
    top = min(max(0, round((y - h / 2) * height)), height - 1)
    right = min(max(left + 1, round((x + w / 2) * width)), width)
    bottom = min(max(top + 1, round((y + h / 2) * height)), height)
    return left, top, right, bottom


def _parts(pictures: Sequence[Image], size: int) -> Iterator[Sequence[Image]]:
    for first in range(0, len(pictures), size):
        yield pictures[first : first + size]
