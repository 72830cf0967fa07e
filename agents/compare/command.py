"""`editenv compare`: from an experiment file to its report, through a queue that a kill does not harm."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from editenv.agents.compare.experiment import Experiment, Job, load_experiment
from editenv.agents.compare.queue import Outcome, outcome, run_jobs
from editenv.agents.compare.report import write_report
from editenv.configs.schema import CompareConfig


def compare(config: CompareConfig) -> int:
    """Runs what is not done yet and writes the report of what is; returns 1 where a run failed.

    Raises:
        ValueError: the experiment cannot be used, or nothing has finished.
    """
    experiment = load_experiment(config.comparison)
    out = Path(config.out)
    jobs = experiment.jobs(out)
    console = Console()
    if config.dry_run:
        console.print(_plan(experiment, jobs, out))
        return 0
    out.mkdir(parents=True, exist_ok=True)

    def told(one: Outcome, left: int) -> None:
        print(f"{one.job.name}: {one.state} after {one.seconds:.0f} s, {left} running", flush=True)
        if one.tail:
            print(one.tail, flush=True)

    outcomes = run_jobs(jobs, out, config.jobs, config.retry_failed, told)
    command = ["compare", f"comparison={config.comparison}", f"out={config.out}"]
    page = write_report(experiment, outcomes, out, command)
    failed = [one.job.name for one in outcomes if one.state == "failed"]
    print(f"report: {page}" + (f"; failed: {', '.join(failed)}, run again with retry_failed=true" if failed else ""))
    return int(bool(failed))


def _plan(experiment: Experiment, jobs: list[Job], out: Path) -> Table:
    """What would run, with the seconds that finished runs of the same arm took."""
    known = [outcome(out / "runs" / job.name, job) for job in jobs]
    table = Table(title=experiment.schema.question, title_justify="left")
    for head in ("run", "state", "seconds", "command"):
        table.add_column(head, overflow="fold")
    for job, one in zip(jobs, known, strict=True):
        took = [other.seconds for other in known if other.job.arm == job.arm and other.state == "done"]
        seconds = f"{sum(took) / len(took):.0f}" if took else "?"
        words = job.train or next(iter(job.evaluate.values()))
        table.add_row(job.name, one.state, seconds, "editenv " + " ".join(words))
    return table
