"""This package's own trainer under audit: its rollout, its loss and its training loop, as configured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.trainer_callback import PrinterCallback

from editenv.agents.audit import known
from editenv.agents.audit.known import BOS, CHANNELS, KnownPolicy
from editenv.agents.audit.protocol import Facts, Loss, NotOffered, Spent, Turns
from editenv.agents.edit_r2 import (
    Filtered,
    collect_rollout,
    compute_advantages,
    evaluate_actions,
    policy_loss,
    time_grid,
)
from editenv.agents.resume import newest_checkpoint
from editenv.agents.rollout import RolloutBatch
from editenv.agents.settings import ADVANTAGES, FILTERS, SAMPLERS, AlgorithmSettings, TrainingSettings
from editenv.agents.trainer import EditR2Trainer
from editenv.build import make_vector_env
from editenv.registry import load_class
from editenv.vector import MICEEditVectorEnv

_GROUPS, _SIZE = 12, 4


class EditR2Audit:
    """Edit-R2 with the settings of a training; adapters are switched off, for the known policy has no layers."""

    dimensions = CHANNELS

    def __init__(self, settings: TrainingSettings) -> None:
        objective = settings.algorithm.objective
        # Of "nft" the intents' half: images without stochastic steps have no densities to be looked at.
        if objective not in ("policy", "nft"):
            raise ValueError(f"objective is {objective!r}, expected 'policy' or 'nft', of which the gradient is known")
        self.algorithm = replace(
            settings.algorithm,
            text_rate=1e-2,
            flow_rate=1e-2,
            text_scope="expert",
            updates_per_iteration=2,
            lora_rank=0,
            schedule="constant",
        )
        self.settings = replace(
            settings, algorithm=self.algorithm, groups=_GROUPS, group_size=_SIZE, save_every=1, report_to=()
        )
        own = {
            one.name: getattr(self.algorithm, one.name) for one in fields(Facts) if hasattr(self.algorithm, one.name)
        }
        times = tuple(time_grid(self.algorithm).tolist())
        self.facts = Facts(**own | {"times": times, "flow_kl": self.algorithm.kl})

    def variants(self) -> Sequence[EditR2Audit]:
        """The trainer with each sampler; CPS knows no level above 1, no bound of time and no last step."""
        found: list[EditR2Audit] = [self]
        algorithm = self.algorithm
        last = algorithm.window_high + algorithm.window
        for name in SAMPLERS:
            if name == algorithm.sampler or (name == "cps" and last == algorithm.steps):
                continue
            own: dict[str, Any] = {"sigma_t_max": None, "noise_level": 0.8} if name == "cps" else {}
            other = replace(algorithm, sampler=name, kl="gaussian", **own)
            found.append(EditR2Audit(replace(self.settings, algorithm=other)))
        return found

    def rollout(self, policy: KnownPolicy, seed: int, iteration: int) -> Turns:
        """One iteration of `collect_rollout`."""
        rollout = _collect(policy, self.algorithm, seed, iteration)
        shaped = {name: value.unflatten(0, (_GROUPS, _SIZE)) for name, value in rollout.turns.items()}
        reward = rollout.reward.unflatten(0, (_GROUPS, _SIZE))
        return Turns(
            reward=reward,
            following=rollout.instruction_following.unflatten(0, (_GROUPS, _SIZE)),
            source=shaped["source"],
            latents=shaped.get("latents"),
            times=shaped.get("times"),
            flow_log_prob=shaped.get("flow_log_prob_mean"),
            tokens=shaped["intent_ids"],
            mask=shaped["intent_mask"],
            previous=torch.full(reward.shape, BOS),
            text_log_prob=shaped["text_log_prob"],
            native=rollout.turns,
        )

    def spent(self, policy: KnownPolicy, seed: int) -> dict[str, Spent]:
        """Branches, whatever is configured, with a baseline for each turn."""
        algorithm = replace(
            self.algorithm,
            branch_from_sibling=True,
            filter="exclude",
            advantage="turn",
            advantage_clip=math.inf,
            advantage_std="batch",
        )
        rollout = _collect(policy, algorithm, seed, 0)
        found = compute_advantages(rollout, _SIZE, algorithm)
        where = (rollout.turn_index >= 0).nonzero()
        rows, columns = where.unbind(1)
        number = {tuple(at): turn for turn, at in enumerate(where.tolist())}
        image = rollout.turns["image"]
        # As the next turn reads it: rounded to pixels.
        pixels = policy.encode_images(policy.decode_images(image.flatten(0, 1))).reshape(image.shape)
        paths = rollout.history[rows, columns].tolist()
        width = rollout.reward.shape[1]
        states = rollout.start_state[rows, columns].tolist()
        names = {state: number for number, state in enumerate(sorted({tuple(state) for state in states}))}
        return {
            "branch_from_sibling": Spent(
                reward=rollout.reward[rows, columns],
                following=rollout.instruction_following[rows, columns],
                advantage=found["advantage"][rows, columns],
                keep=found["loss_mask"][rows, columns],
                source=rollout.turns["source"][rows, columns],
                image=pixels[rows, columns],
                past=[[number[divmod(place, width)] for place in path if place >= 0] for path in paths],
                again=rollout.is_branch[rows, columns],
                state=torch.tensor([names[tuple(state)] for state in states]),
                when=columns,
            )
        }

    def advantages(self, reward: Tensor, following: Tensor) -> Tensor:
        """The advantage that is configured, over the turns that the filter counts."""
        settings = self.algorithm
        if settings.advantage == "fused":
            raise NotOffered("the judge has one score, which 'fused' cannot fuse")
        scored = ~reward.isnan()
        counted = self._filtered(following).counted
        found = load_class("advantage", settings.advantage, ADVANTAGES)(
            reward.masked_fill(~counted, 0.0), scored & counted, std=settings.advantage_std
        )
        return found.clamp(-settings.advantage_clip, settings.advantage_clip)

    def keep(self, following: Tensor) -> Tensor:
        """The filter that is configured."""
        return self._filtered(following).loss_mask

    def _filtered(self, following: Tensor) -> Filtered:
        kind = load_class("filter", self.algorithm.filter, FILTERS)
        return kind(following, ~following.isnan(), threshold=self.algorithm.filter_threshold)

    def loss(self, policy: KnownPolicy, reference: KnownPolicy, turns: Turns, advantage: Tensor, keep: Tensor) -> Loss:
        """`evaluate_actions` and `policy_loss` on all turns, as the trainer calls them."""
        shape, settings = turns.reward.shape, self.algorithm
        single = {name: value.flatten(0, 1) for name, value in turns.native.items()}
        single |= {"advantage": advantage.flatten(), "loss_mask": keep.flatten()}
        single["scored_mask"] = ~turns.reward.isnan().flatten()
        now = evaluate_actions(policy, single, settings)
        with torch.no_grad():
            then = evaluate_actions(reference, single, settings)
        total, numbers = policy_loss(now, then, single, replace(settings, text_kl=0.0, flow_kl=0.0))
        flow, text = (
            None if value is None else value.reshape(*shape, -1)
            for value in (now.flow_log_prob_mean, now.text_log_prob)
        )
        return Loss(total, flow, text, numbers.get("flow_kl"), numbers.get("text_kl"))

    def train(self, policy: KnownPolicy, folder: Path, iterations: int, seed: int) -> None:
        """`EditR2Trainer`, from the newest whole checkpoint of the folder on."""
        algorithm = replace(self.algorithm, text_kl=0.0, flow_kl=0.0)
        settings = replace(self.settings, out=folder, iterations=iterations, seed=seed, algorithm=algorithm)
        newest = newest_checkpoint(folder)
        trainer = EditR2Trainer(policy, _envs(), settings)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)


def _collect(policy: KnownPolicy, settings: AlgorithmSettings, seed: int, iteration: int) -> RolloutBatch:
    return collect_rollout(policy, _envs(), settings, seed, iteration, _GROUPS, _SIZE)


def _envs() -> MICEEditVectorEnv:
    flat: dict[str, Any] = {"world": f"{known.__name__}:FlatWorld", "scorer": f"{known.__name__}:BrightnessJudge"}
    return make_vector_env(num_envs=_GROUPS * _SIZE, autoreset_mode="Disabled", **flat)
