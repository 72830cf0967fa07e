"""Sessions of 8 and 16 turns are trained on, evaluated and reported like short ones."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from gymnasium.vector import AutoresetMode
from rich.console import Console

from editenv.agents import train as training
from editenv.agents.evaluate import evaluate
from editenv.agents.policy import load_policy
from editenv.agents.tables import turn_table
from editenv.configs.compose import compose
from editenv.sims.replay import ReplayUser
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.world import StudioWorld
from tests.tiny_editor import BrightnessScorer, tiny_config


def bright(num_envs: int, suite: str = "mixed", **_: object) -> MICEEditVectorEnv:
    """Sessions of the suite, paid so that rewards differ."""
    world, mode = StudioWorld(suite), AutoresetMode.DISABLED
    return MICEEditVectorEnv(num_envs, world, ReplayUser(), BrightnessScorer(), autoreset_mode=mode)


@pytest.mark.parametrize(
    ("suite", "turns", "context"), [("long", 8, "current"), ("long-16", 16, "current"), ("long-16", 16, "interleaved")]
)
def test_an_iteration_trains_on_every_turn(start: Path, tmp_path: Path, suite: str, turns: int, context: str) -> None:
    """Fails where a late turn is not played, not logged or does not fit, or where nothing is learnt."""
    config = tiny_config(
        tmp_path, start, suite=suite, context=context, filter="none", iterations=1, groups=1, group_size=2
    )
    config = replace(config, algorithm=replace(config.algorithm, steps=2, window=1, window_high=0))
    with patch.object(training, "make_vector_env", bright):
        (log,) = training.train(config).logs
    assert len(log["reward"]) == len(log["global_awareness"]) == turns
    assert all(0 < reward < 1 for reward in log["reward"])
    assert log["text_ratio_error"] < 1e-3 and log["flow_ratio_error"] < 1e-4
    before, after = (load_policy(folder).model.state_dict() for folder in (start, tmp_path))
    moved = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert any("mlp.up_proj" in name for name in moved) and any("mlp_moe_gen.up" in name for name in moved)


def test_sixteen_turns_are_evaluated_and_can_be_read(start: Path, tmp_path: Path) -> None:
    """Fails where a turn is missing from the summary, or the table is wider than a terminal."""
    words = [f"out={tmp_path}", f"model={start}", "suite=long-16", "sessions=2", "steps=1", "threads=1"]
    config = compose("evaluate", [*words, "max_intent_tokens=3", "filmstrip=1"])
    evaluation = evaluate(config)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(summary["global_awareness"]) == len(summary["instruction_following"]) == 16
    console = Console(file=io.StringIO(), width=80)
    console.print(turn_table(evaluation.summary, "long"))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert [int(number) for number in re.findall(r"^ (\d+) ", text, flags=re.MULTILINE)] == [*range(1, 17)]
    assert "consistency" in text and "\N{HORIZONTAL ELLIPSIS}" not in text


def test_training_that_cannot_fit_stops_before_it_starts(start: Path, tmp_path: Path) -> None:
    """Fails where the error comes only in the turn that is too long."""
    config = tiny_config(tmp_path, start, suite="long-16", context="interleaved", max_intent_tokens=60)
    with pytest.raises(ValueError, match="has max_position_embeddings 512"):
        training.train(config)
    assert not (tmp_path / "settings.json").exists()
