"""A small editor with random weights, and a judge that pays for brightness, so that rewards differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gymnasium.vector import AutoresetMode

from editenv.agents import callbacks
from editenv.agents import train as training
from editenv.agents.edit_r2 import collect_rollout
from editenv.agents.policy import JointPolicy, take_trained
from editenv.agents.rollout import RolloutBatch
from editenv.agents.settings import AlgorithmSettings, TrainingSettings
from editenv.agents.train import TrainResult
from editenv.agents.trainer import EditR2Trainer
from editenv.agents.unified.config import UnifiedConfig
from editenv.agents.unified.model import UnifiedModel
from editenv.agents.unified.policy import SHIPPED, UnifiedPolicy, load_autoencoder
from editenv.agents.unified.tokenizer import SPECIAL_TOKENS, build_tokenizer
from editenv.configs.compose import compose
from editenv.configs.schema import TrainConfig
from editenv.sims.replay import ReplayUser
from editenv.types import Scores, TurnResult
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.phrases import vocabulary
from editenv.worlds.studio.world import StudioWorld

_DISABLED = AutoresetMode.DISABLED
TINY = AlgorithmSettings(max_intent_tokens=5, steps=4, shared_noise=False, text_rate=1e-3, flow_rate=1e-3)
GROUP_SIZE = 3


def tiny_policy(seed: int = 0) -> UnifiedPolicy:
    """Hidden 32, 2 layers; no weight is zero, so that every part of the model shows in what it does."""
    torch.set_num_threads(1)
    autoencoder = load_autoencoder(SHIPPED / "autoencoder")
    tokenizer = build_tokenizer(vocabulary())
    special = {
        f"{place}_id": SPECIAL_TOKENS.index(f"<{token}>")
        for place, token in (
            ("pad_token", "pad"),
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("start_of_image", "soi"),
            ("end_of_image", "eoi"),
        )
    }
    config = UnifiedConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        rope_theta=10_000.0,
        latent_patch_size=1,
        latent_channels=autoencoder.config.latent_dim,
        max_latent_size=4,
        source_channel=True,
        residual_prediction=True,
        adaptive_norm=True,
        **special,
    )
    model = UnifiedModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pos_embed" not in name and "norm.weight" not in name:
                parameter.normal_(0, 0.15, generator=generator)
    return UnifiedPolicy(model, autoencoder, tokenizer, "tiny").eval()


class BrightnessScorer:
    """Pays for bright pictures; follows an instruction in most turns; fails in the turns `fails` says."""

    version = "brightness 1"

    def __init__(self, fails: Sequence[tuple[int, int]] = ()) -> None:
        self.fails = frozenset(fails)

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        return [self._one(turn) for turn in turns]

    def _one(self, turn: TurnResult) -> Scores:
        if (turn.spec.index, turn.turn) in self.fails:
            return Scores(error="judge: timed out")
        following = float(int(turn.after.sum()) % 5 > 0)
        return Scores(following, None, following, reward=float(turn.after.mean() / 255))


def brightness_envs(count: int, scorer: Any = None) -> MICEEditVectorEnv:
    """Studio sessions of `mixed`, judged by brightness."""
    return MICEEditVectorEnv(
        count, StudioWorld("mixed"), ReplayUser(), scorer or BrightnessScorer(), autoreset_mode=_DISABLED
    )


def tiny_settings(out: Path, **changes: Any) -> TrainingSettings:
    """Two groups of three, two updates an iteration; keywords go to whichever settings have them."""
    own = {name: changes.pop(name) for name in list(changes) if name in TrainingSettings.__dataclass_fields__}
    own = {"iterations": 1, "groups": 2, "group_size": GROUP_SIZE, "save_every": 100} | own
    return TrainingSettings(out=out, algorithm=replace(TINY, **changes), **own)


def tiny_trainer(out: Path, policy: UnifiedPolicy | None = None, scorer: Any = None, **changes: Any) -> EditR2Trainer:
    """A trainer of a tiny policy on sessions judged by brightness."""
    settings = tiny_settings(out, **changes)
    envs = brightness_envs(settings.groups * settings.group_size, scorer)
    return EditR2Trainer(policy or tiny_policy(), envs, settings)


def played(policy: JointPolicy, settings: Any = TINY, groups: int = 2, **more: Any) -> RolloutBatch:
    """A rollout of groups of three in environments judged by brightness, the seed's first iteration."""
    size = more.pop("group_size", GROUP_SIZE)
    envs = more.pop("envs", None) or brightness_envs(groups * size, more.pop("scorer", None))
    return collect_rollout(policy, envs, settings, more.pop("seed", 0), more.pop("iteration", 0), groups, size, **more)


def tensors_of(rollout: RolloutBatch) -> dict[str, torch.Tensor]:
    """All tensors of a rollout by name."""
    own = {name: value for name, value in vars(rollout).items() if isinstance(value, torch.Tensor)}
    return {**rollout.turns, **own}


def single_turns(sessions: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All turns of sessions [S, K, ...], a row each."""
    return take_trained(sessions, torch.ones_like(sessions["scored_mask"]))[0]


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all weights by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def tiny_config(out: Path, model: Path, **changes: Any) -> TrainConfig:
    """Settings of `editenv train` for a tiny checkpoint; keywords go to whichever level has them."""
    tiny = {"max_intent_tokens": 5, "steps": 4, "text_rate": 1e-3, "flow_rate": 1e-3, "schedule": "constant"}
    algorithm = {name: changes.pop(name) for name in list(changes) if name in AlgorithmSettings.__dataclass_fields__}
    own = {
        "iterations": 4,
        "groups": 2,
        "group_size": 3,
        "save_every": 1,
        "eval_every": 0,
        "image_every": 0,
        "record_every": 0,
    } | changes
    config = compose("train", out=str(out), model=str(model), **own)
    return replace(config, threads=1, algorithm=replace(config.algorithm, **tiny | algorithm))


def train_for_brightness(config: TrainConfig) -> TrainResult:
    """`train` with the exact scorers, whose scores of random pictures are all 0, replaced."""

    def make(num_envs: int, **_: Any) -> MICEEditVectorEnv:
        return brightness_envs(num_envs)

    with patch.object(training, "make_vector_env", make), patch.object(callbacks, "make_vector_env", make):
        return training.train(config)


def logs_of(out: Path) -> list[dict[str, Any]]:
    """A run's logs without what is measured in seconds and bytes."""
    logs = [json.loads(line) for line in (out / "logs.jsonl").read_text().splitlines()]
    measured = ("seconds/", "peak_memory", "step_time")
    return [{name: value for name, value in log.items() if not name.startswith(measured)} for log in logs]


class DarknessScorer(BrightnessScorer):
    """Another judge of the same pictures, who likes them dark."""

    version = "darkness 1"

    def _one(self, turn: TurnResult) -> Scores:
        dark = 1 - float(turn.after.mean() / 255)
        return Scores(dark, None, dark, reward=dark)


def train_judged_apart(config: TrainConfig, paying: Any = None, held_out: Any = None) -> TrainResult:
    """`train` for brightness, held-out sessions judged by darkness.

    Args:
        config: of the training.
        paying, held_out: in place of these two scorers; None for them.
    """

    def make(scorer: Any) -> Any:
        return lambda num_envs, **_: brightness_envs(num_envs, scorer)

    with (
        patch.object(training, "make_vector_env", make(paying)),
        patch.object(callbacks, "make_vector_env", make(held_out or DarknessScorer())),
    ):
        return training.train(config)
