"""Rollouts kept for looking at: a line of JSON each, and the pictures of all of them in one PNG.

`records/iteration_00020.jsonl` has a line a rollout; row r of `records/iteration_00020.png` holds the
pictures of the line whose "row" is r, the source first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from editenv.agents.atomic import write_text_atomically, write_whole
from editenv.agents.edit_r2.rollout import Rollout
from editenv.picturefile import MAX_PIXELS
from editenv.session import Session
from editenv.types import Image, Scores

FOLDER = "records"
"""Below a run's folder."""
FORMAT = "editenv rollout 1"
TRAINS, FILTERED, UNSCORED = "trains", "filtered", "unscored"
"""What became of a turn: it counts in the loss, the filter dropped it, or nobody judged it."""

_SMALL = 3
"""PNG's compression: pictures of flat colours hardly get smaller above it, and take several times as long."""


def record_paths(out: Path, iteration: int) -> tuple[Path, Path]:
    """Lines and pictures of an iteration."""
    stem = out / FOLDER / f"iteration_{iteration:05d}"
    return stem.with_suffix(".jsonl"), stem.with_suffix(".png")


def recorded_iterations(out: Path) -> list[int]:
    """Iterations with a record, in order."""
    names = (path.stem.removeprefix("iteration_") for path in (out / FOLDER).glob("iteration_*.jsonl"))
    return sorted(int(name) for name in names if name.isdigit())


def write_rollouts(
    out: Path, iteration: int, rollout: Rollout, paid: Mapping[str, Tensor], most_bytes: int
) -> int:
    """Writes the record of an iteration, each file in one step, the lines last.

    Records of later iterations go, since a run that was killed makes them again; then the oldest ones go
    until all records together have at most `most_bytes`, but for this one.

    Args:
        out: the run's folder.
        iteration: its number.
        rollout: what was played.
        paid: `advantage`, `keep` and `valid`, each [S, K].
        most_bytes: of all records of a run.

    Returns:
        How many rollouts were written: the first ones, as many as fit into a picture of MAX_PIXELS pixels.
    """
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    fitting = rollout.sessions[: rows_that_fit(rollout.sessions)]
    _drop(out, [late for late in recorded_iterations(out) if late > iteration])
    if fitting:
        lines, pictures = record_paths(out, iteration)
        names = rollout.tensors["names"].tolist()
        texts = [
            json.dumps(
                _line(row, session, _own(rollout, row, paid), names[row]), ensure_ascii=False, allow_nan=False
            )
            for row, session in enumerate(fitting)
        ]
        write_whole(pictures, partial(_write_sheet, sheet(fitting)))
        try:
            write_text_atomically(lines, "".join(f"{text}\n" for text in texts))
        except BaseException:
            # Pictures without lines are no record, and nobody would count or remove them.
            pictures.unlink()
            raise
        _drop(out, too_old(out, most_bytes))
    return len(fitting)


def rows_that_fit(sessions: Sequence[Session]) -> int:
    """How many sessions' pictures one PNG may hold, which is as large as pictures that are read may be."""
    height, width = sessions[0].pictures[0].shape[:2]
    longest = max(len(session.pictures) for session in sessions)
    return min(len(sessions), MAX_PIXELS // (height * width * longest))


def sheet(sessions: Sequence[Session]) -> Image:
    """A row a session, a column a picture; black where a session was over."""
    height, width = sessions[0].pictures[0].shape[:2]
    longest = max(len(session.pictures) for session in sessions)
    canvas = np.zeros((len(sessions), height, longest, width, 3), np.uint8)
    for row, session in enumerate(sessions):
        for column, picture in enumerate(session.pictures):
            canvas[row, :, column] = picture
    return canvas.reshape(len(sessions) * height, longest * width, 3)


def too_old(out: Path, most_bytes: int) -> list[int]:
    """The oldest iterations without which the records are small enough; never the newest."""
    sizes = {
        iteration: sum(path.stat().st_size for path in record_paths(out, iteration) if path.is_file())
        for iteration in recorded_iterations(out)
    }
    total, old = sum(sizes.values()), []
    for iteration, size in list(sizes.items())[:-1]:
        if total <= most_bytes:
            break
        old.append(iteration)
        total -= size
    return old


def _drop(out: Path, iterations: Sequence[int]) -> None:
    """Lines first: pictures without lines are no record."""
    for iteration in iterations:
        for path in record_paths(out, iteration):
            path.unlink(missing_ok=True)


def _write_sheet(picture: Image, path: Path) -> None:
    from PIL import Image as PILImage

    PILImage.fromarray(picture).save(path, format="PNG", compress_level=_SMALL)


def _own(rollout: Rollout, row: int, paid: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the row's session was paid, [turns] each: further attempts that the row holds are left out."""
    if rollout.places is None:
        columns = list(range(len(rollout.sessions[row].scores)))
    else:
        own = [
            (place.turn, column)
            for (at, column), place in rollout.places.items()
            if at == row and place.attempt == 0 and not place.again
        ]
        columns = [column for _, column in sorted(own)]
    return {name: value[row, columns] for name, value in paid.items()}


def _line(row: int, session: Session, paid: Mapping[str, Tensor], names: Sequence[int]) -> dict[str, Any]:
    turns = range(len(session.scores))
    advantages = paid["advantage"].tolist()
    return {
        "format": FORMAT,
        "row": row,
        "size": list(session.pictures[0].shape[:2]),
        "versions": dict(session.versions),
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "rollout": names[-1],
        "noise": list(names),
        "session": session.spec.id,
        "spec": session.spec.to_json(),
        "transcript": list(session.transcript[: len(turns)]),
        "intents": list(session.intents),
        "scores": [_plain(scores) for scores in session.scores],
        "advantages": [value if math.isfinite(value) else None for value in advantages],
        "turns": [_fate(paid, turn) for turn in turns],
        "ending": session.ending.reason if session.ending else None,
    }


def _plain(scores: Scores) -> dict[str, Any]:
    """Scores without what the scorer keeps for itself, and no number that JSON does not have."""
    values = scores.to_json() | {"detail": {}}
    return values if math.isfinite(scores.reward) else values | {"reward": None}


def _fate(paid: Mapping[str, Tensor], turn: int) -> str:
    if not paid["valid"][turn]:
        return UNSCORED
    return TRAINS if paid["keep"][turn] else FILTERED
