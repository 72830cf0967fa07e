"""Every file below examples/ runs, cut short, and does what its first line says."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml

from editenv.cli import main
from editenv.configs.compose import compose
from tests.chat_server import ChatServer, agrees
from tests.test_readme import SHORT
from tests.tiny_editor import train_for_brightness

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name):
    """What a file of examples/ defines."""
    return runpy.run_path(str(EXAMPLES / name))


def test_random_agent():
    reward = example("random_agent.py")["main"](sessions=5)
    assert 0 < reward < 1


def test_own_policy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    out = tmp_path / "red"
    assert (
        main(["evaluate", "policy=own_policy:PaintItRed", "policy_settings.side=8", "sessions=4", f"out={out}"]) == 0
    )
    assert json.loads((out / "summary.json").read_text())["policy_settings"] == {"side": 8}
    wrong = ["evaluate", "policy=own_policy:PaintItRed", "policy_settings.sides=8", "sessions=4", f"out={tmp_path}"]
    assert main(wrong) == 2 and "did you mean 'side'" in capsys.readouterr().err


def test_own_scorer(tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    scorer = ["scorer=own_scorer:SmallChanges", "scorer.settings.most=0.2"]
    out = tmp_path / "own"
    assert main(["evaluate", "policy=noop", *scorer, "suite=mice-cm", "sessions=4", f"out={out}"]) == 0
    sessions = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [session["content_consistency"] for session in sessions] == [[1.0, 1.0, 1.0]] * 4
    env = gym.make("MICEEdit-v0", scorer="own_scorer:SmallChanges", scorer_settings={"most": 0.5})
    seen, info = env.reset(seed=0)
    scores = env.step({"image": 255 - seen["image"], "intent": ""})[4]["scores"]
    assert (scores.content_consistency, scores.reward) == (0.0, 0.0)
    assert info["versions"]["scorer"] == "small changes 1 most 0.5"
    with pytest.raises(ValueError, match="most is 2"):
        gym.make("MICEEdit-v0", scorer="own_scorer:SmallChanges", scorer_settings={"most": 2})


def test_own_user(tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    user, out = ["user=own_user:Insistent", "user.settings.tries=2"], tmp_path / "own"
    assert main(["evaluate", "policy=noop", *user, "suite=mice-cm", "sessions=4", f"out={out}"]) == 0
    env = gym.make("MICEEdit-v0", suite="mice-cm", user="own_user:Insistent", user_settings={"tries": 2})
    first, _ = env.reset(seed=0)
    second, _, terminated, _, info = env.step({"image": first["image"], "intent": ""})
    assert second["instruction"] == f"once more: {first['instruction']}" and not terminated
    assert info["speech"] == {"line": 0, "try": 2}
    *_, terminated, _, info = env.step({"image": first["image"], "intent": ""})
    assert terminated and info["end_reason"] == "gave_up"


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        ("own_task.yaml", r"(make|paint|please paint) (every object|them all) \w+"),
        ("own_rule.yaml", "(background stays|keep the background|never change the background)"),
    ],
)
def test_own_task_and_own_rule_are_drawn_scored_played_and_understood(suite, said, tmp_path, monkeypatch):
    """In a process of its own: what a suite makes known stays known."""
    code = f"""
import re, sys
sys.path.insert(0, ".")
import gymnasium as gym
from editenv.cli import main
from editenv.configs.compose import compose
from editenv.worlds.studio.world import StudioWorld
world = StudioWorld({suite!r})
for split in ("train", "test"):
    specs = [world.session(split, 3, index) for index in range(40)]
    assert any(re.search({said!r}, turn.text) for spec in specs for turn in spec.turns)
    assert all(world.spec_from_json(spec.to_json()) == spec for spec in specs)
for policy in ("oracle", "reader"):
    played = ["policy=" + policy, "suite={suite}", "sessions=24", "out={tmp_path}/" + policy]
    assert main(["evaluate", *played]) == 0
