"""The record format: JSON Lines beside pictures, one session a line, in the keys of Edit-R2's MICE-Bench.

A line has up to three parts:

- the published keys (`SessionLine`): the source picture, what the user says and what is meant by it. Files that
  have these can be played (`sessions_file=`); `editenv export` and EdiVal's converter write them.
- `editenv`, of studio scenes: the exact meaning, which `worlds/records/scenes.py` reads.
- `played` (`Played`), of sessions that were played: pictures, intents and scores of each turn, versions and
  seeds, and of a training's rollouts what became of each turn. `record_to=` and `train` write them.

A recorded session whose user followed a script has all of them, so what was played can be played again.
"""

from __future__ import annotations

import json
import math
import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, get_args

import gymnasium
import numpy as np
from pydantic import AfterValidator, ConfigDict, Field

from editenv.files import append_line
from editenv.pictures import MAX_PIXELS, read_png, write_png
from editenv.session import Session
from editenv.spaces import text_problem
from editenv.strict import Strict, check, check_length, read_object
from editenv.types import Image, Scores, UserMessage

FILE = "sessions.jsonl"
FORMAT = "editenv session 2"
EXTRA = "editenv"
"""The key of exact meanings."""

PUBLISHED = "source_image"
"""Folder that all picture paths of the published files begin with."""

MOST_TURNS = 1000
"""Turns above which a record is refused, since an environment makes room for them."""

MAX_LINE_BYTES = 4 << 20
"""Length above which a line of a sessions file is not read: a thousand times a published one."""

_LONGEST_MESSAGE = 2000

# The schema.

Task = Literal[
    "subject_add", "subject_remove", "subject_replace", "color_alter", "material_alter",
    "text_change", "position_change", "count_change", "background_change",
]  # fmt: skip
TASKS: tuple[str, ...] = get_args(Task)
"""The nine task types."""


def _words(text: str) -> str:
    problem = "blank, expected words" if not text.strip() else text_problem(text, len(text))
    if problem:
        raise ValueError(problem)
    return text


def _relative_path(image: str) -> str:
    """The picture's path, once it stays below its folder on every system."""
    windows = PureWindowsPath(_words(image))
    if image.startswith("/") or windows.drive or windows.root or ".." in windows.parts or "\0" in image:
        raise ValueError(f"{image!r}, expected a relative path without '..'")
    return str(PurePosixPath(image))


Words = Annotated[str, AfterValidator(_words)]
Score = Annotated[float, Field(ge=0, le=1)] | None


class SessionLine(Strict):
    """The published keys of a session of several turns: each list has one entry a turn."""

    image: Annotated[str, AfterValidator(_relative_path)]
    instruction: list[Words]
    task_type: list[Task]
    formatted_instruction: list[Words]
    bg_consistency: list[bool]
    unchanged_objects: list[list[Words]]
    available_objects: list[list[Words]]
    all_objects: list[list[Words]]
    turns: Annotated[int, Field(ge=1, le=MOST_TURNS)]
    editenv: dict[str, Any] | None = None
    played: dict[str, Any] | None = None


_LISTS = tuple(name for name in SessionLine.model_fields if name not in ("image", "turns", EXTRA, "played"))
_OBJECTS = ("unchanged_objects", "available_objects", "all_objects")


class ScoresLine(Strict):
    """One turn's scores; a reward that was no number is null."""

    instruction_following: Score
    content_consistency: Score
    global_awareness: Score
    turn_consistency: Score
    rule_kept: Score
    reward: float | None
    detail: dict[str, Any]
    error: str | None


class Training(Strict):
    """What a training did with a rollout."""

    iteration: int  # in which it was played
    rollout: int  # which of the session's rollouts, from 0
    noise: list[int]  # what all its random numbers are a function of
    advantages: list[float | None]  # of each turn; None where it has none
    # what became of each turn: it trains, the filter dropped it, or it has no score
    turns: list[Literal["trains", "filtered", "unscored"]]


class SessionJson(Strict):
    """What records and states keep of a session; `session_json` writes it."""

    versions: dict[str, str | None]
    split: str
    seed: int
    index: int
    spec: dict[str, Any]
    intents: list[str]
    scores: list[ScoresLine]


def session_json(session: Session) -> dict[str, Any]:
    """A session as JSON values, but for its pictures, transcript and end."""
    return {
        "versions": dict(session.versions),
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "spec": session.spec.to_json(),
        "intents": list(session.intents),
        "scores": [one.to_json() for one in session.scores],
    }


class Played(SessionJson):
    """How a session went; lists have one entry a turn, `pictures` one more."""

    format: str
    session: str
    pictures: list[str]
    ending: str | None
    details: list[dict[str, Any]] | None = None
    training: Training | None = None


