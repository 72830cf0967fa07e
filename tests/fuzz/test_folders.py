"""Folders with damage of every kind: models, checkpoints, evaluations, runs and answers on disk.

Each is read as it was written, or refused by a ValueError that names the file; nothing outside is touched. Seeded and
short; EDITENV_FUZZ_SECONDS=3600 goes on for as long in each test.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file

from editenv.agents.evaluate import run_evaluation
from editenv.agents.heldout import (
    BEST,
    Evaluation,
    estimate,
    read_best,
    read_evaluations,
    recover_best,
    write_best,
    write_evaluations,
)
from editenv.agents.policy import load_policy
from editenv.agents.resume import begin_checkpoint, drop_half_written, go_on, keep_newest, mark_complete, note_first
from editenv.agents.score import score
from editenv.agents.unified.policy import SHIPPED
from editenv.configs.compose import compose
from editenv.endpoint import AnswerCache
from tests.fuzz.rounds import rounds
from tests.fuzz.test_fuzz_files import changed, damaged
from tests.tiny_editor import tiny_policy

LONGEST = 20.0
"""Seconds of processor time that one case may take."""


def odd_json(line: bytes, rng: random.Random) -> bytes:
    """A line of JSON with odd values, as it is where it is none."""
    try:
        return json.dumps(changed(json.loads(line), rng)).encode()
    except ValueError:
        return line


def harm(folder: Path, outside: Path, rng: random.Random) -> str:
    """Does to one file of a folder, or beside it, what disks, kills and strangers do; says what."""
    files = [one for one in sorted(folder.rglob("*")) if one.is_file()]
    if not files:
        return "nothing"
    path = rng.choice(files)
    data, lines = path.read_bytes(), path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
    place = rng.randrange(max(len(lines), 1))
    written = {
        "bytes": lambda: damaged(data, rng),
        "cut": lambda: data[: rng.randrange(len(data) + 1)],
        "zeros": lambda: bytes(len(data)),
        "empty": lambda: b"",
        "swap": lambda: rng.choice(files).read_bytes(),
        "text": lambda: rng.choice((b"[" * 5000, b"null", b"[]", b"\xef\xbb\xbf{}", b"NaN", b'"x"', b"1e999")),
        "json": lambda: b"\n".join([*lines[:place], odd_json(lines[place], rng), *lines[place + 1 :]]) + b"\n",
    }
    way = rng.choice([*written, "link", "loop", "folder", "missing", "beside"])
    if way in written and not (way == "json" and (not data or ".json" not in path.suffix)):
        path.write_bytes(written[way]())
    elif way == "beside":
        odd = folder / rng.choice(("checkpoint-9", "checkpoint-x", "checkpoint-\u0663", "a\nb", ".hidden"))
        odd.mkdir(exist_ok=True)
        (odd / "mine.txt").write_text("of somebody else")
    else:
        path.unlink()
        if way == "folder":
            path.mkdir()
        elif way == "loop":
            path.symlink_to(path.name)
        elif way == "link":
            path.symlink_to(outside / path.name)
            (outside / path.name).write_bytes(data)
    return f"{way} {path.relative_to(folder)}"


def content(folder: Path) -> dict[str, bytes]:
    """Files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def cases(good: Path, tmp_path: Path, count: int) -> Iterator[tuple[Path, str]]:
    """Harmed copies of a folder; fails where one of them takes long, or what lies outside is touched."""
    for seed in rounds(count):
        rng, bad, outside = random.Random(seed), tmp_path / "bad", tmp_path / "outside"
        shutil.copytree(good, bad, symlinks=True)
        outside.mkdir()
        what = "; ".join(harm(bad, outside, rng) for _ in range(rng.choice((1, 1, 2))))
        before, began = content(outside), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield bad, f"seed {seed}: {what}"
        assert time.process_time() - began < LONGEST, what
        assert content(outside) == before, what
        shutil.rmtree(bad)
        shutil.rmtree(outside)


def test_model_folders(tmp_path: Path) -> None:
    """Fails where a model has weights that its folder has not."""
    good = tmp_path / "good"
    tiny_policy().save(good)
    shutil.copytree(SHIPPED / "autoencoder", good / "autoencoder")
    loaded = 0
    for bad, what in cases(good, tmp_path, 15):
        try:
            policy = load_policy(bad)
        except ValueError as error:
            assert str(bad) in str(error), (what, error)
            continue
        loaded += 1
        there = load_file(bad / "model.safetensors")
        assert all(torch.equal(value, there[name]) for name, value in policy.model.state_dict().items()), what
    assert loaded


