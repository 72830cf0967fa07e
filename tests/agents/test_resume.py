"""A run that is killed and started again is the run that was never killed."""

import json
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from editenv.agents.resume import (
    COMPLETE,
    WRITING,
    begin_checkpoint,
    drop_half_written,
    keep_newest,
    mark_complete,
    newest_checkpoint,
    whole_checkpoints,
)
from tests.killable import LIMIT, begin, finish
from tests.tiny_editor import logs_of, tiny_config, tiny_trainer, train_for_brightness

ITERATIONS = 4
SCHEDULE = {0: "constant", 2: "cosine"}
"""Of the learning rates, by LoRA rank: each way to resume is tried with one of them."""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, start) -> dict[int, Path]:
    """Runs that nobody killed, by LoRA rank."""
    runs = {rank: tmp_path_factory.mktemp(f"unbroken{rank}") for rank in SCHEDULE}
    for rank, out in runs.items():
        finish(train_for_brightness, config_of(out, start, rank))
    return runs


def config_of(out: Path, start: Path, rank: int):
    return tiny_config(
        out,
        start,
        iterations=ITERATIONS,
        lora_rank=rank,
        schedule=SCHEDULE[rank],
        eval_every=1,
        eval_sessions=3,
    )


def what_was_learnt(out: Path) -> tuple[dict[str, bytes], list[dict]]:
    """Weights after the last iteration and the best ones, and logs with what is known of the best ones."""
    folders = ("model", "best")
    weights = {
        f"{folder} {name}": value.numpy().tobytes()
        for folder in folders
        for name, value in load_file(out / folder / "model.safetensors").items()
    }
    logs = logs_of(out)
    for log in logs:
        # It is among the looks; a run that was meant to be shorter has it in its last log then.
        log.pop("last_held_out", None)
    looks = [json.loads(line) for line in (out / "held_out.jsonl").read_text().splitlines()]
    return weights, [*logs, *looks, json.loads((out / "best" / "best.json").read_text())]


@pytest.mark.parametrize(("rank", "saved", "seconds"), [(0, 1, 0.0), (0, 2, 0.05), (2, 1, 0.1)])
def test_a_killed_run_started_again_equals_an_unbroken_one(unbroken, start, tmp_path, rank, saved, seconds):
    config = config_of(tmp_path, start, rank)
    process = begin(train_for_brightness, config)
    deadline = time.monotonic() + LIMIT
    while len(whole_checkpoints(tmp_path)) < saved and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)
    process.kill()
    process.join()
    assert not (tmp_path / "model").exists(), "killed too late to show anything"
    finish(train_for_brightness, config)
    weights, logs = what_was_learnt(tmp_path)
    expected_weights, expected_logs = what_was_learnt(unbroken[rank])
    assert logs == expected_logs
    assert weights == expected_weights


def test_the_unbroken_run_learnt_something_in_every_iteration(unbroken, start):
    weights, logs = what_was_learnt(unbroken[0])
    before = load_file(start / "model.safetensors")
    assert all(
        value.numpy().tobytes() != weights[f"model {name}"]
        for name, value in before.items()
        if "pos_embed" not in name
    )
    made, looks = logs[:ITERATIONS], logs[ITERATIONS:-1]
    assert [log["iteration"] for log in made] == list(range(ITERATIONS))
    assert all(log["text_grad_norm"] > 0 and log["flow_grad_norm"] > 0 for log in made)
    assert [look["iteration"] for look in looks] == list(range(ITERATIONS + 1)), "the last update's too"


def test_a_half_written_newest_checkpoint_is_passed_over(unbroken, start, tmp_path):
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "model")
    newest = newest_checkpoint(tmp_path)
    (newest / COMPLETE).rename(newest / WRITING)
    for file in newest.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    finish(train_for_brightness, config_of(tmp_path, start, 0))
    assert what_was_learnt(tmp_path) == what_was_learnt(unbroken[0])


