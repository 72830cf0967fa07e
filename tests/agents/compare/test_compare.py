"""A comparison survives interruption, runs nothing twice, refuses what does not fit and reports."""

import json
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from editenv.agents.compare import command
from editenv.agents.compare.command import outcome, run_process
from editenv.agents.compare.experiment import Job, load_experiment
from editenv.agents.compare.results import learning_curve
from editenv.cli import main

TWO = """
question: Does the oracle beat an agent that does nothing?
arms:
  noop: {agent: policy, overrides: [policy=noop]}
  oracle: {agent: policy, overrides: [policy=oracle]}
seeds: [0]
suites: [mixed, mice-cu]
evaluation: {sessions: 4, tries: 2}
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
    assert "+100.0" in row and "pass@2" in text and "4 evaluation sessions:" in text
    assert "data:image/png;base64," in page and (out / "filmstrips.png").is_file() and "filmstrips.png" in text
    kinds = [line for line in text.splitlines() if line.startswith("## By")]
    assert kinds[:3] == ["## By turn, mixed", "## By turn, mice-cu", "## By task, mixed"] and "## By family" in text
    table = (out / "table.csv").read_text().splitlines()
    assert table[0] == "arm,seed,suite,session,turn,task,family,score,value"
    assert any(line.startswith("oracle,0,mice-cu,3,") for line in table)


def test_finished_runs_never_run_again(finished):
    file, out = finished
    marks = {path: path.stat().st_mtime_ns for path in out.rglob("done.json")}
    first = (out / "report.md").read_text()
    assert len(marks) == 2
    logs = {path: path.read_bytes() for path in out.rglob("log.txt")}
    assert main(["compare", str(file), f"out={out}"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("done.json")} == marks
    assert (out / "report.md").read_text() == first
    assert {path: path.read_bytes() for path in out.rglob("log.txt")} == logs


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
    out, moments = tmp_path / "killed", random.Random(3)
    command = [sys.executable, "-m", "editenv.cli", "compare", str(file), f"out={out}"]

    def started() -> int:
        return sum(path.read_text().count("== editenv evaluate") for path in out.rglob("log.txt"))

    for seen in (1, 3):
        process, deadline = subprocess.Popen(command, stdout=subprocess.DEVNULL), time.monotonic() + 120
        while started() < seen and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    # At once: the killed queue's job may still be there.
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    assert (out / "table.csv").read_text() == (whole / "table.csv").read_text()
    assert without_seconds(out) == without_seconds(whole)
    assert started() <= 8 + 2, "all of them once, and once more what was interrupted"


def without_seconds(out):
    """The report's lines but those of seconds and of the command."""
    before, _, rest = (out / "report.md").read_text().partition("## Cost of a run")
    return before, rest.partition("## By")[2].partition("Made by")[0]


def test_a_comparison_that_moved_is_still_done(finished, tmp_path):
    """Fails where the key holds the place of the folder."""
    file, whole = finished
    shutil.copytree(whole, tmp_path / "moved")
    assert set(states(file, tmp_path / "moved").values()) == {"done"}


