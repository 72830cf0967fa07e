"""`editenv compare`: from an experiment file to its report, through a queue that a kill does not harm.

A job's folder holds `job.json` (its commands), `log.txt` (what they print), what they write, `steps.json` (how many
have ended) and in the end `done.json`, written whole at once and holding the job's key. A finished job of the same key
never runs again; one that was killed goes on where its own commands can.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from editenv import __version__
from editenv.agents.compare.experiment import Experiment, Job, load_experiment
from editenv.agents.resume import run_lock
from editenv.configs.schema import CompareConfig
from editenv.files import atomic_write_text, hide_logins

DONE, FAILED, LOG, STEPS = "done.json", "failed.json", "log.txt", "steps.json"
_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its state is "done", "failed" or "waiting"."""

    job: Job
    state: str
    seconds: float = 0.0  # that its process took since it was last started
    tail: str = ""  # last lines of its log where it failed


def compare(config: CompareConfig) -> int:
    """Runs what is not done yet, tuning first, and writes the report of what is; returns 1 where a run failed.

    Raises:
        ValueError: the experiment cannot be used, a finished run has lost its scores, or nothing has finished; with
            report_only, a run has not finished.
    """
    experiment, out, console = load_experiment(config.comparison), Path(config.out), Console()
    launch = launcher(config, out)
    trials = [outcome(out / "runs" / job.name, job) for job in experiment.trials(out)]
    known = _runs(experiment, trials, out)
    if config.dry_run:
        console.print(_plan(experiment, [*trials, *known], config.jobs))
        return 0
    if config.report_only:
        missing = [one.job.name for one in (*trials, *known) if one.state == "waiting"]
        if missing:
            raise ValueError(
                f"{out / 'runs'} has no finished {', '.join(missing)}, expected all runs of the experiment"
            )

    def told(one: Outcome, left: int) -> None:
        print(f"{one.job.name}: {one.state} after {one.seconds:.0f} s, {left} to come", flush=True)
        if one.tail:
            print(one.tail, flush=True)

    from editenv.agents.compare.report import write_report

    with run_lock(out, "comparing"):
        if not config.report_only:
            trials = run_jobs(trials, out, config.jobs, config.retry_failed, told, launch)
            known = run_jobs(_runs(experiment, trials, out), out, config.jobs, config.retry_failed, told, launch)
        command = ["compare", f"comparison={config.comparison}", f"out={config.out}"]
        page = write_report(experiment, trials, known, out, command)
    failed = [one.job.name for one in (*trials, *known) if one.state == "failed"]
    print(f"report: {page}" + (f"; failed: {', '.join(failed)}, run again with retry_failed=true" if failed else ""))
    return int(bool(failed))


def _runs(experiment: Experiment, trials: Sequence[Outcome], out: Path) -> list[Outcome]:
    """The runs, with the settings that tuning chose once all its trials have ended."""
    from editenv.agents.compare.results import chosen, tried

    best, plan = None, experiment.schema.tuning
    if plan is not None and all(one.state != "waiting" for one in trials):
        found = {arm: chosen(ended) for arm, ended in tried(trials, plan.metric, out).items()}
        best = {arm: one.job.tuned for arm, one in found.items() if one is not None}
    return [outcome(out / "runs" / job.name, job) for job in experiment.jobs(out, best)]


def outcome(folder: Path, job: Job) -> Outcome:
    """What the job's folder says of it; another key's result counts as none.

    Raises:
        ValueError: the job is done, but the scores of one of its evaluations are gone.
    """
    for name, state in ((DONE, "done"), (FAILED, "failed")):
        mark = _read(folder / name)
        if mark.get("key") == job.key:
            lost = [one for one in job.evaluate if state == "done" and not (folder / one / "scores.jsonl").is_file()]
            if lost:
                raise ValueError(
                    f"{folder} is a finished run without {lost[0]}/scores.jsonl: expected it back where it was, or "
                    "the folder removed, to run it again"
                )
            return Outcome(job, state, float(mark.get("seconds", 0.0)), "" if state == "done" else _tail(folder / LOG))
    return Outcome(job, "waiting")


def run_jobs(
    known: Sequence[Outcome],
    out: Path,
    workers: int,
    retry_failed: bool,
    told: Callable[[Outcome, int], None],
    launch: Callable[[Path, Job], None],
) -> list[Outcome]:
    """Runs what is not done yet, `workers` at a time; returns what became of each job, in their order.

    Args:
        known: what has become of each so far.
        out: the experiment's folder.
        workers: jobs side by side.
        retry_failed: whether jobs that failed before run again.
        told: called with each job that has ended and how many are still to come.
        launch: runs a job in its folder and returns when it has ended.
    """
    again = ("waiting", "failed") if retry_failed else ("waiting",)
    found = {one.job.name: one for one in known}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        running = {}
        for job in [one.job for one in known if one.state in again]:
            folder = out / "runs" / job.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FAILED).unlink(missing_ok=True)
            before = _read(folder / "job.json").get("key")
            if before is not None and before != job.key:
                # What lies there was made with other settings: kept, under its key, and nothing goes on from it.
                folder.rename(folder.with_name(f"{folder.name}.{before}"))
                folder.mkdir()
            atomic_write_text(folder / "job.json", json.dumps(job.to_json(), indent=1) + "\n")
            running[pool.submit(launch, folder, job)] = job
        try:
            for left, future in zip(range(len(running))[::-1], as_completed(running), strict=True):
                future.result()
                job = running[future]
                found[job.name] = outcome(out / "runs" / job.name, job)
                told(found[job.name], left)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [found[one.job.name] for one in known]


