"""A run outlasts a full disk and a held-out judge that fails, says so, and loses nothing but what it says."""

from __future__ import annotations

import errno
import warnings
from pathlib import Path
from threading import get_native_id

import pytest

from editenv.agents import callbacks, training_records
from editenv.agents.heldout import read_best, read_evaluations
from editenv.agents.resume import COMPLETE, FIRST, TrainingAborted, whole_checkpoints
from editenv.agents.training_records import recorded_iterations
from editenv.agents.unified.policy import UnifiedPolicy
from tests.tiny_editor import DarknessScorer, logs_of, tiny_config, train_judged_apart

ITERATIONS = 3
WATCHED = {"eval_every": 1, "eval_sessions": 3, "record_every": 1, "image_every": 1}


def config_of(out: Path, start: Path, **changes):
    return tiny_config(out, start, **({"iterations": ITERATIONS} | WATCHED | changes))


def run(config, **scorers) -> list[str]:
    """What a run warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train_judged_apart(config, **scorers)
    return [str(one.message) for one in said]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, start) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    run(config_of(out, start))
    return out


def same_weights(one: Path, other: Path) -> bool:
    name = "model/model.safetensors"
    return (one / name).read_bytes() == (other / name).read_bytes()


def test_a_disk_that_is_full_for_a_while_costs_pictures_and_records_and_nothing_else(
    unbroken, start, tmp_path, monkeypatch
):
    """Files in the making lead to /dev/full, which takes no byte; records and best weights are refused."""
    for name in ("logs.jsonl", "held_out.jsonl", "images/iteration_00001.png"):
        part = tmp_path / f"{name}.{get_native_id()}.part"
        part.parent.mkdir(exist_ok=True)
        part.symlink_to("/dev/full")
    true, true_line, refused = UnifiedPolicy.save, training_records.played_line, []

    def full_later(folder, session, **kept):
        if not folder.name.startswith("iteration_00000"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return true_line(folder, session, **kept)

    monkeypatch.setattr(training_records, "played_line", full_later)

    def full_once(checkpoint, folder):
        if folder.name.startswith("best") and not refused:
            refused.append(folder)
            raise OSError(errno.ENOSPC, "No space left on device")
        true(checkpoint, folder)

    monkeypatch.setattr(UnifiedPolicy, "save", full_once)
    said = run(config_of(tmp_path, start))
    words = [text for text in said if "No space left" in text]
    for what in ("logs.jsonl", "held-out evaluations", "the filmstrip", "the best weights"):
        assert sum(what in text for text in words) == 1, what
    assert sum("the record" in text for text in words) == 2 and len(words) == 6
    assert logs_of(tmp_path) == logs_of(unbroken) and same_weights(tmp_path, unbroken)
    assert read_evaluations(tmp_path) == read_evaluations(unbroken)
    assert recorded_iterations(tmp_path) == [0]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "iteration_00000.png",
        "iteration_00002.png",
    ]
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["iteration_00000"]


def test_a_disk_too_full_for_the_last_weights_says_where_they_are(unbroken, start, tmp_path, monkeypatch):
    true = UnifiedPolicy.save

    def full(checkpoint, folder):
        if folder.name == "model":
            raise OSError(errno.ENOSPC, "No space left on device")
        true(checkpoint, folder)

    with monkeypatch.context() as patch, pytest.raises(TrainingAborted, match=r"No space left.*checkpoint-6"):
        patch.setattr(UnifiedPolicy, "save", full)
        run(config_of(tmp_path, start))
    run(config_of(tmp_path, start))
    assert same_weights(tmp_path, unbroken) and (tmp_path / "summary.json").is_file()


class FailsOnce(DarknessScorer):
    """Raises in its fourth call, which is the second evaluation's first turn."""

    calls = 0

    def score(self, turns):
        self.calls += 1
        if self.calls == 4:
            raise ConnectionError("judge refused")
        return super().score(turns)


def test_a_held_out_evaluation_that_fails_is_said_and_the_run_goes_on(unbroken, start, tmp_path):
    """The best weights stay as they were; training is the same to the byte."""
    said = run(config_of(tmp_path, start), held_out=FailsOnce())
    (words,) = [text for text in said if "could not be evaluated" in text]
    assert words.startswith("iteration 1:") and "ConnectionError: judge refused" in words
    looks, expected = read_evaluations(tmp_path), read_evaluations(unbroken)
    assert [look.error for look in looks] == [None, "ConnectionError: judge refused", None, None]
    assert [looks[at] for at in (0, 2, 3)] == [expected[at] for at in (0, 2, 3)]
    assert looks[1].global_awareness is None and looks[1].training == expected[1].training
    ranks = {look.iteration: look.rank for look in looks if look.error is None}
    best = read_best(tmp_path)
    assert best is not None and ranks[best["iteration"]] == max(ranks.values())
    logs = logs_of(tmp_path)
    assert [log.get("held_out_failed") for log in logs] == [None, 1.0, None]
    assert "held_out" not in logs[1] and same_weights(tmp_path, unbroken)


def test_a_held_out_user_that_raises_costs_that_evaluation(start, tmp_path, monkeypatch):
    """It raises when the first evaluation's sessions begin."""
    true, calls = callbacks.run_episodes, []

    def raises(envs, *arguments):
        calls.append(envs)
        if len(calls) == 1:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(envs.engine.user), "begin", gone)
                return true(envs, *arguments)
        return true(envs, *arguments)

    def gone(self, spec):
        raise RuntimeError("the user is gone")

    monkeypatch.setattr(callbacks, "run_episodes", raises)
    said = run(config_of(tmp_path, start, iterations=1))
    assert any("iteration 0: held-out" in text and "the user is gone" in text for text in said)
    assert [look.error is None for look in read_evaluations(tmp_path)] == [False, True]
    assert read_best(tmp_path)["iteration"] == 1


@pytest.mark.parametrize("loss", ["cut", "mark", "gone"])
def test_a_run_whose_checkpoints_are_all_lost_is_not_begun_at_zero(unbroken, start, tmp_path, loss):
    for name in ("settings.json", "logs.jsonl", FIRST):
        (tmp_path / name).write_bytes((unbroken / name).read_bytes())
    if loss != "gone":
        folder = tmp_path / "checkpoint-6"
        folder.mkdir()
        for path in whole_checkpoints(unbroken)[-1].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        damaged = folder / (COMPLETE if loss == "mark" else "model.safetensors")
        damaged.write_bytes(damaged.read_bytes()[:10])
        (tmp_path / FIRST).unlink()
    config = config_of(tmp_path, start, eval_every=0)
    config.out = str(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"checkpoints are gone or damaged \(found: (none|checkpoint-6)\)"):
        train_judged_apart(config)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
