"""Runs that may be killed at any moment: their lock, their settings, their checkpoints.

A folder `checkpoint-STEP` is ours where it holds one of two marks: WRITING, made before anything else is
written and left until all else is removed, or COMPLETE, which lists every file with its size and checksum and
is written last. Folders without a mark, and links, belong to others: they are neither changed nor removed.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from editenv.files import atomic_write_text, hide_logins

COMPLETE = "complete.json"
"""The mark of a whole checkpoint: {"iteration": ..., "files": {name: {"size": bytes, "sha256": hex}}}."""
WRITING = "writing.json"
"""The mark of a checkpoint that is being written or removed."""
FIRST = "saved.json"
"""In a run's folder: which checkpoint was its first whole one; a run without it may begin at zero again."""
LOCK = "training.lock"
"""In a run's folder while a training writes there: which process that is; other commands have locks of their own."""
ASKING = (
    "base_url", "api_key_env", "timeout", "retries", "concurrency", "max_calls", "cache", "transcript",
    "check",
)  # fmt: skip
"""Of a judge's or user's settings: where its model answers and how patiently it is asked."""


class TrainingAborted(RuntimeError):
    """A run cannot go on; the message says why and where it goes on from when it is started again."""


def flat_settings(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Settings by their names on the command line, such as "algorithm.steps", without passwords in URLs."""
    found: dict[str, Any] = {}
    for name, value in (settings if isinstance(settings, dict) else asdict(settings)).items():
        if isinstance(value, dict) and value:
            found |= flat_settings(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = hide_logins(value) if isinstance(value, str) else value
    return found


def deciding_settings(settings: Any, beside: Sequence[str]) -> dict[str, Any]:
    """`flat_settings` without those that decide nothing: `beside`, and where a server is and how it is asked."""
    return {
        name: value
        for name, value in flat_settings(settings).items()
        if name.partition(".")[0] not in beside
        and not (name.startswith(("user.", "scorer.", "policy_settings.")) and name.rpartition(".")[2] in ASKING)
    }


def check_same_settings(kept: Path, mine: dict[str, Any], free: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that a run began with; ValueError where they are not those to go on with, `free` ones apart."""
    try:
        other: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        missing = [name for name in free if name not in other]
        if not isinstance(other, dict) or missing:
            raise ValueError(f"no {missing}")
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{kept} holds no settings of a run, expected what it wrote when it began: put it back, or name "
            "another folder"
        ) from error
    names = (mine.keys() | other.keys()) - set(free)
    changed = sorted(name for name in names if mine.get(name) != other.get(name))
    if changed:
        raise ValueError(
            f"out is {str(kept.parent)!r}, which holds a run with another {', '.join(changed)}; expected the "
            f"same settings ({kept}) or another folder"
        )
    return other


@contextmanager
def run_lock(out: Path, doing: str = "training") -> Iterator[None]:
    """Holds a run's folder for this process alone; ValueError where another one is `doing` the same, which it names.

    The kernel unlocks a lock when its process ends, however that is: a dead one's is taken over.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{doing}.lock"
    while True:
        with open(path, "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "which has just begun"
                raise ValueError(
                    f"out is {str(out)!r}, in which another process is {doing} ({holder}), expected "
                    "another folder, or the same command when that one has ended"
                ) from error
            if not path.exists() or os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:
                continue  # removed by its holder just now
            try:
                file.truncate(0)
                file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n")
                file.flush()
                yield
            finally:
                # Removed while it is held: whoever waits for this file finds that it is no longer the path's.
                path.unlink(missing_ok=True)
            return


def begin_checkpoint(folder: Path) -> None:
    """Marks a checkpoint that is about to be written as ours and not whole; OSError where it is somebody else's."""
    if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
        raise FileExistsError(f"{folder} is there already and no checkpoint of this run")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WRITING).touch()
    (folder / COMPLETE).unlink(missing_ok=True)


def mark_complete(folder: Path, values: dict[str, Any]) -> None:
    """Marks a checkpoint as whole, in one step; the mark keeps JSON values beside the files' sizes and checksums."""
    for left in folder.glob(f"{COMPLETE}.*.part"):
        left.unlink()
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != WRITING]
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _checksum(path)} for path in paths
    }
    atomic_write_text(folder / COMPLETE, json.dumps(values | {"files": files}))
    (folder / WRITING).unlink(missing_ok=True)


def note_first(folder: Path) -> None:
    """Notes that a run has had a whole checkpoint, once; on a full disk the next one is noted."""
    note = folder.parent / FIRST
    if not note.exists():
        with suppress(OSError):
            atomic_write_text(note, json.dumps({"checkpoint": folder.name}) + "\n")


