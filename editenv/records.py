"""The record format: JSON Lines beside pictures, one session a line, in the keys of Edit-R2's MICE-Bench.

A line has up to three parts:

- the published keys (`SessionLine`): the source picture, what the user says and what is meant by it. Files
that
  have these can be played (`sessions_file=`); `editenv export` and EdiVal's converter write them.
- `editenv`, of studio scenes: the exact meaning, which `worlds/records/scenes.py` reads.
- `played` (`PlayedLine`), of sessions that were played: pictures, intents and scores of each turn, versions
and
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
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
from pydantic import AfterValidator, ConfigDict, Field

from editenv.picturefile import MAX_PIXELS, read_png, write_png
from editenv.session import Session
from editenv.spaces import text_problem
from editenv.strict import Strict, check, check_length, read_object
from editenv.types import Image, Scores, UserMessage

FILE = "sessions.jsonl"
FORMAT = "editenv session 2"
TASKS = (
    "subject_add", "subject_remove", "subject_replace", "color_alter", "material_alter",
    "text_change", "position_change", "count_change", "background_change",
)  # fmt: skip
"""The nine task types."""

MOST_TURNS = 1000
"""Turns above which a record is refused, since an environment makes room for them."""

EXTRA = "editenv"
"""The key of exact meanings."""

MAX_LINE_BYTES = 4 << 20
"""Length above which a line of a sessions file is not read: a thousand times a published one."""

PUBLISHED = "source_image"
"""Folder that all picture paths of the published files begin with."""


# The schema.


def _words(text: str) -> str:
    problem = "blank, expected words" if not text.strip() else text_problem(text, len(text))
    if problem:
        raise ValueError(problem)
    return text


def _relative_path(image: str) -> str:
    """The picture's path, once it stays below its folder on every system."""
    _words(image)
    windows = PureWindowsPath(image)
    if image.startswith("/") or windows.drive or windows.root or ".." in windows.parts or "\0" in image:
        raise ValueError(f"{image!r}, expected a relative path without '..'")
    return str(PurePosixPath(image))


def _task(task: str) -> str:
    if task not in TASKS:
        raise ValueError(f"{task!r}, expected one of {', '.join(TASKS)}")
    return task


Words = Annotated[str, AfterValidator(_words)]
Task = Annotated[str, AfterValidator(_task)]


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


