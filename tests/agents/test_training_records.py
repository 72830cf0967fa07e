"""Rollouts are written, read back and shown; what cannot be used is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from editenv.agents.baselines.oracle import OraclePolicy
from editenv.agents.episodes import run_episodes
from editenv.agents.training_records import read_rollout, record_folder, recorded_iterations, too_old, write_rollouts
from editenv.build import make_vector_env
from editenv.cli import main
from editenv.types import Scores

NUMBERS = (40, 40, 41, 41)
"""Two scripts, twice each."""
ADVANTAGES = torch.tensor([[0.5, -1.25, 0.0], [0.1, 0.2, 0.3], [0.4, 0.5, float("nan")], [0.7, 0.8, 0.9]])
MANY = 1 << 30


@pytest.fixture(scope="module")
def rollout():
    envs = make_vector_env(num_envs=4, suite="mixed", autoreset_mode="Disabled")
    sessions = run_episodes(envs, OraclePolicy(envs), NUMBERS, 0)
    names = torch.tensor([(0, 20, number, row % 2) for row, number in enumerate(NUMBERS)])
    return SimpleNamespace(sessions=tuple(sessions), rng_keys=names)


@pytest.fixture
def paid():
    valid, keep = torch.ones(4, 3, dtype=torch.bool), torch.ones(4, 3, dtype=torch.bool)
    keep[0, 2] = False
    valid[1, 2] = False
    return {"advantage": ADVANTAGES.double(), "loss_mask": keep, "scored_mask": valid}


@pytest.fixture
def out(tmp_path, rollout, paid):
    for iteration in (0, 20):
        assert write_rollouts(tmp_path, iteration, rollout, paid, MANY) == 4
    return tmp_path


def test_a_rollout_is_read_as_it_was_played(out, rollout):
    for session in (0, 1):
        for number in (0, 1):
            played, found = rollout.sessions[2 * session + number], read_rollout(out, 20, session, number)
            assert (found.training.iteration, found.index, found.training.rollout) == (
                20,
                NUMBERS[2 * session],
                number,
            )
            assert found.training.noise == [0, 20, NUMBERS[2 * session], number]
            assert (found.split, found.seed, found.session) == ("train", 0, played.spec.id)
            assert found.spec == json.loads(json.dumps(played.spec.to_json()))
            assert found.transcript == played.transcript and found.intents == tuple(played.intents)
            assert found.scores == tuple(replace(scores, detail={}) for scores in played.scores)
            for mine, theirs in zip(found.pictures, played.pictures, strict=True):
                np.testing.assert_array_equal(mine, theirs)


def test_advantages_and_what_became_of_each_turn(out):
    assert read_rollout(out, 0, 0, 0).training.advantages == [0.5, -1.25, 0.0]
    assert read_rollout(out, 0, 0, 0).training.turns == ["trains", "trains", "filtered"]
    assert read_rollout(out, 0, 0, 1).training.turns == ["trains", "trains", "unscored"]
    assert read_rollout(out, 0, 1, 0).training.advantages[2] is None


def test_further_attempts_of_a_row_are_left_out(tmp_path, rollout, paid):
    """Row 0 played one turn, then tried two of a sibling's: its own session has fewer turns."""
    first = rollout.sessions[0]
    short = replace(
        first, scores=first.scores[:1], intents=first.intents[:1], pictures=first.pictures[:2], ending=None
    )
    branched = SimpleNamespace(sessions=(short, *rollout.sessions[1:]), rng_keys=rollout.rng_keys)
    write_rollouts(tmp_path, 0, branched, paid, MANY)
    found = read_rollout(tmp_path, 0, 0, 0)
    assert found.training.advantages == [0.5] and found.training.turns == ["trains"] and found.reason is None
    assert found.transcript == first.transcript[:1] and len(found.pictures) == 2
    assert read_rollout(tmp_path, 0, 0, 1).training.turns == ["trains", "trains", "unscored"]