def check_not_lost(out: Path) -> None:
    """Refuses to begin at zero again where there has been a whole checkpoint that is whole no longer.

    Where the first one was never finished, nothing but time is lost, and the same command begins anew.
    """
    marked = any((folder / COMPLETE).is_file() for folder in _checkpoints(out))
    if newest_checkpoint(out) or not (marked or (out / FIRST).is_file()):
        return
    found = ", ".join(sorted(folder.name for folder in out.glob("checkpoint-*"))) or "none"
    raise ValueError(
        f"out is {str(out)!r}, a run whose checkpoints are gone or damaged (found: {found}), expected a "
        "whole one: put it back, or remove the folder or name another to begin at zero"
    )


def check_no_strangers(out: Path, after: int, last: int) -> None:
    """Refuses a run that would write a checkpoint where somebody else's folder, file or link is.

    `after` is the optimiser step that the run goes on from, `last` its last one.
    """
    for path in sorted(out.glob("checkpoint-*")):
        step = _step(path)
        if step is not None and after < step <= last and (path.is_symlink() or not _is_ours(path)):
            raise ValueError(
                f"out is {str(out)!r}, where {path.name} is no checkpoint of this command's, expected it out "
                "of the way or another folder"
            )


def go_on(out: Path, mine: dict[str, Any], last: int) -> Path | None:
    """The checkpoint that a run goes on from; None at its beginning, whose settings are kept in `settings.json`.

    Args:
        out: the run's folder.
        mine: the settings that decide what it learns.
        last: the number of its last checkpoint.

    Raises:
        ValueError: the folder holds a run with other settings, or one whose checkpoints are lost.
    """
    kept, newest = out / "settings.json", newest_checkpoint(out)
    if newest and kept.is_file():
        check_same_settings(kept, mine)
    check_not_lost(out)
    check_no_strangers(out, 0 if newest is None else int(newest.name.rpartition("-")[2]), last)
    for folder in drop_half_written(out):
        print(f"passing over {folder}, which was not finished or is damaged", flush=True)
    if newest:
        print(f"going on from {newest}", flush=True)
    atomic_write_text(kept, json.dumps(mine, indent=2) + "\n")
    return newest


def whole_checkpoints(out: Path) -> list[Path]:
    """The checkpoints of a run's folder whose files are all there in full size, oldest first."""
    return [folder for folder in _checkpoints(out) if _is_whole(folder, checksums=False)]


def newest_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint of a run's folder whose files have the checksums that they were written with."""
    return next((folder for folder in reversed(_checkpoints(out)) if _is_whole(folder, checksums=True)), None)


def keep_newest(out: Path, count: int = 2) -> None:
    """Removes all whole checkpoints of ours but the newest ones."""
    for folder in whole_checkpoints(out)[:-count]:
        if not folder.is_symlink():
            remove_checkpoint(folder)


def drop_half_written(out: Path) -> list[Path]:
    """Removes what of ours a killed run left half written or a disk has damaged; says which folders."""
    ours = [folder for folder in _checkpoints(out) if not folder.is_symlink() and _is_ours(folder)]
    found = [folder for folder in ours if not _is_whole(folder, checksums=True)]
    for folder in found:
        remove_checkpoint(folder)
    return found


def remove_checkpoint(folder: Path) -> None:
    """Removes a checkpoint of ours; killed on the way, it leaves one that is ours and not whole."""
    with suppress(FileNotFoundError):
        (folder / COMPLETE).replace(folder / WRITING)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != WRITING:
            path.unlink()
    (folder / WRITING).unlink(missing_ok=True)
    folder.rmdir()


def _checkpoints(out: Path) -> list[Path]:
    """Folders and links to folders that have a checkpoint's name, oldest first."""
    found = [(step, path) for path in out.glob("checkpoint-*") if (step := _step(path)) is not None]
    return [path for _, path in sorted(found) if path.is_dir()]


def _step(folder: Path) -> int | None:
    """The optimiser step that a checkpoint's name gives; None for any other name."""
    matched = re.fullmatch(r"checkpoint-(0|[1-9][0-9]{0,17})", folder.name)
    return None if matched is None else int(matched[1])


def _is_ours(folder: Path) -> bool:
    """Whether a folder has a mark, or nothing at all in it, as a killed removal may leave it."""
    if not folder.is_dir():
        return False
    return any((folder / mark).is_file() for mark in (COMPLETE, WRITING)) or not any(folder.iterdir())


def _is_whole(folder: Path, checksums: bool) -> bool:
    """Whether every file that was there when the mark was made still is, in its size and with its content."""
    try:
        files = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))["files"]
        return all(
            (path := folder / name).is_file()
            and path.stat().st_size == said["size"]
            and not (checksums and _checksum(path) != said["sha256"])
            for name, said in files.items()
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        # No mark, or none that this program wrote: a machine that lost power may keep a file's name and not
        # what was in it.
        return False


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