def _score(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{value}, expected a number from 0 to 1, or null")
    return value


Score = Annotated[float | None, AfterValidator(_score)]


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


class Played(Strict):
    """How a session went; lists have one entry a turn, `pictures` one more."""

    format: str
    versions: dict[str, str | None]
    split: str
    seed: int
    index: int
    session: str
    spec: dict[str, Any]
    intents: list[str]
    pictures: list[str]
    scores: list[ScoresLine]
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
        objects = {name: [list(getattr(turn, name)) for turn in self.turns] for name in _OBJECTS}
        return {
            "image": self.image,
            "instruction": list(self.instruction),
            "task_type": [turn.task_type for turn in self.turns],
            "formatted_instruction": [turn.formatted_instruction for turn in self.turns],
            "bg_consistency": [turn.bg_consistency for turn in self.turns],
            **objects,
            "turns": self.turn_count,
        }


def record_from_json(data: Mapping[str, Any]) -> RecordSpec:
    """The session that a record's published keys describe.

    A record whose `instruction` is a plain text has one turn: texts in place of lists, no `turns`, and it may
    leave out `bg_consistency` (then true) and the lists of objects (then empty).

    Raises:
        ValueError: a key is missing or unknown, or its value is not as expected; names the key.
    """
    return _record(_session_line(data))


def _session_line(data: Mapping[str, Any]) -> SessionLine:
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
    return line


def _record(line: SessionLine) -> RecordSpec:
    turns = zip(
        line.task_type,
        line.formatted_instruction,
        line.bg_consistency,
        *(map(tuple, getattr(line, name)) for name in _OBJECTS),
        strict=True,
    )
    return RecordSpec(line.image, tuple(line.instruction), tuple(RecordTurn(*turn) for turn in turns))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sessions file."""

    number: int  # of the line, from 1
    record: RecordSpec  # the session
    extra: Mapping[str, Any] | None  # the JSON object under the key "editenv", None where the line has none


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

    Raises:
        ValueError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"sessions file is {str(path)!r}, which is no file, expected JSON Lines")
    for number, text in _lines(path, MAX_LINE_BYTES):
        try:
            with at_line(path, number):
                data = read_object(_decoded(number, text))
                line = _session_line(data)
                yield Line(number, _record(line), line.editenv)
        except ValueError as error:
            yield error


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


def _lines(path: Path, most: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from 1, blank ones at its end left out; nothing after a line longer than `most`."""
    blank: list[tuple[int, bytes]] = []
    with open(path, "rb") as file:
        number = 0
        while text := file.readline(most + 1):
            number += 1
            if number > 1 and not text.strip() and len(text) <= most:
                blank.append((number, text))
                continue
            yield from blank
            blank.clear()
            yield number, text
            if len(text) > most:
                return


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


_LONGEST_MESSAGE = 2000


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
    names = [write_png(folder, picture) for picture in session.pictures]
    scores = [_plain(one, detail=training is None) for one in session.scores]
    transcript = list(session.transcript[: len(scores)])
    played = {
        "format": FORMAT,
        "versions": dict(session.versions),
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "session": session.spec.id,
        "spec": session.spec.to_json(),
        "intents": list(session.intents),
        "pictures": names,
        "scores": scores,
        "ending": session.ending.reason if session.ending else None,
    }
    if any(session.details):
        played["details"] = [dict(detail) for detail in session.details[: len(scores)]]
    if training is not None:
        played["training"] = training.model_dump()
    line = dict(published or {}) | {"image": names[0], "instruction": transcript, "turns": len(scores)}
    return json.dumps(line | {"played": played}, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _plain(scores: Scores, detail: bool) -> dict[str, Any]:
    """Scores as JSON values; a reward that JSON has no number for becomes null."""
    values = scores.to_json() if detail else scores.to_json() | {"detail": {}}
    return values if math.isfinite(scores.reward) else values | {"reward": None}


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
        published = None if self.published is None else self.published(session)
        append_whole(self.folder / FILE, played_line(self.folder, session, published))


def append_whole(path: Path, line: bytes) -> None:
    """Appends a line to a file, or leaves the file as it was; half a line at its end is taken away before.

    Raises:
        OSError: the line cannot be written.
    """
    with open(path, "ab+", buffering=0) as file:
        _lock(file.fileno())
        end = _whole_lines(file)
        file.truncate(end)
        try:
            left = memoryview(line)
            while left:
                left = left[file.write(left) or 0 :]
        except BaseException:
            file.truncate(end)
            raise


def _whole_lines(file: Any) -> int:
    """Length of a file up to its last line end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        end = start
    return 0


def _lock(handle: int) -> None:
    """Waits for other writers; closing the file lets the next one write."""
    try:
        import fcntl
    except ImportError:  # Windows: one writer at a time is up to the user there
        return
    fcntl.flock(handle, fcntl.LOCK_EX)


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
    """One line as a record."""
    data = read_object(line)
    written = data.get("played")
    if isinstance(written, Mapping) and written.get("format", FORMAT) != FORMAT:
        raise ValueError(f"key 'played.format' is {written['format']!r}, expected {FORMAT!r}")
    whole = check(PlayedLine, data)
    played, turns = whole.played, len(whole.played.pictures) - 1
    if turns < 1:
        raise ValueError(f"key 'played.pictures' has {turns + 1} entries, expected a source and an edit or more")
    check_length("instruction", whole.instruction, turns)
    lists = ["intents", "scores", *(["details"] if played.details is not None else [])]
    for name in lists:
        check_length(f"played.{name}", getattr(played, name), turns)
    for name in ("advantages", "turns") if played.training else ():
        check_length(f"played.training.{name}", getattr(played.training, name), turns)
    return SessionRecord(
        **{name: getattr(played, name) for name in ("versions", "split", "seed", "index", "session", "spec")},
        transcript=tuple(whole.instruction),
        intents=tuple(played.intents),
        scores=tuple(map(scores_of, played.scores)),
        pictures=tuple(_read_pictures(played.pictures, folder, max_pixels)),
        reason=played.ending,
        details=tuple(played.details or ()),
        training=played.training,
    )


def _read_pictures(names: list[str], folder: Path, max_pixels: int) -> Iterator[Image]:
    """The pictures by name, all of one shape."""
    shape = None
    for place, name in enumerate(names):
        key = f"key 'played.pictures[{place}]'"
        try:
            picture = read_png(folder, name, max_pixels)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
        if shape not in (None, picture.shape):
            raise ValueError(f"{key} has shape {picture.shape}, expected the first's {shape}")
        shape = picture.shape
        yield picture


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
