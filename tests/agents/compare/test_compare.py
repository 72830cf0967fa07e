"""A comparison survives interruption, runs nothing twice, refuses what does not fit and reports."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from editenv.agents.compare.experiment import load_experiment
from editenv.agents.compare.queue import outcome
from editenv.cli import main

TWO = """
question: Does the oracle beat an agent that does nothing?
arms:
  noop: {agent: policy, overrides: [policy=noop]}
  oracle: {agent: policy, overrides: [policy=oracle]}
seeds: [0]
suites: [mixed, mice-cu]
evaluation: {sessions: 4}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The file and the folder of a comparison that has ended."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "two.yaml").write_text(TWO)
    assert main(["compare", str(folder / "two.yaml"), f"out={folder / 'out'}"]) == 0
    return folder / "two.yaml", folder / "out"


@pytest.fixture
def two(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    return path


def states(file, out):
    experiment = load_experiment(str(file))
    return {job.name: outcome(out / "runs" / job.name, job).state for job in experiment.jobs(out)}


def test_an_experiment_becomes_a_report(finished):
    _, out = finished
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert "Does the oracle beat an agent that does nothing?" in page
    outside = [word for word in re.findall(r"https?://[^\s\"']+", page) if "www.w3.org" not in word]
    assert not outside, "the page needs no network"
    row = next(line for line in text.splitlines() if line.startswith("| oracle") and "mixed" in line)
    assert "+100.0" in row
    table = (out / "table.csv").read_text().splitlines()
    assert table[0] == "arm,seed,suite,session,turn,task,family,score,value"
    assert any(line.startswith("oracle,0,mice-cu,3,") for line in table)


def test_finished_runs_never_run_again(finished):
    file, out = finished
    marks = {path: path.stat().st_mtime_ns for path in out.rglob("done.json")}
    first = (out / "report.md").read_text()
    assert len(marks) == 2
    assert main(["compare", str(file), f"out={out}"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("done.json")} == marks
    assert (out / "report.md").read_text() == first


def test_results_of_other_settings_do_not_count(finished, two):
    _, out = finished
    assert set(states(two, out).values()) == {"done"}
    two.write_text(TWO.replace("sessions: 4", "sessions: 5"))
    assert set(states(two, out).values()) == {"waiting"}


def test_a_failed_run_is_shown_and_runs_again_on_request(two, tmp_path, capsys):
    out, missing = tmp_path / "out", tmp_path / "later"
    two.write_text(TWO.replace("[policy=oracle]", f"[model={missing}]").replace("[mixed, mice-cu]", "[mixed]"))
    log = out / "runs" / "oracle" / "seed_0" / "log.txt"
    sizes = []
    for words in ((), (), ("retry_failed=true",)):
        assert main(["compare", str(two), f"out={out}", *words]) == 1
        assert "failed: oracle/seed_0" in capsys.readouterr().out
        sizes.append(log.stat().st_size)
    assert sizes[0] == sizes[1] < sizes[2], "again on request alone"
    assert "later" in (out / "report.md").read_text(), "the last lines of its log"


def test_killed_and_started_again_it_ends_with_the_same_scores(finished, tmp_path):
    file, whole = finished
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "editenv.cli", "compare", str(file), f"out={out}"]
    for seconds in (3.0, 6.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(["compare", str(file), f"out={out}"]) == 0
    assert (out / "table.csv").read_text() == (whole / "table.csv").read_text()


def test_a_job_ends_with_the_queue_that_started_it(tmp_path):
    """Fails where jobs go on without their queue, so that a restarted one runs them twice."""
    program = (
        "import os, time; from editenv.agents.compare.queue import _end_with;"
        "child = os.fork();"
        "parent = os.getppid() if child == 0 else None;"
        "(_end_with(parent), time.sleep(60)) if child == 0 else print(child, flush=True);"
        "time.sleep(1)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    child, deadline = int(run.stdout), time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{child}").exists():
        time.sleep(0.2)
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("agent: policy, overrides: [policy=noop]", "agent: polcy", "key 'arms.noop.agent'"),
        ("[policy=noop]", "[polcy=noop]", "arm 'noop': evaluate has no setting 'polcy', did you mean 'policy'"),
        ("seeds: [0]", "seeds: []", "one seed"),
        ("seeds: [0]", "seeds: [0, 0]", "each seed once"),
        ("suites:", "suits:", "key 'suits' is not known"),
        ("seeds: [0]", "seeds: [0]\nbaseline: nop", "baseline 'nop' is not known, did you mean 'noop'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(two, tmp_path, capsys, old, new, message):
    two.write_text(TWO.replace(old, new))
    assert main(["compare", str(two), f"out={tmp_path / 'out'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_shipped_experiments_can_be_read(tmp_path):
    for path in (Path(__file__).parents[3] / "configs" / "compare").glob("*.yaml"):
        assert load_experiment(path.stem).jobs(tmp_path)


def test_a_dry_run_shows_the_plan_and_runs_nothing(two, tmp_path, capsys):
    assert main(["compare", str(two), f"out={tmp_path / 'out'}", "dry_run=true"]) == 0
    assert "oracle/seed_0" in capsys.readouterr().out
    assert not (tmp_path / "out" / "runs").exists()