def test_a_finished_run_that_lost_its_scores_is_refused_by_name(finished, tmp_path, capsys):
    file, whole = finished
    shutil.copytree(whole, tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost" / "runs" / "oracle" / "seed_0" / "mixed")
    assert main(["compare", str(file), f"out={tmp_path / 'lost'}"]) == 2
    assert "oracle/seed_0 is a finished run without mixed/scores.jsonl" in capsys.readouterr().err


def test_runs_of_other_sessions_or_versions_do_not_stand_in_one_table(finished, tmp_path, capsys):
    file, whole = finished
    shutil.copytree(whole, tmp_path / "mixed")
    path = tmp_path / "mixed" / "runs" / "oracle" / "seed_0" / "mixed" / "scores.jsonl"
    path.write_text(path.read_text().replace('"scorer": "exact', '"scorer": "exact 0'))
    assert main(["compare", str(file), f"out={tmp_path / 'mixed'}"]) == 2
    assert "holds other sessions or versions than" in capsys.readouterr().err


TRAINED = """
question: Which budget?
arms:
  demo: {agent: edit_r2, overrides: [experiment=demo, groups=4, group_size=4, eval_every=5]}
  model: {agent: policy, overrides: [model=MODEL]}
seeds: [0]
budget: BUDGET
evaluation: {sessions: 4}
"""


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("{turns: 480}", "iterations=10"),  # 4 x 4 sessions of 3 turns an iteration
        ("{turns: 500}", "iterations=10"),
        ("{updates: 9, settings: [algorithm.updates_per_iteration=2]}", "iterations=4"),
        ("{seconds: 90}", "max_seconds=90"),
        ("[iterations=7]", "iterations=7"),
    ],
)
def test_a_budget_is_the_same_for_every_training(two, tmp_path, budget, words):
    two.write_text(TRAINED.replace("BUDGET", budget).replace("MODEL", "practice"))
    job = load_experiment(str(two)).jobs(tmp_path)[0]
    assert words in job.train and list(job.evaluate) == ["mixed", "mixed.best"]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("{turns: 480, seconds: 9}", "one of them"),
        ("{turns: 40}", "expected 48 or more, which one iteration takes"),
        ("{tuns: 40}", "key 'budget.tuns' is not known"),
    ],
)
def test_a_budget_that_fits_nothing_is_refused(two, tmp_path, capsys, budget, message):
    two.write_text(TRAINED.replace("BUDGET", budget).replace("MODEL", "practice"))
    assert main(["compare", str(two), f"out={tmp_path / 'out'}"]) == 2
    assert message in capsys.readouterr().err


def test_a_key_knows_the_models_content_and_not_its_place(two, tmp_path):
    def key(name):
        two.write_text(TRAINED.replace("BUDGET", "{turns: 480}").replace("MODEL", str(tmp_path / name)))
        return load_experiment(str(two)).jobs(tmp_path / name)[1].key

    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("weights")
    assert key("here") == key("there")
    (tmp_path / "there" / "model.safetensors").write_text("others")
    assert key("here") != key("there")


