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
    LOCK,
    WRITING,
    begin_checkpoint,
    check_no_strangers,
    drop_half_written,
    keep_newest,
    mark_complete,
    newest_checkpoint,
    remove_checkpoint,
    run_lock,
    whole_checkpoints,
)
from editenv.agents.train import learnt_settings
from editenv.configs.schema import ScorerConfig
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
        out, start, iterations=ITERATIONS, lora_rank=rank, schedule=SCHEDULE[rank], eval_every=1, eval_sessions=3
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


def test_a_run_ends_when_its_seconds_are_over_and_then_only_returns(start, tmp_path):
    """Fails where the same command, as after a kill at the very end, trains on."""
    config = tiny_config(tmp_path, start, max_seconds=1e-6, save_every=3)
    first = train_for_brightness(config)
    weights = (first.model_folder / "model.safetensors").read_bytes()
    assert first.iterations == 1 and newest_checkpoint(tmp_path)
    again = train_for_brightness(config)
    assert again.iterations == 1 and (again.model_folder / "model.safetensors").read_bytes() == weights
    assert train_for_brightness(replace(config, max_seconds=None)).iterations == 4


def test_a_run_goes_on_for_longer_than_was_asked_at_first(unbroken, start, tmp_path):
    finish(train_for_brightness, replace(config_of(tmp_path, start, 0), iterations=2))
    finish(train_for_brightness, config_of(tmp_path, start, 0))
    assert what_was_learnt(tmp_path) == what_was_learnt(unbroken[0])


def test_other_settings_are_refused_in_a_folder_that_holds_a_run(unbroken, start, tmp_path):
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    with pytest.raises(ValueError, match=r"run with another algorithm.flow_rate, seed; expected the same"):
        train_for_brightness(tiny_config(tmp_path, start, seed=1, flow_rate=1.0))
    assert what_was_learnt(tmp_path) == what_was_learnt(unbroken[0])


def test_a_run_of_another_number_of_processes_is_refused(unbroken, start, tmp_path):
    """Each process draws minibatches of its own: it would not be the run that goes on."""
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept["number_of_processes"] == 1
    (tmp_path / "settings.json").write_text(json.dumps(kept | {"number_of_processes": 2}))
    with pytest.raises(ValueError, match=r"run with another number_of_processes; expected the same"):
        train_for_brightness(config_of(tmp_path, start, 0))


def test_more_iterations_are_refused_where_the_learning_rate_would_jump(start, tmp_path):
    """A cosine over two iterations has ended; one over four would be at its middle."""
    config = replace(config_of(tmp_path, start, 2), iterations=2)
    train_for_brightness(config)
    with pytest.raises(ValueError, match=r"iterations is 4, .*a run of 2, .*schedule 'cosine'.*iterations=2"):
        train_for_brightness(replace(config, iterations=4))
    assert len(train_for_brightness(config).logs) == 2


def test_where_and_how_patiently_a_judge_is_asked_is_no_part_of_what_is_learnt(start, tmp_path):
    def judged(**endpoint):
        settings = {"endpoint": {"base_url": "http://a:1/v1", "model": "m"} | endpoint, "votes": 2}
        config = tiny_config(tmp_path, start)
        return learnt_settings(replace(config, scorer=ScorerConfig(kind="judge", settings=settings)))

    moved = {"base_url": "http://user:secret@b:2/v1", "timeout": 9.0, "concurrency": 1, "cache": "c"}
    assert judged() == judged(**moved)
    assert judged() != judged(model="other") and judged() != judged(temperature=0.1)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000])
def test_damaged_settings_are_said(start, tmp_path, text):
    begin_checkpoint(tmp_path / "checkpoint-2")
    mark_complete(tmp_path / "checkpoint-2", {"iteration": 1})
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json holds no settings of a run"):
        train_for_brightness(tiny_config(tmp_path, start))
    assert [folder.name for folder in whole_checkpoints(tmp_path)] == ["checkpoint-2"]


def test_one_flipped_bit_is_found_and_the_newest_whole_checkpoint_taken(tmp_path):
    for number in (2, 4):
        folder = tmp_path / f"checkpoint-{number}"
        begin_checkpoint(folder)
        (folder / "weights").write_bytes(bytes(100))
        mark_complete(folder, {"iteration": number})
    damaged = bytearray(100)
    damaged[50] ^= 1
    (tmp_path / "checkpoint-4" / "weights").write_bytes(damaged)
    assert newest_checkpoint(tmp_path).name == "checkpoint-2"
    assert [folder.name for folder in drop_half_written(tmp_path)] == ["checkpoint-4"]


@pytest.mark.parametrize(
    "mark", ["", "null", "[]", '{"files": []}', '{"files": {"w": 3}}', '{"files": 1}', "[" * 100_000, "{}"]
)
def test_a_mark_that_is_no_object_of_files_is_not_whole(tmp_path, mark):
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / COMPLETE).write_text(mark)
    assert newest_checkpoint(tmp_path) is None and whole_checkpoints(tmp_path) == []


STRANGERS = ("checkpoint-best", "checkpoint-007", "checkpoint-٣", "checkpoint-", "checkpoint-5 copy")


def test_folders_of_others_and_links_are_neither_used_nor_removed(tmp_path):
    """Another trainer's checkpoint, notes, odd names with a mark, and a link into an archive."""
    archive, out = tmp_path / "archive" / "checkpoint-4", tmp_path / "run"
    archive.mkdir(parents=True)
    (archive / "weights").write_text("old")
    mark_complete(archive, {})
    (out / "checkpoint-500").mkdir(parents=True)
    (out / "checkpoint-500" / "model.safetensors").write_text("weeks")
    for name in STRANGERS:
        (out / name).mkdir()
        (out / name / COMPLETE).write_text('{"files": {}}')
    (out / "checkpoint-4").symlink_to(archive)
    for number in (8, 12, 16):
        begin_checkpoint(out / f"checkpoint-{number}")
        mark_complete(out / f"checkpoint-{number}", {})
    keep_newest(out, 2)
    drop_half_written(out)
    left = {path.name for path in out.iterdir()}
    assert left == {"checkpoint-4", "checkpoint-12", "checkpoint-16", "checkpoint-500", *STRANGERS}
    assert (archive / COMPLETE).is_file() and (archive / "weights").is_file()
    with pytest.raises(ValueError, match="checkpoint-500 is no checkpoint of this command's"):
        check_no_strangers(out, 16, 500)
    check_no_strangers(out, 16, 499)
    with pytest.raises(FileExistsError):
        begin_checkpoint(out / "checkpoint-500")
    assert (out / "checkpoint-500" / "model.safetensors").is_file()


def test_a_removal_that_is_killed_leaves_a_folder_that_is_still_ours(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint-1"
    begin_checkpoint(folder)
    (folder / "weights").write_text("1")
    mark_complete(folder, {})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rmdir", interrupted)
        remove_checkpoint(folder)
    assert folder.is_dir() and drop_half_written(tmp_path) == [folder]
    assert not folder.exists()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def hold(out: Path) -> None:
    with run_lock(out):
        (out / "held").touch()
        time.sleep(LIMIT)


def test_one_training_a_folder_and_a_lock_of_a_dead_process_is_taken_over(tmp_path):
    process = begin(hold, tmp_path)
    deadline = time.monotonic() + LIMIT
    while not (tmp_path / "held").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ValueError, match=rf'another process is training .*"pid": {process.pid}'):
        with run_lock(tmp_path):
            pytest.fail("two processes hold one folder")
    process.kill()
    process.join()
    assert (tmp_path / LOCK).is_file(), "a killed process leaves its lock"
    with run_lock(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


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
