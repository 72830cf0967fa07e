"""An evaluation that is killed goes on: nothing is lost, nothing is played twice; what it keeps can be read."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editenv.agents.baselines.oracle import NoisyOracle
from editenv.agents.episodes import run_episodes, session_line
from editenv.agents.evaluate import run_evaluation
from editenv.agents.export import export
from editenv.agents.resume import run_lock
from editenv.agents.show import show
from editenv.agents.waves import with_contents
from editenv.build import make_vector_env
from editenv.cli import main
from editenv.configs.compose import compose
from editenv.configs.schema import ScorerConfig
from editenv.records import read_records
from editenv.types import Scores

WAVES, SIZE = 6, 4


class Slow(NoisyOracle):
    """Right in most turns; writes down which sessions it starts, and takes its time."""

    def __init__(self, envs, log: str = "", seconds: float = 0.0) -> None:
        super().__init__(envs)
        self.log, self.seconds, self.acted = log, seconds, 0

    def start(self, observations, seeds):
        with open(self.log, "a") as log:
            log.write(json.dumps([int(seed) for seed in seeds]) + "\n")
        return super().start(observations, seeds)

    def act(self, observations, memories):
        time.sleep(self.seconds)
        self.acted += len(memories)
        return super().act(observations, memories)

    def counts(self):
        return {"acted": self.acted, "acted_share": (self.acted, 2 * self.acted)}


def words(out: Path, log: Path, seconds: float = 0.0) -> list[str]:
    policy = [f"policy={__name__}:Slow", f"policy_settings.log='{log}'", f"policy_settings.seconds={seconds}"]
    return [*policy, f"sessions={WAVES * SIZE - 1}", f"num_envs={SIZE}", "save_images=true", f"out='{out}'"]


def evaluated(out: Path, log: Path, **more):
    return run_evaluation(replace(compose("evaluate", words(out, log)), **more))


def content(out: Path) -> dict[str, Any]:
    """Every file by name, to the byte, less the seconds that it took and where the log was."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and ".hydra" not in path.parts:
            found[path.relative_to(out).as_posix()] = path.read_bytes()
    summary = json.loads(found["summary.json"])
    assert summary.pop("seconds") > 0 and summary.pop("policy_settings")
    progress = [json.loads(line) for line in found["progress.jsonl"].splitlines()]
    assert all(wave.pop("seconds") > 0 for wave in progress)
    del found["evaluation.json"]
    return found | {"summary.json": summary, "progress.jsonl": progress}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An unbroken evaluation."""
    folder = tmp_path_factory.mktemp("whole")
    evaluation = evaluated(folder / "out", folder / "log")
    assert 0 < evaluation.summary["global_awareness"][0] < 1 and evaluation.facts["acted_share"] == 0.5
    return folder / "out"


def test_killed_at_random_moments_it_leaves_what_an_unbroken_one_leaves(whole, tmp_path):
    """Fails where a wave is lost, counted or played twice, or a half-written line stays."""
    out, log, moments = tmp_path / "out", tmp_path / "log", random.Random(7)
    command = [sys.executable, "-m", "editenv.cli", "evaluate", *words(out, log, 0.1)]
    for _ in range(3):
        started = 2 + (len(log.read_text().splitlines()) if log.exists() else 0)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
        deadline = time.monotonic() + 120
        # Starting takes seconds: what counts is any moment of its second wave.
        while time.monotonic() < deadline and (not log.exists() or len(log.read_text().splitlines()) < started):
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len((out / "scores.jsonl").read_text().splitlines()) < WAVES * SIZE - 1, "killed too late to show anything"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    assert content(out) == content(whole)
    finished = log.read_text()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    assert log.read_text() == finished and content(out) == content(whole), "it had ended"


@pytest.mark.parametrize("name", ["progress.jsonl", "scores.jsonl", "records/sessions.jsonl"])
@pytest.mark.parametrize("left", ["half a line", "a wave less"])
def test_whatever_a_kill_leaves_of_a_wave_is_taken_away(whole, tmp_path, name, left):
    """Each file in turn ends early, as where the machine lost power, or in a torn line."""
    evaluated(tmp_path / "out", tmp_path / "log")
    lines = (tmp_path / "out" / name).read_bytes().splitlines(keepends=True)
    torn = lines[-1][:20] if left == "half a line" else b""
    (tmp_path / "out" / name).write_bytes(b"".join(lines[:-1]) + torn)
    (tmp_path / "out" / "records" / "pictures" / "tmp123.part").touch()
    (tmp_path / "log").unlink()
    evaluated(tmp_path / "out", tmp_path / "log")
    assert content(tmp_path / "out") == content(whole)
    assert len((tmp_path / "log").read_text().splitlines()) == 1, "one wave was played again"


def test_other_settings_are_refused_by_name_and_nothing_is_changed(whole):
    before = content(whole)
    config = compose("evaluate", words(whole, whole.parent / "log"))
    for more, names in (
        ({"seed": 3}, "seed"),
        ({"sessions": 99}, "sessions"),
        ({"scorer": ScorerConfig(kind="residual")}, "scorer.kind, versions"),
        ({"suite": "mice-cm", "num_envs": 3}, "num_envs, suite"),
    ):
        with pytest.raises(ValueError, match=f"holds a run with another {names}; expected the same settings"):
            run_evaluation(replace(config, **more))
    assert content(whole) == before
    assert run_evaluation(replace(config, threads=1, max_unscored=0.5)).lines


def test_two_evaluations_in_one_folder_are_refused(whole):
    with run_lock(whole, "evaluating"), pytest.raises(ValueError, match="another process is evaluating"):
        evaluated(whole, whole.parent / "log")


def test_where_a_server_is_and_how_patiently_it_is_asked_is_free_to_change():
    from editenv.agents.resume import deciding_settings

    def deciding(**endpoint):
        scorer = ScorerConfig(kind="judge", settings={"endpoint": endpoint, "votes": 2})
        return deciding_settings(compose("evaluate", out="x", scorer=scorer), ("out",))

    same = deciding(base_url="http://a/v1", model="m", timeout=5)
    assert same == deciding(base_url="http://b/v1", model="m", concurrency=9)
    assert same != deciding(base_url="http://a/v1", model="other")


def test_a_model_that_moved_is_the_same_and_one_that_was_trained_on_is_not(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "weights").write_text("1")
    here, there = ({"model": str(tmp_path / name), "suite": "mixed"} for name in ("here", "there"))
    assert with_contents(here) == with_contents(there) != here
    (tmp_path / "there" / "model" / "weights").write_text("2")
    assert with_contents(here)["model"] != with_contents(there)["model"]
    own = with_contents({"policy": f"{__name__}:Slow", "model": "practice"})
    assert own["policy"].startswith(f"{__name__}:Slow ") and own["model"] == "practice"


def test_what_was_played_can_be_shown_exported_and_played_again(whole, tmp_path, capsys):
    records = list(read_records(whole / "records"))
    assert [record.index for record in records] == list(range(WAVES * SIZE - 1))
    shown: Any = show(compose("show", run=str(whole), session=2, out=str(tmp_path / "shown")))
    assert shown.session == records[2].session and records[2].transcript[0].split()[0] in capsys.readouterr().out
    path = export(compose("export", sessions_file=str(whole / "records" / "sessions.jsonl"), out=str(tmp_path / "e")))
    assert len(path.read_text().splitlines()) == len(records)
    for name, file in (("kept", whole / "records" / "sessions.jsonl"), ("exported", path)):
        again = run_evaluation(compose("evaluate", policy="oracle", sessions_file=str(file), out=str(tmp_path / name)))
        assert [line["session"] for line in again.lines] == [record.session for record in records]
        assert again.summary["global_awareness"] == [1.0] * 3
    assert np.array_equal(records[0].pictures[0], next(read_records(whole / "records", {0})).pictures[0])


def scored(records: Path, out: Path, *more: str):
    assert main(["score", str(records), f"out={out}", *more]) in (0, 1)
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("scorer", ["exact", "residual"])
def test_scored_again_it_is_what_an_evaluation_with_that_scorer_would_have_written(whole, tmp_path, scorer):
    played = evaluated(tmp_path / "played", tmp_path / "log", scorer=ScorerConfig(kind=scorer))
    lines = scored(whole, tmp_path / "again", f"scorer={scorer}")
    assert (tmp_path / "again" / "scores.jsonl").read_bytes() == (tmp_path / "played" / "scores.jsonl").read_bytes()
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert {name: summary[name] for name in played.summary} == played.summary and len(lines) == WAVES * SIZE - 1
    assert summary["policy"] == f"{__name__}:Slow" and summary["scorer"] == {"kind": scorer}


def test_records_of_an_environment_and_of_a_user_who_reacts_can_be_scored(tmp_path, capsys):
    settings: dict[str, Any] = {"user": "terse", "suite": "persona", "split": "test", "record_to": str(tmp_path / "r")}
    envs = make_vector_env(num_envs=3, autoreset_mode="Disabled", **settings)
    sessions = run_episodes(envs, NoisyOracle(envs), range(3), 1)
    lines = scored(tmp_path / "r" / "sessions.jsonl", tmp_path / "again", "user=terse")
    by_index = {line["index"]: line for line in lines}
    for session in sessions:
        assert by_index[session.index] == json.loads(json.dumps(session_line(session)))
    assert main(["score", str(tmp_path / "r"), f"out={tmp_path / 'other'}"]) == 2
    assert "expected the one who spoke (goal" in capsys.readouterr().err


class Silent:
    """A judge that gives no answer to the second turn of every other session."""

    version = "silent 1"

    def __init__(self, world, weights) -> None:
        self.asked = 0

    def score(self, turns):
        self.asked += len(turns)
        assert all(past.scored for turn in turns for past in turn.history)
        return [
            Scores(error="judge: 503") if turn.turn == 1 and turn.spec.index % 2 else Scores(0.5, 1.0, 1.0, reward=0.8)
            for turn in turns
        ]


def test_a_judge_that_fails_leaves_none_and_the_reason(whole, tmp_path, capsys):
    lines = scored(whole, tmp_path / "silent", f"scorer={__name__}:Silent")
    odd, even = lines[1], lines[2]
    assert odd["reward"] == [0.8, None, None] and odd["instruction_following"] == [0.5, None, None]
    assert odd["errors"] == [None, "judge: 503", "not asked: turn 2 has no score"]
    assert even["reward"] == [0.8] * 3 and even["errors"] == [None] * 3
    printed = capsys.readouterr().out
    assert "11 x judge: 503" in printed and "more than max_unscored=0.05" in printed


def test_a_folder_without_records_is_said(tmp_path, capsys):
    assert main(["score", str(tmp_path), f"out={tmp_path / 'out'}"]) == 2
    assert "expected a folder with sessions.jsonl" in capsys.readouterr().err