def test_the_command_shows_it(out, rollout, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(out)
    assert main(["show", str(out), "iteration=20", "session=0", "rollout=0", "out=shown"]) == 0
    printed = capsys.readouterr().out
    assert "iteration 20, train 0:40, rollout 0" in printed and "exact" in printed
    rows = [line for line in printed.splitlines() if "trains" in line or "filtered" in line]
    assert ["+0.50" in rows[0], "-1.25" in rows[1], "filtered" in rows[2]] == [True] * 3
    assert all(word in printed for said in rollout.sessions[0].transcript for word in said.split())
    assert np.asarray(Image.open("shown/filmstrip.png")).std() > 5


def test_a_folder_of_records_is_shown_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    envs = make_vector_env(num_envs=2, suite="mixed", record_to="played", autoreset_mode="Disabled")
    sessions = run_episodes(envs, OraclePolicy(envs), [3, 4], 0)
    assert main(["show", "played", "session=1", "out=shown"]) == 0
    printed = capsys.readouterr().out
    assert sessions[1].title.split("  ")[0] in printed and "advantage" not in printed
    assert np.asarray(Image.open("shown/filmstrip.png")).std() > 5
    assert main(["show", "played", "session=2", "out=shown"]) == 2
    assert "session is 2, expected 0 to 1, which played/sessions.jsonl has" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["iteration=21"], "iteration is 21, of which .* has no record, expected one of 0, 20"),
        ([], "iteration is not given; .* has records of: 0, 20"),
        (["iteration=20", "session=2"], "session is 2, expected 0 to 1"),
        (["iteration=20", "rollout=2"], "rollout is 2, expected 0 to 1"),
    ],
)
def test_what_was_not_recorded_is_said_with_what_was(out, words, message, monkeypatch, capsys):
    import re

    monkeypatch.chdir(out)
    assert main(["show", str(out), *words, "out=shown"]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_folder_without_records_and_an_iteration_without_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it's, empty").mkdir()
    assert main(["show", "it's, empty", "iteration=20", "out=x"]) == 2
    assert "it's, empty has no record, which has no records at all" in capsys.readouterr().err
    assert main(["show", "iteration=20", "out=x"]) == 2
    assert "no run is named: editenv show RUN iteration=20" in capsys.readouterr().err


def test_records_of_later_iterations_go_and_the_oldest_make_room(out, rollout, paid):
    write_rollouts(out, 10, rollout, paid, MANY)
    assert recorded_iterations(out) == [0, 10]
    assert {path.name for path in (out / "records").iterdir()} == {"iteration_00000", "iteration_00010"}
    both = sum(path.stat().st_size for path in (out / "records").rglob("*") if path.is_file())
    assert too_old(out, both) == [] and too_old(out, both - 1) == [0]
    write_rollouts(out, 30, rollout, paid, 0)
    assert recorded_iterations(out) == [30]


def test_an_iteration_that_cannot_be_written_whole_leaves_nothing(out, rollout, paid, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_rollouts(out, 30, rollout, paid, MANY)
    assert recorded_iterations(out) == [0, 20]
    assert sorted(path.name for path in (out / "records").iterdir()) == ["iteration_00000", "iteration_00020"]


def test_a_judge_that_failed_and_a_reward_that_is_no_number(tmp_path, rollout, paid):
    """Both are read back as a reward of 0."""
    first = rollout.sessions[0]
    scores = [Scores(error="judge: timed out"), Scores(1.0, reward=float("nan")), *first.scores[2:]]
    sessions = (replace(first, scores=scores), *rollout.sessions[1:])
    broken = SimpleNamespace(sessions=sessions, rng_keys=rollout.rng_keys)
    write_rollouts(tmp_path, 0, broken, paid, MANY)
    found = read_rollout(tmp_path, 0, 0, 0).scores
    assert found[0] == scores[0] and found[1] == Scores(1.0, reward=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "pickle"}, "line 1: key 'played.format' is 'pickle'"),
        ({"training": {"advantages": [0.1]}}, "key 'played.training.advantages' has 1 entries, expected 3"),
        ({"training": {"advantages": [0.1, "x", 0.2]}}, "key 'played.training.advantages[1]' is 'x'"),
        ({"training": {"turns": ["trains"]}}, "key 'played.training.turns' has 1 entries"),
        ({"training": {"turns": ["lost"] * 3}}, "key 'played.training.turns[0]' is 'lost'"),
        ({"pictures": ["../../etc/passwd"] * 4}, "lies outside of the records' folder"),
        ({"row": 1}, "key 'played.row' is not known"),
    ],
)
def test_lines_that_others_wrote_are_read_with_care(out, change, message):
    lines = record_folder(out, 20) / "sessions.jsonl"
    first, *rest = lines.read_text().splitlines()
    data = json.loads(first)
    if "training" in change:
        change = {"training": data["played"]["training"] | change["training"]}
    data["played"] |= change
    lines.write_text("\n".join([json.dumps(data), *rest]) + "\n")
    with pytest.raises(ValueError) as caught:
        read_rollout(out, 20, 0, 0)
    assert message in str(caught.value) and "iteration_00020" in str(caught.value)


def test_a_link_out_of_the_folder_is_not_followed(out, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    picture = next((record_folder(out, 20) / "pictures").iterdir())
    picture.rename(elsewhere)
    picture.symlink_to(elsewhere)
    with pytest.raises(ValueError, match="lies outside of the records' folder"):
        read_rollout(out, 20, 0, 0)
