"""A comparison survives interruption, runs nothing twice, refuses what does not fit, and reports what there is."""

import os
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


@pytest.fixture
def two(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    return path


def states(experiment, out):
    return {job.name: outcome(out / "runs" / job.name, job).state for job in experiment.jobs(out)}


def test_an_experiment_becomes_a_report(two, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", str(two), f"out={out}"]) == 0
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert "Does the oracle beat an agent that does nothing?" in page
    outside = [word for word in re.findall(r"https?://[^\s\"']+", page) if "www.w3.org" not in word]
    assert not outside, "the page needs no network"
    row = next(line for line in text.splitlines() if line.startswith("| oracle") and "mixed" in line)
    assert "+100.0" in row
    table = (out / "table.csv").read_text().splitlines()
    assert table[0] == "arm,seed,suite,session,turn,task,family,score,value"
    assert any(line.startswith("oracle,0,mice-cu,3,") for line in table)


def test_finished_runs_never_run_again(two, tmp_path):
    out = tmp_path / "out"
    assert main(["compare", str(two), f"out={out}"]) == 0
    marks = {path: path.stat().st_mtime_ns for path in out.rglob("done.json")}
    first = (out / "report.md").read_text()
    assert len(marks) == 2
    assert main(["compare", str(two), f"out={out}"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("done.json")} == marks
    assert (out / "report.md").read_text() == first


def test_other_settings_run_anew_and_keep_what_was_there(two, tmp_path):
    out = tmp_path / "out"
    assert main(["compare", str(two), f"out={out}"]) == 0
    two.write_text(TWO.replace("sessions: 4", "sessions: 5"))
    assert set(states(load_experiment(str(two)), out).values()) == {"waiting"}
    assert main(["compare", str(two), f"out={out}"]) == 0
    assert len(list((out / "runs" / "noop").glob("seed_0.*"))) == 1


def test_a_failed_run_is_shown_and_runs_again_on_request(two, tmp_path, capsys):
    out, missing = tmp_path / "out", tmp_path / "later"
    two.write_text(TWO.replace("[policy=oracle]", f"[model={missing}]"))
    assert main(["compare", str(two), f"out={out}"]) == 1
    assert "failed: oracle/seed_0" in capsys.readouterr().out
    assert "later" in (out / "report.md").read_text(), "the last lines of its log"
    before = (out / "runs" / "oracle" / "seed_0" / "log.txt").stat().st_size
    assert main(["compare", str(two), f"out={out}"]) == 1
    assert (out / "runs" / "oracle" / "seed_0" / "log.txt").stat().st_size == before, "not again by itself"
    assert main(["compare", str(two), f"out={out}", "retry_failed=true"]) == 1
    assert (out / "runs" / "oracle" / "seed_0" / "log.txt").stat().st_size > before


def test_killed_and_started_again_it_ends_with_the_same_report(two, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(["compare", str(two), f"out={whole}"]) == 0
    command = [sys.executable, "-m", "editenv.cli", "compare", str(two), f"out={killed}"]
    for seconds in (2.0, 5.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": os.getcwd()})
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(["compare", str(two), f"out={killed}"]) == 0
    assert (killed / "table.csv").read_text() == (whole / "table.csv").read_text()


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