def run_process(folder: Path, job: Job) -> None:
    """Runs a job in a process of its own, its output in the log.

    The words reach it by its standard input: job.json is for people, and hides logins.
    """
    with (folder / LOG).open("ab") as log:
        command = [sys.executable, "-m", "editenv.agents.compare.command", str(folder), str(os.getpid())]
        words = json.dumps(job.to_json()).encode()
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, input=words, check=False)
    if ended.returncode < 0:  # by a signal, such as that of a machine without memory
        _fail(folder, job, f"ended by {signal.Signals(-ended.returncode).name}", ended.returncode)


def launcher(config: CompareConfig, out: Path) -> Callable[[Path, Job], None]:
    """What runs a job: a process here, or a job of a cluster's queue.

    Raises:
        ValueError: submitit is not installed, or knows no such setting.
    """
    if config.launcher == "local":
        if config.slurm:
            raise ValueError(f"slurm is {config.slurm}, expected none with launcher=local")
        return run_process
    if find_spec("submitit") is None:
        raise ValueError(
            f"launcher is {config.launcher!r}, but submitit is not installed: pip install 'editenv[slurm]'"
        )
    import submitit
    from submitit.core.utils import FailedJobError, UncompletedJobError

    cluster = {"slurm": "slurm", "slurm_rehearsal": "local"}[config.launcher]
    try:
        executor = submitit.AutoExecutor(folder=out / "submitit", cluster=cluster)
        executor.update_parameters(**{"timeout_min": 24 * 60, **config.slurm})
    except (NameError, RuntimeError, TypeError) as error:
        raise ValueError(f"slurm: {error}") from error
    lock = threading.Lock()

    def submit(folder: Path, job: Job) -> None:
        with lock:
            sent = executor.submit(run_process, folder.absolute(), job)
        try:
            sent.result()
        except (FailedJobError, UncompletedJobError) as error:
            _fail(folder, job, str(error), 1)

    return submit


def _fail(folder: Path, job: Job, why: str, status: int) -> None:
    """Marks a job as failed that could not do so itself."""
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(f"{why}\n")
    mark = {"key": job.key, "seconds": 0.0, "status": status, "version": __version__}
    atomic_write_text(folder / FAILED, json.dumps(mark) + "\n")


def run_job(folder: Path, job: dict[str, Any]) -> int:
    """Runs those of a job's commands that have not ended yet and leaves `done.json` or `failed.json`."""
    from editenv.cli import main

    with open(folder / "job.lock", "w") as lock:
        # The process of a killed queue lives for up to half a second after it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        started, status, steps = time.monotonic(), 0, _read(folder / STEPS)
        ended = steps.get("ended", 0) if steps.get("key") == job["key"] else 0
        for number, words in enumerate([job["train"], *job["evaluate"].values()]):
            if words and not status and number >= ended:
                print(hide_logins(f"== editenv {' '.join(words)}"), flush=True)
                if not (status := main(words)):
                    atomic_write_text(folder / STEPS, json.dumps({"key": job["key"], "ended": number + 1}) + "\n")
        mark = {"key": job["key"], "seconds": time.monotonic() - started, "status": status, "version": job["version"]}
        atomic_write_text(folder / (FAILED if status else DONE), json.dumps(mark) + "\n")
        return status


def _end_with(parent: int) -> None:
    """Ends this process once the queue that started it is gone: a restarted one runs nothing twice."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _plan(experiment: Experiment, known: Sequence[Outcome], workers: int) -> Table:
    """What would run, and the hours of it: by finished runs of the same arm, else by what its file says of it."""
    table = Table(title=experiment.schema.question, title_justify="left", caption_justify="left")
    for head in ("run", "state", "seconds", "command"):
        table.add_column(head, overflow="fold")
    total, guessed = 0.0, True
    for one in known:
        alike = [other for other in known if other.job.arm == one.job.arm and _is_trial(other) == _is_trial(one)]
        took = [other.seconds for other in alike if other.state == "done"]
        seconds = sum(took) / len(took) if took else experiment.seconds(one.job)
        if one.state != "done":
            total, guessed = total + (seconds or 0.0), guessed and seconds is not None
        words = one.job.train or next(iter(one.job.evaluate.values()))
        shown = "?" if seconds is None else f"{seconds:.0f}"
        table.add_row(one.job.name, one.state, shown, "editenv " + " ".join(words))
    hours = f"{total / workers / 3600:.2f} hours to come with jobs={workers}"
    table.caption = hours if guessed else f"{hours}, and those of arms marked ?"
    return table


def _is_trial(one: Outcome) -> bool:
    return one.job.trial is not None


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
    sys.exit(run_job(Path(sys.argv[1]), json.load(sys.stdin)))