def test_a_job_ends_with_the_queue_that_started_it(tmp_path):
    """Fails where jobs go on without their queue, so that a restarted one runs them twice."""
    program = (
        "import os, time; from editenv.agents.compare.command import _end_with;"
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
        ("[policy=noop]", "[policy=noop], evaluate: [stps=3]", "arm 'noop': evaluate has no setting 'stps'"),
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
    shown = capsys.readouterr().out
    assert "oracle/seed_0" in shown and "marked ?" in shown
    assert not (tmp_path / "out" / "runs").exists()
    two.write_text(re.sub(r"(policy=\w+\])", r"\1, seconds: 1800", TWO))
    assert main(["compare", str(two), f"out={tmp_path / 'out'}", "dry_run=true", "jobs=2"]) == 0
    shown = capsys.readouterr().out
    assert "0.50 hours to come with jobs=2" in shown and "marked ?" not in shown


@pytest.mark.parametrize(
    ("agent", "overrides", "words"),
    [
        ("sb3", "agent=a2c, n_steps=10, num_envs=20", ("agent=a2c", "steps=400")),
        ("trl", "model=SmolLM, groups=2, group_size=4", ("agent=trl", "steps=20")),
    ],
)
def test_agents_of_other_trainers_count_turns_too(two, tmp_path, agent, overrides, words):
    text = TRAINED.replace("BUDGET", "{turns: 480}").replace("MODEL", "practice")
    text = text.replace("agent: edit_r2", f"agent: {agent}").replace(
        "experiment=demo, groups=4, group_size=4, eval_every=5", overrides
    )
    two.write_text(text)
    job = load_experiment(str(two)).jobs(tmp_path)[0]
    assert set(words) <= set(job.train)
    assert list(job.evaluate) == (["mixed", "mixed.best"] if agent == "sb3" else ["mixed"])
    assert any(word.startswith("policy='") and word.endswith("/run'") for word in job.evaluate["mixed"])


def test_an_arm_of_stable_baselines_names_its_algorithm(two, tmp_path, capsys):
    two.write_text(TRAINED.replace("BUDGET", "{turns: 480}").replace("MODEL", "practice").replace("edit_r2", "sb3"))
    assert main(["compare", str(two), f"out={tmp_path / 'out'}"]) == 2
    assert "arm 'demo': overrides name no agent, expected agent=ppo" in capsys.readouterr().err


def test_trainings_are_shown_with_curves_cost_and_their_best_checkpoint(finished, tmp_path, two):
    """A finished training of two iterations, made by hand: 4 x 4 sessions of 3 turns, 4 updates each."""
    _, whole = finished
    budget = "[iterations=2, algorithm.updates_per_iteration=4]"
    two.write_text(TRAINED.replace("BUDGET", budget).replace("MODEL", "practice"))
    played = {"demo": "oracle", "model": "noop"}
    for job in load_experiment(str(two)).jobs(tmp_path / "out"):
        folder = tmp_path / "out" / "runs" / job.name
        for name in job.evaluate:
            shutil.copytree(whole / "runs" / played[job.arm] / "seed_0" / "mixed", folder / name)
        (folder / "done.json").write_text(json.dumps({"key": job.key, "seconds": 1.0}))
        if job.train:
            (folder / "run").mkdir()
            log = {"reward": [0.5, 0.25, None], "seconds/image": 2.0, "seconds/update": 1.5}
            (folder / "run" / "logs.jsonl").write_text(2 * (json.dumps(log) + "\n"))
            settings = {"groups": 4, "group_size": 4, "algorithm.updates_per_iteration": 4}
            (folder / "run" / "settings.json").write_text(json.dumps(settings))
    assert main(["compare", str(two), f"out={tmp_path / 'out'}"]) == 0
    text, page = ((tmp_path / "out" / name).read_text() for name in ("report.md", "report.html"))
    assert "| demo | 96 | 8 | 7 |" in text and "turns played in training" in page
    assert "| demo | mixed | 1.000 | 1.000 | +0.0 [+0.0, +0.0] |" in text
    assert "![Learning curves](curves.svg)" in text and "<svg" in (tmp_path / "out" / "curves.svg").read_text()
    points = learning_curve(tmp_path / "out" / "runs" / "demo" / "seed_0" / "run")
    assert points and points["reward"].tolist() == [0.375, 0.375], "a turn that nobody judged is left out"


def test_other_agents_write_their_curves_themselves(tmp_path):
    assert learning_curve(tmp_path) is None
    points = [{"turns": 8, "updates": 2, "seconds": 1.5, "reward": 0.5}, {"turns": 16, "updates": 4, "seconds": 3}]
    (tmp_path / "summary.json").write_text(json.dumps({"curve": [point | {"reward": 0.5} for point in points]}))
    curve = learning_curve(tmp_path)
    assert curve and curve["training"].tolist() == [1.5, 3.0] and curve["turns"].tolist() == [8, 16]


TUNED = """
question: Which rate?
arms:
  demo:
    agent: edit_r2
    overrides: [experiment=demo, group_size=4, eval_every=0]
    search: {algorithm.flow_rate: [1, 2], groups: [4, 8]}
  model: {agent: policy, overrides: [policy=noop]}
seeds: [0, 1]
budget: {turns: 960}
tuning: {trials: 3, budget: {turns: 480}, sessions: 4, seed: 9}
evaluation: {sessions: 4}
"""


@pytest.fixture
def played(finished, monkeypatch):
    """Jobs that train nothing: rates above 1 play as the oracle does, all else as who does nothing; names of them."""
    names, (_, whole) = [], finished

    def launch(folder, job):
        names.append(job.name)
        good = "algorithm.flow_rate=2" in job.train
        for name in job.evaluate:
            shutil.copytree(whole / "runs" / ("oracle" if good else "noop") / "seed_0" / "mixed", folder / name)
        mark = "failed.json" if "groups=8" in job.tuned and good else "done.json"
        (folder / mark).write_text(json.dumps({"key": job.key, "seconds": 2.0}))

    monkeypatch.setattr(command, "run_process", launch)
    return names


def test_every_trained_arm_is_tuned_alike_and_its_best_trial_is_frozen(two, tmp_path, played):
    """Fails where runs go on with the arm's own settings, or with those of a trial that failed."""
    two.write_text(TUNED)
    trials = load_experiment(str(two)).trials(tmp_path)
    assert [job.name for job in trials] == [f"demo/trial_{n}" for n in range(3)]
    assert len({job.tuned for job in trials}) == 3 and all(
        "split=validation" in job.evaluate["mixed"] for job in trials
    )
    out, words = tmp_path / "out", ["compare", str(two), f"out={tmp_path / 'out'}"]
    assert main(words) == int(any(set(job.tuned) == {"algorithm.flow_rate=2", "groups=8"} for job in trials))
    assert sorted(played) == sorted([*[job.name for job in trials], "demo/seed_0", "demo/seed_1", "model/seed_0"])
    good = ("algorithm.flow_rate=2", "groups=4")
    best = good if any(job.tuned == good for job in trials) else trials[0].tuned
    run = json.loads((out / "runs" / "demo" / "seed_1" / "job.json").read_text())
    assert tuple(run["tuned"]) == best and set(best) <= set(run["train"])
    text = (out / "report.md").read_text()
    assert text.count("| chosen |\n") == 2, "the head's and one"
    assert f"`{' '.join(best)}`" in text
    before = list(played)
    main(words)
    assert played == before, "nothing runs twice"


def test_a_search_is_as_large_as_its_trials(two, tmp_path, capsys):
    for text, message in (
        (TUNED.replace("trials: 3", "trials: 5"), "search has 4 combinations, expected 5 or more"),
        (TUNED.replace("groups: [4", "grops: [4"), "arm 'demo': train has no setting 'grops'"),
        (TUNED.replace("tuning:", "# "), "arm 'demo': search is set, expected it of trained arms alone"),
        (TUNED.replace("metric", "x").replace("seed: 9", "metric: beauty"), "tuning.metric"),
    ):
        two.write_text(text)
        assert main(["compare", str(two), f"out={tmp_path / 'out'}"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_report_misses_no_run(finished, two, tmp_path, capsys):
    file, whole = finished
    shutil.copytree(whole, tmp_path / "out")
    words = ["compare", str(file), f"out={tmp_path / 'out'}", "report_only=true"]
    assert main(words) == 0
    assert (tmp_path / "out" / "table.csv").read_text() == (whole / "table.csv").read_text()
    shutil.rmtree(tmp_path / "out" / "runs" / "oracle" / "seed_0")
    capsys.readouterr()
    assert main(words) == 2
    assert "has no finished oracle/seed_0, expected all runs" in capsys.readouterr().err


def test_a_process_that_is_killed_is_a_failed_run(tmp_path, monkeypatch):
    (tmp_path / "killer.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
    job = Job("arm", 0, (), {"mixed": ("evaluate", "policy=killer:Policy", f"out={tmp_path / 'mixed'}")}, "key")
    run_process(tmp_path, job)
    assert outcome(tmp_path, job).state == "failed" and "ended by SIGKILL" in outcome(tmp_path, job).tail


def test_jobs_of_a_cluster_leave_what_processes_leave(finished, tmp_path):
    pytest.importorskip("submitit")
    file, whole = finished
    words = ["launcher=slurm_rehearsal", "slurm={timeout_min: 5, slurm_partition: any}", "jobs=2"]
    assert main(["compare", str(file), f"out={tmp_path / 'out'}", *words]) == 0
    assert (tmp_path / "out" / "table.csv").read_text() == (whole / "table.csv").read_text()
    assert len(list((tmp_path / "out" / "submitit").glob("*_submitted.pkl"))) == 2


def test_a_cluster_that_cannot_be_used_is_said_before_anything_runs(two, tmp_path, capsys, monkeypatch):
    words = ["compare", str(two), f"out={tmp_path / 'out'}"]
    assert main([*words, "slurm={timeout_min: 5}"]) == 2
    assert "expected none with launcher=local" in capsys.readouterr().err
    if find_spec("submitit") is not None:
        assert main([*words, "launcher=slurm_rehearsal", "slurm={timeout_mins: 5}"]) == 2
        assert "timeout_mins" in capsys.readouterr().err
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main([*words, "launcher=slurm"]) == 2
    assert "submitit is not installed: pip install 'editenv[slurm]'" in capsys.readouterr().err


def test_a_report_is_published_with_its_pictures(finished, tmp_path):
    _, whole = finished
    script = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "scripts" / "publish_report.py"))
    (tmp_path / "results.md").write_text("# Results\n")
    for _ in range(2):
        page = script["publish"](whole, "two", tmp_path)
    assert {"report.md", "filmstrips.png", "profiles.svg"} == {one.name for one in page.parent.iterdir()}
    assert (tmp_path / "results.md").read_text().count("(results/two/report.md)") == 1
    with pytest.raises(ValueError, match="expected small letters"):
        script["publish"](whole, "../two", tmp_path)