def test_a_finished_run_only_returns(unbroken, start, tmp_path):
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    result = train_for_brightness(config_of(tmp_path, start, 0))
    assert result.iterations == ITERATIONS
    assert what_was_learnt(tmp_path) == what_was_learnt(unbroken[0])


def test_a_run_goes_on_for_longer_than_was_asked_at_first(unbroken, start, tmp_path):
    finish(train_for_brightness, replace(config_of(tmp_path, start, 0), iterations=2))
    finish(train_for_brightness, config_of(tmp_path, start, 0))
    assert what_was_learnt(tmp_path) == what_was_learnt(unbroken[0])


def test_other_settings_are_refused_in_a_folder_that_holds_a_run(unbroken, start, tmp_path):
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    with pytest.raises(ValueError, match=r"run with another algorithm, seed; expected the same settings"):
        train_for_brightness(tiny_config(tmp_path, start, seed=1, flow_rate=1.0))
    assert what_was_learnt(tmp_path) == what_was_learnt(unbroken[0])


def test_there_is_a_whole_checkpoint_whenever_a_save_is_interrupted(tmp_path):
    """Even where the half-written remains of a killed run carry the highest number."""
    trainer = tiny_trainer(tmp_path, iterations=3, save_every=1)
    remains = tmp_path / "checkpoint-99"
    remains.mkdir()
    seen = []

    class Spy(type(trainer.callback_handler.callbacks[0])):
        def on_save(self, args, state, control, **kwargs):
            seen.append(len(whole_checkpoints(tmp_path)))

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step > 2:
                seen.append(len(whole_checkpoints(tmp_path)))

    trainer.add_callback(Spy())
    trainer.train()
    assert min(seen) >= 1
    assert [folder.name for folder in whole_checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-6"]


def test_marks_decide_which_checkpoints_count(tmp_path):
    for number in (2, 10, 9, 100):
        begin_checkpoint(tmp_path / f"checkpoint-{number}")
    for number in (2, 10, 9):
        mark_complete(tmp_path / f"checkpoint-{number}", {"iteration": number})
    assert newest_checkpoint(tmp_path).name == "checkpoint-10"
    keep_newest(tmp_path, 2)
    assert [folder.name for folder in whole_checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10"]
    assert [folder.name for folder in drop_half_written(tmp_path)] == ["checkpoint-100"]
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_the_mark_goes_first_when_a_checkpoint_is_removed(tmp_path, monkeypatch):
    for number in (1, 2):
        (tmp_path / f"checkpoint-{number}").mkdir()
        mark_complete(tmp_path / f"checkpoint-{number}", {})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "checkpoint-1" / "weights").write_text("1")
    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        keep_newest(tmp_path, 1)
    assert not (tmp_path / "checkpoint-1" / COMPLETE).exists()
    assert [folder.name for folder in whole_checkpoints(tmp_path)] == ["checkpoint-2"]


def killed_at_random(config, moments: random.Random, longest: float) -> int:
    """Starts the run up to four times and kills it within `longest` seconds; how often it still lived."""
    kills = 0
    for _ in range(4):
        process = begin(train_for_brightness, config)
        process.join(moments.uniform(0.0, longest))
        kills += process.is_alive()
        process.kill()
        process.join()
    return kills


def test_a_run_killed_again_and_again_at_random_moments_equals_an_unbroken_one(unbroken, start, tmp_path):
    """Kills fall anywhere from first import to last save, and earlier where the machine became faster."""
    moments, began = random.Random(0), time.monotonic()
    finish(train_for_brightness, config_of(tmp_path / "timed", start, 0))
    length = time.monotonic() - began
    for attempt in range(5):
        config = config_of(tmp_path / str(attempt), start, 0)
        if killed_at_random(config, moments, 0.6 * length / 2**attempt) >= 2:
            break
    else:
        pytest.fail("the run was over before it could be killed twice, five times")
    finish(train_for_brightness, config)
    assert what_was_learnt(Path(config.out)) == what_was_learnt(unbroken[0])
