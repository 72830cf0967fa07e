"""Runs that spend turns unusually, killed several times, some of them while a checkpoint is being written."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from editenv.agents.resume import COMPLETE, FIRST, whole_checkpoints
from tests.killable import LIMIT, begin, finish
from tests.tiny_editor import logs_of, tiny_config, train_judged_apart

ITERATIONS = 4
SPENDING = {
    "branching": {"branch_from_sibling": True},
    "averaging": {"objective": "nft", "window": 0, "nft_decay": 0.9, "nft_decay_rise": 0.3},
}


def config_of(out: Path, start: Path, spending: str):
    watched = {"eval_every": 2, "eval_sessions": 3, "record_every": 1, "image_every": 2}
    return tiny_config(out, start, iterations=ITERATIONS, **watched, **SPENDING[spending])


def being_written(out: Path) -> list[Path]:
    return [folder for folder in out.glob("checkpoint-*") if not (folder / COMPLETE).exists()]


def killed(config, whole: int, writing: bool, seconds: float) -> bool:
    """Kills a run `seconds` after so many checkpoints are whole, and, with `writing`, one more is begun."""
    out, process = Path(config.out), begin(train_judged_apart, config)
    deadline = time.monotonic() + LIMIT
    while process.is_alive() and time.monotonic() < deadline:
        if len(whole_checkpoints(out)) >= whole and (not writing or being_written(out)):
            break
        time.sleep(0.001)
    process.join(seconds)
    lived = process.is_alive()
    process.kill()
    process.join()
    return lived


def all_of(out: Path) -> dict[str, object]:
    """Every file that a run leaves but for checkpoints, to the byte, without times and the run's own name."""
    found: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith("checkpoint-") and path.name not in ("summary.json", FIRST):
            found[name] = path.read_bytes()
    found["logs.jsonl"] = logs_of(out)
    del found["curves.png"]
    return found


@pytest.mark.parametrize("spending", SPENDING)
def test_killed_again_and_again_it_leaves_what_an_unbroken_run_leaves(start, tmp_path, spending):
    """Logs, evaluations, records, filmstrips, weights and best weights, while the first save, a later one or
    anything else is going on."""
    moments = random.Random(spending)
    kills = [(0, True, 0.0), (1, True, moments.uniform(0, 0.02)), (1, False, moments.uniform(0, 0.5))]
    print("kills (whole checkpoints, while writing, seconds after):", kills)
    config = config_of(tmp_path / "killed", start, spending)
    lived = [killed(config, *kill) for kill in kills]
    assert lived[0] and sum(lived) >= 2, f"killed too late to show anything: {lived}"
    finish(train_judged_apart, config)
    finish(train_judged_apart, config_of(tmp_path / "unbroken", start, spending))
    found, expected = all_of(tmp_path / "killed"), all_of(tmp_path / "unbroken")
    assert found.keys() == expected.keys() and f"records/iteration_{ITERATIONS - 1:05d}/sessions.jsonl" in found
    assert [name for name in found if found[name] != expected[name]] == []
    (judge,) = {json.loads(line)["scorer"] for line in found["held_out.jsonl"].splitlines()}
    assert judge == "darkness 1"
