"""`editenv demo`, with training replaced by what it leaves behind."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from editenv.agents import demo as module
from editenv.agents.demo import demo
from editenv.agents.episodes import most_different, side_by_side
from editenv.agents.evaluate import run_evaluation
from editenv.agents.train import TrainResult
from editenv.configs.compose import compose
from tests.tiny_editor import tiny_policy

KEYS = ("instruction_following", "content_consistency", "global_awareness", "reward")


@pytest.fixture
def config(tmp_path):
    tiny_policy().save(tmp_path / "start")
    return compose(
        "demo", out=str(tmp_path / "demo"), model=str(tmp_path / "start"), sessions=3, exported=2, filmstrip=2, seed=4
    )


def test_the_demo_compares_and_keeps_everything(config, tmp_path, monkeypatch, capsys):
    trained_with = []

    def fake_train(settings):
        trained_with.append(settings)
        logs = [{"iteration": n, "reward": [0.1 * n] * 3} for n in range(2)]
        return TrainResult(tmp_path / "start", logs, 1.0, 2)

    monkeypatch.setattr(module, "train", fake_train)
    demo(config)
    out = tmp_path / "demo"
    summary = json.loads((out / "summary.json").read_text())
    for side in ("base", "trained", "difference", "exported"):
        assert all(len(summary[side][key]) == 3 for key in KEYS), side
    assert trained_with[0].out == str(out / "run") and trained_with[0].model == config.model
    assert summary["seed"] == trained_with[0].seed == 4 and summary["iterations"] == 2
    # The same model on both sides: any difference would come from other sessions or other noise.
    assert summary["difference"]["reward"] == [0.0] * 3 and summary["seconds"] > 0
    assert all(Image.open(out / name).size[0] > 300 for name in ("curves.png", "before_after.png"))
    assert len((out / "sessions" / "sessions.jsonl").read_text().splitlines()) == 2
    printed = capsys.readouterr().out
    assert "trained - base, paired" in printed and "sessions.jsonl" in printed


def test_training_is_the_demo_experiment_with_the_demos_seed():
    demo_train = compose("demo", ["train.groups=2"], out="x", seed=7, threads=1).train
    assert demo_train == compose("train", ["experiment=demo", "groups=2"], out="x", seed=7, threads=1)


def test_changed_sessions_come_first(tmp_path):
    """Session 0 fails on both sides; the others are right on one."""
    noop, oracle = (
        run_evaluation(compose("evaluate", out=str(tmp_path / name), policy=name, sessions=3, save_images=True))
        for name in ("noop", "oracle")
    )
    changed = most_different(noop.lines, [noop.lines[0], *oracle.lines[1:]], count=2)
    assert sorted(changed) == [1, 2]
    rows = side_by_side({"before": noop.folder / "records", "after": oracle.folder / "records"}, changed)
    titles = [record.title for record in oracle.records()]
    assert [row.title for row in rows] == [f"{when}  {titles[n]}" for n in changed for when in ("before", "after")]
    assert [row.scores[0].global_awareness for row in rows] == [0.0, 1.0] * 2