def test_checkpoints(tmp_path: Path) -> None:
    """Fails where a checkpoint that is not as it was written is gone on from, or a stranger's folder is removed."""
    good = tmp_path / "good"
    for step in (2, 4, 10):
        folder = good / f"checkpoint-{step}"
        begin_checkpoint(folder)
        (folder / "model").mkdir()
        for name in ("model/model.safetensors", "optimizer.pt", "trainer_state.json"):
            (folder / name).write_text(json.dumps({"step": step, "name": name}))
        mark_complete(folder, {"iteration": step})
        note_first(folder)
    settings = {"seed": 0, "groups": 4}
    go_on(good, settings, 20)
    written = content(good)
    for bad, what in cases(good, tmp_path, 60):
        strangers = {path for path in bad.glob("*/mine.txt")}
        try:
            newest = go_on(bad, settings, 20)
        except (ValueError, OSError) as error:
            assert str(bad) in str(error), (what, error)
            newest = None
        if newest is not None:
            here = {f"{newest.name}/{name}": data for name, data in content(newest).items()}
            assert all(written[name] == data for name, data in here.items() if name in written), what
            assert here.keys() >= {name for name in written if name.startswith(f"{newest.name}/")}, what
        drop_half_written(bad)
        keep_newest(bad, 1)
        assert all(path.is_file() for path in strangers), what


def test_evaluations_go_on_and_are_scored(tmp_path: Path) -> None:
    """Fails where an evaluation goes on from what it did not write: scores are those of an unharmed one, or none."""
    config = compose("evaluate", policy="noop", sessions=3, num_envs=2, save_images=True, out=str(tmp_path / "good"))
    run_evaluation(config)
    right = (tmp_path / "good/scores.jsonl").read_bytes()
    again, scored = compose("evaluate", out="x"), 0
    for bad, what in cases(tmp_path / "good", tmp_path, 8):
        again = compose("evaluate", policy="noop", sessions=3, num_envs=2, save_images=True, out=str(bad))
        try:
            run_evaluation(again)
            assert (bad / "scores.jsonl").read_bytes() == right, what
        except (ValueError, OSError) as error:
            assert str(bad) in str(error), (what, error)
        try:
            lines = score(compose("score", records=str(bad), out=str(tmp_path / "scored"))).lines
            scored += [line["session"] for line in lines] == [json.loads(x)["session"] for x in right.splitlines()]
        except (ValueError, OSError) as error:
            assert "expected" in str(error) or str(bad) in str(error), (what, error)
        shutil.rmtree(tmp_path / "scored", ignore_errors=True)
    assert scored


def test_run_folders(tmp_path: Path) -> None:
    """Fails where what a run kept of its held-out sessions is anything but read or refused by its file's name."""
    good = tmp_path / "good"
    write_best(lambda folder: (folder / "model.safetensors").write_bytes(b"w") and None, {"iteration": 3}, good)
    look = Evaluation(3, "exact 1", 8, estimate([0.5, 0.7]), estimate([1.0]), None, {"reward": [0.5, None]})
    write_evaluations([look, look], good)
    for bad, what in cases(good, tmp_path, 60):
        for read in (read_evaluations, read_best, recover_best):
            try:
                read(bad)
            except (ValueError, OSError) as error:
                assert str(bad) in str(error), (what, error)
        assert not (bad / f"{BEST}.part").exists()


def test_answers_on_disk(tmp_path: Path) -> None:
    """Fails where a damaged cache hangs, raises anything but what the endpoint warns of, or gives no text."""
    good, key = tmp_path / "good", "b" * 64
    kept = AnswerCache(str(good))
    for number in range(40):
        kept.set("ab"[number % 2] * (64 - number // 2), json.dumps(["yes"] * number))
    kept.set(key, "right")
    for bad, what in cases(good, tmp_path, 30):
        for use in (lambda cache: cache.get(key), lambda cache: cache.set("c" * 64, "new")):
            try:
                found = use(AnswerCache(str(bad)))
            except (OSError, ValueError, OverflowError, sqlite3.Error):  # as editenv.endpoint._warned
                continue
            assert found is None or isinstance(found, str), what
    assert os.path.exists(good / "cache.db")
