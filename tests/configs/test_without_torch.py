"""The extra `cli` is enough to evaluate, show, export and look through sessions: no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("hydra")
pytest.importorskip("rich")

HEAVY = "torch", "transformers", "trl", "diffusers", "accelerate", "peft", "safetensors", "openai", "datasets"

PROGRAM = """
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy}:
            raise ModuleNotFoundError(name + " is not installed", name=name)
sys.meta_path.insert(0, Refuse())
from editenv.cli import main
status = [main(words) for words in json.loads(sys.argv[1])]
print(status)
sys.exit(max(status))
"""

AGENT = """
class Agent:
    def __init__(self, envs, grey=0):
        self.grey = grey
    def start(self, observations, seeds):
        return [None] * len(seeds)
    def act(self, observations, memories):
        return {"image": observations["image"] * 0 + self.grey, "intent": ("",) * len(memories)}, memories
"""


def run(folder, *commands):
    program = PROGRAM.replace("{heavy}", str(set(HEAVY)))
    words = json.dumps([command.split() for command in commands])
    return subprocess.run([sys.executable, "-c", program, words], cwd=folder, capture_output=True, text=True)


def test_everything_but_training_runs_without_torch(tmp_path):
    (tmp_path / "mine.py").write_text(AGENT)
    few = "sessions=2 filmstrip=1"
    commands = [
        *(f"evaluate policy={name} {few} out={name}" for name in ("oracle", "noop", "reader")),
        f"evaluate policy=mine:Agent policy_settings.grey=7 {few} out=mine",
        "show policy=oracle session=1 out=shown",
        "export sessions=2 out=files",
        "records check files/sessions.jsonl",
        f"evaluate policy=oracle sessions_file=files/sessions.jsonl {few} out=again",
        *("train --help", "evaluate --cfg job", "train --cfg job"),
    ]
    done = run(tmp_path, *commands)
    assert done.returncode == 0, done.stderr[-2000:]
    scores = [json.loads(line) for line in (tmp_path / "oracle/scores.jsonl").read_text().splitlines()]
    assert [set(session["reward"]) for session in scores] == [{1.0}, {1.0}]


def test_training_says_what_it_needs(tmp_path):
    done = run(tmp_path, "train out=x")
    assert done.returncode == 2 and done.stderr.endswith("pip install 'editenv[train]'\n")