class PlayedLine(Strict):
    """A session that was played; the other published keys may be there."""

    model_config = ConfigDict(strict=True, extra="ignore")

    image: str
    instruction: list[str]
    turns: int
    played: Played


def scores_of(line: ScoresLine) -> Scores:
    """The inverse of Scores.to_json; a null reward counts as 0.0."""
    values: dict[str, Any] = line.model_dump() | {"reward": line.reward or 0.0}
    return Scores(**values)


# Sessions that can be played.


@dataclass(frozen=True, slots=True)
class RecordTurn:
    """What a record says of one turn beside the user's words."""

    task_type: str  # a word of TASKS
    formatted_instruction: str  # the resolved instruction, what it speaks of in [brackets]
    bg_consistency: bool = True  # must the background still look as in the source picture
    # phrases of the objects that must still look as in the source picture
    unchanged_objects: tuple[str, ...] = ()
    available_objects: tuple[str, ...] = ()  # phrases of the objects that are there after the turn
    all_objects: tuple[str, ...] = ()  # phrases of all objects that were there up to the turn


@dataclass(frozen=True)
class RecordSpec:
    """A whole session."""

    image: str  # path of the source picture below the folder of the file, with forward slashes
    instruction: tuple[str, ...]  # what the user says, one a turn
    turns: tuple[RecordTurn, ...]  # what is meant by it, one a turn

    @property
    def turn_count(self) -> int:
        """Number of turns in the script."""
        return len(self.instruction)

    def message(self, turn: int) -> UserMessage:
        """What a user who follows the script says; its meaning is a RecordTurn."""
        return UserMessage(self.instruction[turn], self.turns[turn])

    @cached_property
    def id(self) -> str:
        """A name made of the content, the picture's path included."""
        content = json.dumps(self.to_json(), sort_keys=True)
        return blake2b(content.encode(), digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values in the published format, a single turn in lists of one."""
        plain = ("task_type", "formatted_instruction", "bg_consistency")
        return {
            "image": self.image,
            "instruction": list(self.instruction),
            **{name: [getattr(turn, name) for turn in self.turns] for name in plain},
            **{name: [list(getattr(turn, name)) for turn in self.turns] for name in _OBJECTS},
            "turns": self.turn_count,
        }


def record_from_json(data: Mapping[str, Any]) -> RecordSpec:
    """The session that a record's published keys describe.

    A record whose `instruction` is a plain text has one turn: texts in place of lists, no `turns`, and it may
    leave out `bg_consistency` (then true) and the lists of objects (then empty).

    Raises:
        ValueError: a key is missing or unknown, or its value is not as expected; names the key.
    """
    return _read_line(0, data).record


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sessions file."""

    number: int  # of the line, from 1
    record: RecordSpec  # the session
    extra: Mapping[str, Any] | None  # the JSON object under the key "editenv", None where the line has none


def _read_line(number: int, data: Mapping[str, Any]) -> Line:
    if isinstance(data.get("instruction"), str):
        if "turns" in data:
            raise ValueError("key 'turns' stands beside an instruction that is a text, expected a list of texts")
        data = {"bg_consistency": True} | {name: [] for name in _OBJECTS} | dict(data)
        data = data | {name: [data[name]] for name in _LISTS if name in data} | {"turns": 1}
    line = check(SessionLine, data)
    for name in (EXTRA, "played"):
        if name in data and data[name] is None:
            raise ValueError(f"key {name!r} is None, expected an object")
    for name in _LISTS:
        check_length(name, getattr(line, name), line.turns)
    objects = [map(tuple, getattr(line, name)) for name in _OBJECTS]
    turns = zip(line.task_type, line.formatted_instruction, line.bg_consistency, *objects, strict=True)
    record = RecordSpec(line.image, tuple(line.instruction), tuple(RecordTurn(*turn) for turn in turns))
    return Line(number, record, line.editenv)


@dataclass(frozen=True, slots=True)
class SessionsFile:
    """A sessions file that was read; pictures lie below its folder."""

    path: Path  # of the file
    lines: tuple[Line, ...]  # one or more, in order
    folder: Path  # where the records' picture paths begin

    @property
    def longest_instruction(self) -> int:
        """Characters of the longest instruction."""
        return max(len(text) for line in self.lines for text in line.record.instruction)


def read_sessions_file(path: str | Path) -> SessionsFile:
    """The records of a file; pictures are not looked at. Blank lines at the end are no error.

    Raises:
        ValueError: there is no such file, it holds no session, or a line is no record; names line and key.
    """
    lines = []
    for line in scan_lines(path):
        if isinstance(line, ValueError):
            raise line
        lines.append(line)
    if not lines:
        raise ValueError(f"{path} is empty, expected one session a line")
    return SessionsFile(Path(path), tuple(lines), pictures_folder(Path(path), lines))


def scan_lines(path: str | Path) -> Iterator[Line | ValueError]:
    """Each line of a file, or, in its place, the error that says why it is no record; file and line named.

    Blank lines at the end are left out, and nothing is read after a line that is too long.

    Raises:
        ValueError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"sessions file is {str(path)!r}, which is no file, expected JSON Lines")
    number, blank = 0, list[int]()
    with open(path, "rb") as file:
        while text := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if number > 1 and not text.strip() and len(text) <= MAX_LINE_BYTES:
                blank.append(number)
                continue
            for place, content in [*((one, b"") for one in blank), (number, text)]:
                try:
                    with at_line(path, place):
                        found: Line | ValueError = _read_line(place, read_object(_decoded(place, content)))
                except ValueError as error:
                    found = error
                yield found
            blank.clear()
            if len(text) > MAX_LINE_BYTES:
                return


def pictures_folder(path: Path, lines: Sequence[Line]) -> Path:
    """Where the picture paths of a file begin: its own folder, or the one above in the published layout.

    The published files lie at cm/test_metadata.jsonl and cu/test_metadata.jsonl with one source_image beside
    both folders. The folder above is chosen where all paths begin with source_image, the file's own folder
    has none and the one above has.
    """
    published = all(line.record.image.startswith(f"{PUBLISHED}/") for line in lines)
    own, above = path.parent, path.absolute().parent.parent
    if published and not os.path.lexists(own / PUBLISHED) and (above / PUBLISHED).is_dir():
        return above
    return own


_MARKS = {BOM_UTF8: "a byte order mark", BOM_UTF16_LE: "UTF-16's mark", BOM_UTF16_BE: "UTF-16's mark"}


def _decoded(number: int, text: bytes) -> str:
    """A line of a sessions file as text."""
    if len(text) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES} bytes, expected one session")
    for mark, name in _MARKS.items():
        if number == 1 and text.startswith(mark):
            raise ValueError(f"the file begins with {name}, expected UTF-8 without one")
    if not text.strip():
        raise ValueError("the line is blank, expected a JSON object")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the line is no UTF-8: byte {error.start} is {error.reason}") from error


@contextmanager
def at_line(path: Path, number: int, key: str | None = None) -> Iterator[None]:
    """Puts file, line and, where given, key in front of every ValueError from inside.

    Messages stay readable where a file's keys or values are long, and can be printed whatever these hold.
    """
    try:
        yield
    except ValueError as error:
        place = f"key {key!r}: " if key else ""
        told = str(error).encode("utf-8", "backslashreplace").decode()
        told = told if len(told) <= _LONGEST_MESSAGE else f"{told[:_LONGEST_MESSAGE]}..."
        raise ValueError(f"{path}, line {number}: {place}{told}") from error


# Sessions that were played.


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session as it was played."""

    versions: Mapping[str, str | None]  # of world, user and scorer
    split: str  # split, seed, index: where the session came from
    seed: int
    index: int
    session: str  # its id
    spec: Mapping[str, Any]  # the world's session as JSON values
    transcript: tuple[str, ...]  # what the user said, in order
    intents: tuple[str, ...]  # intents, scores: one entry a turn
    scores: tuple[Scores, ...]
    pictures: tuple[Image, ...]  # the source, then the picture after each turn, uint8 [H, W, 3]
    reason: str | None  # why it ended; None where it did not
    # what the user wanted kept about each entry of the transcript, empty where nothing
    details: tuple[Mapping[str, Any], ...] = ()
    training: Training | None = None  # of a training's rollouts

    @property
    def title(self) -> str:
        """The session's name for a reader."""
        name = f"{self.split} {self.seed}:{self.index}"
        if self.training is not None:
            name = f"iteration {self.training.iteration}, {name}, rollout {self.training.rollout}"
        return f"{name}  {self.session}"


_ORDER = ("format", "versions", "split", "seed", "index", "session", "spec", "intents", "pictures", "scores", "ending")
"""Of the keys that every session has that was played, so that the same session is the same bytes."""


def played_line(
    folder: Path, session: Session, published: Mapping[str, Any] | None = None, training: Training | None = None
) -> bytes:
    """A session's line, whose pictures are written into the folder first.

    Args:
        folder: pictures go into a folder below it, each named for its content, so equal ones are stored once.
        session: with one turn or more.
        published: the published keys, as far as they are known.
        training: of a rollout; details of scores are left out then.
    """
    names, turns = [write_png(folder, picture) for picture in session.pictures], len(session.scores)
    ending = session.ending.reason if session.ending else None
    kept = session_json(session) | {"format": FORMAT, "session": session.spec.id, "pictures": names, "ending": ending}
    played = {name: kept[name] for name in _ORDER}
    for one in played["scores"]:
        if not math.isfinite(one["reward"]):  # which JSON has no word for
            one["reward"] = None
        if training is not None:
            one["detail"] = {}
    if any(session.details):
        played["details"] = [dict(detail) for detail in session.details[:turns]]
    if training is not None:
        played["training"] = training.model_dump()
    line = {"image": names[0], "instruction": list(session.transcript[:turns]), "turns": turns, "played": played}
    return json.dumps({**(published or {}), **line}, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class Recorder:
    """Appends finished sessions to a folder's records; several processes may write into one folder.

    A record is whole or absent: what a full disk or a killed process left of a line is taken away.

    Args:
        folder: made when it does not exist.
        published: the published keys of a finished session, as far as they are known.
    """

    def __init__(self, folder: str | Path, published: Callable[[Session], Mapping[str, Any]] | None = None) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.published = published

    def __call__(self, session: Session) -> None:
        """Writes one session; called by an environment whenever a session ends."""
        self.all_ended([session])

    def all_ended(self, sessions: Sequence[Session]) -> None:
        """Writes sessions that ended in one step: all of them or, where that fails, none."""
        lines = [played_line(self.folder, one, self.published(one) if self.published else None) for one in sessions]
        append_line(self.folder / FILE, b"".join(lines))


def read_records(
    folder: str | Path, places: Collection[int] | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[SessionRecord]:
    """The records of a folder in the order they were written, read one at a time.

    Args:
        folder: what a Recorder wrote into.
        places: which ones, from 0; None for all.
        max_pixels: largest height times width of a picture that is decoded.

    Raises:
        ValueError: a line is no record, or a picture cannot be used; names line and key.
        FileNotFoundError: the folder holds no records.
    """
    place = Path(folder)
    with open(place / FILE, "rb") as lines:
        for number, line in enumerate(lines):
            if places is None or number in places:
                with at_line(place / FILE, number + 1):
                    record = _read_played(line, place, max_pixels)
                yield record


def read_record(folder: str | Path, number: int) -> SessionRecord:
    """Record `number` of a folder, from 0; ValueError where it has fewer, or it cannot be used."""
    for record in read_records(folder, (number,)):
        return record
    with open(Path(folder) / FILE, "rb") as lines:
        count = sum(1 for _ in lines)
    raise ValueError(f"session is {number}, expected 0 to {count - 1}, which {Path(folder) / FILE} has")


def _read_played(line: bytes, folder: Path, max_pixels: int) -> SessionRecord:
    data = read_object(line)
    written = data.get("played")
    if isinstance(written, Mapping) and written.get("format", FORMAT) != FORMAT:
        raise ValueError(f"key 'played.format' is {written['format']!r}, expected {FORMAT!r}")
    whole = check(PlayedLine, data)
    played, turns = whole.played, len(whole.played.pictures) - 1
    if turns < 1:
        raise ValueError(f"key 'played.pictures' has {turns + 1} entries, expected a source and an edit or more")
    lists = {"instruction": whole.instruction, "played.intents": played.intents, "played.scores": played.scores}
    if played.details is not None:
        lists["played.details"] = played.details
    if played.training:
        lists["played.training.advantages"] = played.training.advantages
        lists["played.training.turns"] = played.training.turns
    for name, values in lists.items():
        check_length(name, values, turns)
    pictures: list[Image] = []
    for place, name in enumerate(played.pictures):
        try:
            pictures.append(read_png(folder, name, max_pixels))
        except ValueError as error:
            raise ValueError(f"key 'played.pictures[{place}]': {error}") from error
        shape, first = pictures[-1].shape, pictures[0].shape
        if shape != first:
            raise ValueError(f"key 'played.pictures[{place}]' has shape {shape}, expected the first's {first}")
    return SessionRecord(
        **{name: getattr(played, name) for name in ("versions", "split", "seed", "index", "session", "spec")},
        transcript=tuple(whole.instruction),
        intents=tuple(played.intents),
        scores=tuple(map(scores_of, played.scores)),
        pictures=tuple(pictures),
        reason=played.ending,
        details=tuple(played.details or ()),
        training=played.training,
    )


def replay(record: SessionRecord, env: gymnasium.Env[Any, Any]) -> list[Scores]:
    """Plays a record's pictures and intents again, in a `MICEEditEnv` of its world and split.

    Returns:
        The scores this environment gives, one a turn.

    Raises:
        ValueError: the environment plays another session than the record's, or its user says something else.
    """
    observation, info = env.reset(seed=record.seed, options={"session": record.index})
    for name, expected in (("split", record.split), ("session", record.session), ("versions", record.versions)):
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
