"""Session records: a folder of PNG pictures beside JSON Lines, one finished session a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from editenv.jsonread import check_keys, read_list, read_object, read_value, scores_from_json
from editenv.picturefile import MAX_PIXELS, read_png, write_png
from editenv.session import Session
from editenv.types import Image, Scores

FILE = "sessions.jsonl"
FORMAT = "editenv session 1"
_KEYS = (
    "format", "versions", "split", "seed", "index", "session", "spec",
    "transcript", "intents", "pictures", "scores", "ending",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One finished session as it was written.

    Attributes:
        versions: of world, user and scorer.
        split, seed, index: where the session came from.
        session: its id.
        spec: the world's session as JSON values.
        transcript: what the user said, in order.
        intents, scores: one entry a turn.
        pictures: the source, then the picture after each turn, uint8 [H, W, 3].
        reason: why it ended.
        details: what the user wanted kept about each entry of the transcript, empty where nothing.
    """

    versions: Mapping[str, str | None]
    split: str
    seed: int
    index: int
    session: str
    spec: Mapping[str, Any]
    transcript: tuple[str, ...]
    intents: tuple[str, ...]
    scores: tuple[Scores, ...]
    pictures: tuple[Image, ...]
    reason: str
    details: tuple[Mapping[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """The session's name for a reader."""
        return f"{self.split} {self.seed}:{self.index}  {self.session}"


class Recorder:
    """Appends finished sessions to a folder's records; several processes may write into one folder.

    A picture's file is named for its content, so equal pictures are stored once. A line is written in one
    piece after its pictures, so that readers never see half a record.

    Args:
        folder: made when it does not exist.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, session: Session) -> None:
        """Writes one session; called by an environment whenever a session ends."""
        names = [write_png(self.folder, picture) for picture in session.pictures]
        line = {
            "format": FORMAT,
            "versions": dict(session.versions),
            "split": session.split,
            "seed": session.seed,
            "index": session.index,
            "session": session.spec.id,
            "spec": session.spec.to_json(),
            "transcript": list(session.transcript),
            "intents": session.intents,
            "pictures": names,
            "scores": [scores.to_json() for scores in session.scores],
            "ending": session.ending.reason if session.ending else None,
        }
        if any(session.details):
            line["details"] = [dict(detail) for detail in session.details]
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        handle = os.open(self.folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)


def read_records(folder: str | Path, max_pixels: int = MAX_PIXELS) -> Iterator[SessionRecord]:
    """The records of a folder in the order they were written, read one at a time.

    Args:
        folder: what a Recorder wrote into.
        max_pixels: largest height times width of a picture that is decoded.

    Raises:
        ValueError: a line is no record, or a picture cannot be used; names line and key.
        FileNotFoundError: the folder holds no records.
    """
    place = Path(folder)
    with open(place / FILE, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _read_line(line, place, max_pixels)
            except ValueError as error:
                raise ValueError(f"{place / FILE}, line {number}: {error}") from error


def replay(record: SessionRecord, env: gymnasium.Env[Any, Any]) -> list[Scores]:
    """Plays a record's pictures and intents again.

    Args:
        record: what to play.
        env: a `MICEEditEnv`, wrapped or not, of the record's world and split.

    Returns:
        The scores this environment gives, one a turn.

    Raises:
        ValueError: the environment plays another session than the record's, or its user says something else.
    """
    observation, info = env.reset(seed=record.seed, options={"session": record.index})
    for name, expected in (
        ("split", record.split),
        ("session", record.session),
        ("versions", record.versions),
    ):
        if info[name] != expected:
            raise ValueError(f"the environment's {name} is {info[name]!r}, the record has {expected!r}")
    scores = []
    for turn, (picture, intent) in enumerate(zip(record.pictures[1:], record.intents, strict=True)):
        if observation["transcript"] != record.transcript[: turn + 1]:
            said = observation["transcript"]
            raise ValueError(f"at turn {turn} the user has said {said}, the record has {record.transcript}")
        observation, _, _, _, info = env.step({"image": np.array(picture), "intent": intent})
        scores.append(info["scores"])
    return scores


def _read_line(line: bytes, folder: Path, max_pixels: int) -> SessionRecord:
    """One line as a record."""
    data = read_object(line)
    check_keys(data, (*_KEYS, "details") if "details" in data else _KEYS)
    if data["format"] != FORMAT:
        raise ValueError(f"key 'format' is {data['format']!r}, expected {FORMAT!r}")
    names = read_list(data, "pictures", str)
    turns = len(names) - 1
    if turns < 1:
        raise ValueError(f"key 'pictures' has {len(names)} entries, expected a source and one or more edits")
    return SessionRecord(
        versions=read_value(data, "versions", dict),
        split=read_value(data, "split", str),
        seed=read_value(data, "seed", int),
        index=read_value(data, "index", int),
        session=read_value(data, "session", str),
        spec=read_value(data, "spec", dict),
        transcript=tuple(read_list(data, "transcript", str, turns)),
        intents=tuple(read_list(data, "intents", str, turns)),
        scores=tuple(_read_scores(data, turns)),
        pictures=tuple(_read_pictures(names, folder, max_pixels)),
        reason=read_value(data, "ending", str),
        details=tuple(read_list(data, "details", dict, turns)) if "details" in data else (),
    )


def _read_scores(data: Mapping[str, Any], turns: int) -> Iterator[Scores]:
    """The scores of each turn."""
    for turn, entry in enumerate(read_list(data, "scores", dict, turns)):
        try:
            yield scores_from_json(entry)
        except ValueError as error:
            raise ValueError(f"key 'scores[{turn}]': {error}") from error


def _read_pictures(names: list[str], folder: Path, max_pixels: int) -> Iterator[Image]:
    """The pictures by name, all of one shape."""
    shape = None
    for place, name in enumerate(names):
        try:
            picture = read_png(folder, name, max_pixels)
        except ValueError as error:
            raise ValueError(f"key 'pictures[{place}]': {error}") from error
        if shape not in (None, picture.shape):
            raise ValueError(
                f"key 'pictures[{place}]' has shape {picture.shape}, expected the first's {shape}"
            )
        shape = picture.shape
        yield picture
