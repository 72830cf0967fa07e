"""The queue: one process a job, its log beside it; a job is done when its `done.json` says so.

A job's folder holds `job.json` (its commands), `log.txt` (what they print), what they write, and in the end
`done.json`, written whole at once and holding the job's key. A finished job of the same key never runs again;
one that was killed goes on where its own commands can.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editenv.agents.compare.experiment import Job
from editenv.files import atomic_write_text

DONE, FAILED, LOG = "done.json", "failed.json", "log.txt"
_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: which one.
        state: "done", "failed" or "waiting".
        seconds: that its commands took, 0 where it has not ended.
        tail: last lines of its log where it failed.
    """

    job: Job
    state: str
    seconds: float = 0.0
    tail: str = ""


def outcome(folder: Path, job: Job) -> Outcome:
    """What the job's folder says of it; another key's result counts as none."""
    for name, state in ((DONE, "done"), (FAILED, "failed")):
        mark = _read(folder / name)
        if mark.get("key") == job.key:
            tail = "" if state == "done" else _tail(folder / LOG)
            return Outcome(job, state, float(mark.get("seconds", 0.0)), tail)
    return Outcome(job, "waiting")


def run_jobs(
    jobs: Sequence[Job], out: Path, workers: int, retry_failed: bool, told: Callable[[Outcome, int], None]
) -> list[Outcome]:
    """Runs what is not done yet, `workers` at a time; returns what became of each job, in their order.

    Args:
        jobs: all of the experiment.
        out: its folder.
        workers: jobs side by side.
        retry_failed: whether jobs that failed before run again.
        told: called with each job that has ended and how many are still to come.
    """
    folders = {job.name: out / "runs" / job.name for job in jobs}
    known = {job.name: outcome(folders[job.name], job) for job in jobs}
    again = ("waiting", "failed") if retry_failed else ("waiting",)
    open_jobs = [job for job in jobs if known[job.name].state in again]
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        running: dict[Future[int], Job] = {}
        for job in open_jobs:
            _prepare(folders[job.name], job)
            running[pool.submit(run_here, folders[job.name])] = job
        try:
            while running:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    job = running.pop(future)
                    future.result()
                    known[job.name] = outcome(folders[job.name], job)
                    told(known[job.name], len(running))
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return [known[job.name] for job in jobs]


def run_here(folder: Path) -> int:
    """Runs a job's folder in a process of its own, its output in the log; returns the exit status."""
    with (folder / LOG).open("ab") as log:
        command = [sys.executable, "-m", "editenv.agents.compare.queue", str(folder), str(os.getpid())]
        return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode


def run_job(folder: Path) -> int:
    """Runs the commands of a folder's job here and leaves `done.json` or `failed.json`; the exit status."""
    from editenv.cli import main

    job = _read(folder / "job.json")
    started, status = time.monotonic(), 0
    for words in [job["train"], *job["evaluate"].values()]:
        if words and not status:
            print(f"== editenv {' '.join(words)}", flush=True)
            status = main(words)
    seconds = time.monotonic() - started
    mark = {"key": job["key"], "seconds": seconds, "status": status, "version": job["version"]}
    atomic_write_text(folder / (FAILED if status else DONE), json.dumps(mark) + "\n")
    return status


def _prepare(folder: Path, job: Job) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).unlink(missing_ok=True)
    before = _read(folder / "job.json").get("key")
    if before is not None and before != job.key:
        # What lies there was made with other settings: kept, under its key, and nothing goes on from it.
        folder.rename(folder.with_name(f"{folder.name}.{before}"))
        folder.mkdir()
    atomic_write_text(folder / "job.json", json.dumps(job.to_json(), indent=1) + "\n")


def _end_with(parent: int) -> None:
    """Ends this process once the queue that started it is gone: a restarted one runs nothing twice."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _read(path: Path) -> dict[str, Any]:
    """A JSON object of ours; empty where there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _tail(path: Path) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:])
    except OSError:
        return ""


if __name__ == "__main__":
    _end_with(int(sys.argv[2]))
    sys.exit(run_job(Path(sys.argv[1])))
