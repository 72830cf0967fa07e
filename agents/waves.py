"""What a command has scored so far, kept a wave of sessions at a time, so that the same command goes on after a kill.

A folder holds `evaluation.json` (what decides the scores), `scores.jsonl` (a session a line), where wanted
`records/` in the format of `editenv.records`, and `progress.jsonl`: a line a wave, written last. A wave without
its whole line there never was: what a killed process left of it is taken away before the command goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from editenv import __version__
from editenv.agents.episodes import Count, Counting, session_line
from editenv.agents.resume import check_same_settings, deciding_settings, run_lock
from editenv.files import append_line, atomic_write_text
from editenv.records import FILE, played_line
from editenv.session import Session

SCORES, PROGRESS, SETTINGS, RECORDS = "scores.jsonl", "progress.jsonl", "evaluation.json", "records"
_OWN_CLASS = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]\w*(?::(.+))?")
_FILES = ("sessions_file", "records", "suite", "kind", "persona")
_FOLDERS = ("model", "path", "records", "prompts", "features", "detector")
"""Settings that may name a file or a folder, by the last part of their names."""
_SHIPPED = Path(__file__).parent / "checkpoints"


@dataclass
class Waves:
    """The waves of a folder; `lines` are the sessions' as `session_line` makes them, in order."""

    out: Path
    records: bool
    lines: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    counts: dict[str, dict[str, Count]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads the waves that are whole and as they were written, and takes away what lies behind them."""
        for path in (PROGRESS, SCORES, RECORDS, f"{RECORDS}/{FILE}"):
            if (self.out / path).is_symlink():
                raise ValueError(f"{self.out / path} is a link, expected what an evaluation wrote, or another folder")
        waves, lines = _whole_lines(self.out / PROGRESS), _whole_lines(self.out / SCORES)
        recorded = _whole_lines(self.out / RECORDS / FILE) if self.records else lines
        known, done = 0, 0
        for text in waves:
            # A machine that lost power may have kept the later file and not the earlier one, a disk may change both.
            try:
                wave = json.loads(text)
                end = done + wave["sessions"]
                if wave["sha256"] != _sha256(b"".join(lines[done:end] + recorded[done:end])):
                    break
                self._count(wave)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                break
            known, done = known + 1, end
        self.lines = [json.loads(text) for text in lines[:done]]
        _keep(self.out / PROGRESS, waves[:known])
        _keep(self.out / SCORES, lines[:done])
        if self.records:
            _keep(self.out / RECORDS / FILE, recorded[:done])
            for part in (self.out / RECORDS).glob("*/*.part"):
                part.unlink()

    def add(
        self,
        sessions: Sequence[Session],
        seconds: float,
        counts: Mapping[str, dict[str, Count]],
        published: Callable[[Session], Mapping[str, Any]] | None = None,
    ) -> None:
        """Appends a wave; with `published`, the published keys of a session, to the records too.

        Raises:
            OSError: the disk takes no more; what is there stays whole.
        """
        lines = [session_line(one) for one in sessions]
        scored = recorded = b"".join(map(_as_line, lines))
        if published is not None:
            folder = self.out / RECORDS
            folder.mkdir(exist_ok=True)
            recorded = b"".join(played_line(folder, one, published(one)) for one in sessions)
            append_line(folder / FILE, recorded)
        append_line(self.out / SCORES, scored)
        wave = {"sessions": len(lines), "seconds": seconds, "counts": counts, "sha256": _sha256(scored + recorded)}
        append_line(self.out / PROGRESS, _as_line(wave))
        # As a later process reads it, so that both make the same summary.
        self.lines += [json.loads(_as_line(line)) for line in lines]
        self._count(json.loads(_as_line(wave)))

    def _count(self, wave: Mapping[str, Any]) -> None:
        self.seconds += wave["seconds"]
        for who, counts in wave["counts"].items():
            mine = self.counts.setdefault(who, {})
            for name, value in counts.items():
                mine[name] = _added(mine.get(name), value)


@contextmanager
def kept_waves(
    out: Path, settings: Any, beside: Sequence[str], more: Mapping[str, Any], records: bool
) -> Iterator[Waves]:
    """The waves of a folder, which is held for this process alone.

    Args:
        out: made where it is not there.
        settings: of the command.
        beside: names of those that decide no score.
        more: JSON values that decide scores as well, such as versions.
        records: whether sessions are kept too.

    Raises:
        ValueError: the folder holds scores of other settings (names them), or another process writes there.
        OSError: the folder cannot be written.
    """
    mine = with_contents(deciding_settings(settings, ("out", *beside))) | {"editenv": __version__} | dict(more)
    with run_lock(out, "evaluating"):
        if _whole_lines(out / PROGRESS):
            check_same_settings(out / SETTINGS, json.loads(json.dumps(mine)))
        atomic_write_text(out / SETTINGS, json.dumps(mine, indent=2) + "\n")
        yield Waves(out, records)


class CountsSince:
    """What those who count have counted since the last look; shares as (part, whole)."""

    def __init__(self, **parts: Any) -> None:
        self.parts = {name: part for name, part in parts.items() if isinstance(part, Counting)}
        self.last: dict[str, dict[str, Count]] = defaultdict(dict)

    def take(self) -> dict[str, dict[str, Count]]:
        """New counts by who counted and by name."""
        found = {}
        for who, part in self.parts.items():
            now = part.counts()
            found[who] = {name: _added(value, self.last[who].get(name), -1) for name, value in now.items()}
            self.last[who] = now
        return found


def _added(one: Any, other: Any, sign: int = 1) -> Any:
    """The sum of one and sign times other, pairs entry by entry; None counts as nothing."""
    if one is None or other is None:
        return one if other is None else other
    if isinstance(one, tuple | list):
        return tuple(a + sign * b for a, b in zip(one, other, strict=True))
    return one + sign * other


def with_contents(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, in place of paths and beside classes from outside a hash of what lies there.

    So a model that has moved is the same one, and one that was trained on is not.
    """
    return {name: _with_content(name.rpartition(".")[2], value) for name, value in settings.items()}


def _with_content(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    own, path, found = _OWN_CLASS.fullmatch(value), value, []
    if own is not None:
        path = own[2] or ""
        found.append(value.removesuffix(f":{path}"))
        module = None if own[1].startswith("editenv.") else find_spec(own[1])
        if module is not None and module.origin is not None:
            found.append(content_hash(Path(module.origin)))
    place, shipped = Path(path), (_SHIPPED / path).parent == _SHIPPED and (_SHIPPED / path).is_dir()
    if path and not shipped and ((name in _FILES and place.is_file()) or (name in _FOLDERS and place.is_dir())):
        # A run's folder stands for its last weights.
        found.append(content_hash(place / "model" if (place / "model").is_dir() else place))
    elif path:
        found.append(path)
    return " ".join(found)


def content_hash(path: Path) -> str:
    """A hash of a file's bytes, or of the names and bytes of all files below a folder."""
    total = hashlib.blake2b(digest_size=12)
    for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if one.is_file():
            total.update(one.relative_to(path).as_posix().encode())
            with open(one, "rb") as file:
                total.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
    return total.hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _as_line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that end; none where there is no file."""
    text = path.read_bytes() if path.is_file() else b""
    return [line for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


def _keep(path: Path, lines: Sequence[bytes]) -> None:
    """Takes away what lies behind a file's first lines."""
    if path.is_file():
        os.truncate(path, sum(map(len, lines)))
