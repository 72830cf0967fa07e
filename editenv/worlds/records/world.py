"""Records as a world: sessions in the order of their file, any pictures, no scores of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editenv.pictures import MAX_PIXELS
from editenv.records import EXTRA, RecordSpec, SessionsFile, at_line, read_sessions_file, record_from_json
from editenv.registry import unknown
from editenv.types import Image
from editenv.worlds.records.pictures import FITS, fit_picture, load_picture, picture_size

if TYPE_CHECKING:
    from editenv.worlds.records.scenes import StudioRecordsWorld

LARGEST_CANVAS = 1024
"""Side in pixels above which a canvas is not chosen unless asked for."""


def open_sessions(
    path: str | Path, size: int | None = None, fit: str = "letterbox"
) -> RecordsWorld | StudioRecordsWorld:
    """The world of a sessions file: studio scenes where its lines have the key "editenv", else any pictures.

    Args:
        path: JSON Lines in the format of Edit-R2's MICE-Bench; pictures lie below its folder.
        size: side of the pictures shown, in pixels; None for the files' own.
        fit: how pictures of other shapes fit, one of `pictures.FITS`; studio scenes are square.

    Raises:
        ValueError: a line or a picture cannot be used, or only some lines have the key; names line and key.
    """
    file = read_sessions_file(path)
    first = file.lines[0]
    for line in file.lines:
        if (line.extra is None) != (first.extra is None):
            has = "is missing" if line.extra is None else "stands here"
            with at_line(file.path, line.number, EXTRA):
                raise ValueError(f"it {has} unlike in line {first.number}, expected all lines alike")
    if first.extra is None:
        return RecordsWorld(file, size, fit)
    from editenv.worlds.records.scenes import StudioRecordsWorld  # photographs need not load the studio

    return StudioRecordsWorld(file, size)


class RecordsWorld:
    """The sessions of a file with pictures of any kind.

    All pictures are shown at one size. Without `size` that is the pictures' own where they are all alike;
    where they are not, a square as wide as the longest side of any, at most LARGEST_CANVAS. Pictures of
    another size are scaled to fit (Pillow's LANCZOS) and padded with grey, or stretched, never cropped.

    Opening looks at the head of each picture; what is damaged further inside is met when it is shown.

    Args:
        file: what `read_sessions_file` read.
        size: side of a square canvas in pixels.
        fit: one of `pictures.FITS`; MICE-Bench's own evaluation has size 512 and squash.

    Raises:
        ValueError: a picture cannot be used (names the line), or size or fit is not in its range.
    """

    name = "records"

    def __init__(self, file: SessionsFile, size: int | None = None, fit: str = "letterbox") -> None:
        if fit not in FITS:
            raise ValueError(unknown("fit", fit, FITS))
        self.fit, self.version = fit, "1" if fit == "letterbox" else f"1 {fit}"
        if size is not None and not 1 <= size <= MAX_PIXELS**0.5:
            raise ValueError(f"size is {size}, expected 1 to {int(MAX_PIXELS**0.5)}")
        self.file, self.longest_instruction = file, file.longest_instruction
        self.max_turns = max(line.record.turn_count for line in file.lines)
        sizes = set[tuple[int, int]]()
        for line in file.lines:
            with at_line(file.path, line.number, "image"):
                sizes.add(picture_size(file.folder, line.record.image))
        self._fitted = size is not None or len(sizes) > 1
        side = size or min(LARGEST_CANVAS, max(max(pair) for pair in sizes))
        height, width = (side, side) if self._fitted else next(iter(sizes))
        self.image_shape = (height, width, 3)
        self._numbers = {line.record.image: line.number for line in file.lines}

    def session(self, split: str, seed: int, index: int) -> RecordSpec:
        """Record `index` of the file, beginning anew after the last one; split and seed do not matter."""
        return self.file.lines[index % len(self.file.lines)].record

    def picture(self, spec: RecordSpec) -> Image:
        """The session's source picture from its file, uint8 of `image_shape`.

        Raises:
            ValueError: the picture cannot be used any more, or is damaged; names the line.
        """
        if spec.image not in self._numbers:
            raise ValueError(f"{self.file.path} has no session with the picture {spec.image!r}")
        with at_line(self.file.path, self._numbers[spec.image], "image"):
            picture = load_picture(self.file.folder, spec.image)
            if not self._fitted and picture.shape != self.image_shape:
                raise ValueError(f"shape is {picture.shape}, was {self.image_shape} when the file was opened")
        return fit_picture(picture, self.image_shape[:2], self.fit) if self._fitted else picture

    def spec_from_json(self, data: Mapping[str, Any]) -> RecordSpec:
        """The session that RecordSpec.to_json described; ValueError where it did not."""
        return record_from_json(data)