tools = gym.make("editenv:MICEEditTools-v0", suite={suite!r})
assert tools.action_space.contains(tools.action_space.sample())
"""
    monkeypatch.chdir(EXAMPLES)
    subprocess.run([sys.executable, "-c", code], check=True)
    for policy in ("oracle", "reader"):
        sessions = [json.loads(line) for line in (tmp_path / policy / "scores.jsonl").read_text().splitlines()]
        assert [session["global_awareness"] for session in sessions] == [
            [1.0] * len(session["global_awareness"]) for session in sessions
        ]


def test_own_algorithm_learns_and_is_compared(tmp_path, monkeypatch):
    """The loop of under 40 lines and the class give the same sessions the same scores."""
    assert len((EXAMPLES / "own_algorithm.py").read_text().splitlines()) < 40
    monkeypatch.chdir(shutil.copytree(EXAMPLES, tmp_path / "examples"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    share = example("own_algorithm.py")["main"](updates=40, tests=2)
    assert share > 0.3
    experiment = yaml.safe_load(Path("own_arm.yaml").read_text())
    # Two of the four arms are enough here.
    experiment["arms"] = {name: experiment["arms"][name] for name in ("own", "oracle")}
    experiment |= {"baseline": "oracle", "evaluation": {"sessions": 64, "filmstrips": 0}}
    Path("own_arm.yaml").write_text(yaml.safe_dump(experiment))
    assert main(["compare", "own_arm.yaml", f"out={tmp_path / 'out'}"]) == 0
    rows = [row for row in csv.DictReader((tmp_path / "out" / "table.csv").open()) if "following" in row["score"]]
    followed = {arm: [float(row["value"]) for row in rows if row["arm"] == arm] for arm in ("own", "oracle")}
    assert followed["oracle"] == [1.0] * 64 and np.mean(followed["own"]) == pytest.approx(share)


def test_maskable_ppo_runs():
    followed = example("maskable_ppo.py")["main"](steps=1024)
    assert len(followed) == 1024
    assert set(followed) <= {0.0, 1.0}


def test_llm_judge(tmp_path):
    with ChatServer(agrees) as server:
        following = example("llm_judge.py")["main"](server.url, "fake", sessions=1, cache=str(tmp_path))
    assert len(following) == 3


def test_train_edit_r2(tmp_path, monkeypatch):
    """The script's commands run one after the other in this process; `editenv` only writes down what was asked."""
    asked = tmp_path / "asked.jsonl"
    program = (
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]), file=open({str(asked)!r}, 'a'))\n"
    )
    (tmp_path / "editenv").write_text(program)
    (tmp_path / "editenv").chmod(0o755)
    command = ["bash", str(EXAMPLES / "train_edit_r2.sh"), str(tmp_path), *SHORT]
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"PATH": path, "SESSIONS": "4"})
    monkeypatch.chdir(tmp_path)
    commands = [json.loads(line) for line in asked.read_text().splitlines()]
    assert [words[0] for words in commands] == ["evaluate", "train", "evaluate"]
    assert [main(words) for words in commands] == [0, 0, 0]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*")), ids=lambda path: path.name)
def test_every_example_has_a_test_here_or_beside_its_subject(path):
    if path.suffix in (".py", ".sh"):
        named = path.name in "".join(p.read_text() for p in Path(__file__).parent.rglob("test_*.py"))
        assert named or path.stem in Path(__file__).read_text()


def test_own_model(tmp_path, monkeypatch):
    """Two iterations through the real trainer: both halves learn, and training computes what sampling did."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert sum(1 for _ in open("own_model.py", encoding="utf-8")) <= 80
    words = ["model=own_model:ToyPolicy", "groups=2", "group_size=3", "iterations=2", "threads=1"]
    words += ["save_every=1", "eval_every=0", "image_every=0", "record_every=0", f"out={tmp_path / 'toy'}"]
    logs = train_for_brightness(compose("train", words)).logs
    assert [log["iteration"] for log in logs] == [0, 1]
    for log in logs:
        assert log["text_ratio_error"] < 1e-4 and log["flow_ratio_error"] < 1e-4
        assert log["text_grad_norm"] > 0 and log["flow_grad_norm"] > 0
    evaluate = ["evaluate", f"model=own_model:ToyPolicy:{tmp_path / 'toy'}", "sessions=2", "filmstrip=0"]
    assert main([*evaluate, f"out={tmp_path / 'played'}"]) == 0
