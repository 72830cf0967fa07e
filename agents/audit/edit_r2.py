"""This package's own trainer on the bench: its rollout, its loss and its training loop, as configured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor
from transformers.trainer_callback import PrinterCallback

from editenv.agents.audit.known import BOS, KnownPolicy
from editenv.agents.audit.model import CHANNELS, known_checkpoint
from editenv.agents.audit.protocol import Facts, Loss, NotOffered, Spent, Turns
from editenv.agents.audit.world import BrightnessJudge, FlatWorld, Reader
from editenv.agents.edit_r2.advantage import ADVANTAGES
from editenv.agents.edit_r2.credit import CreditSettings, credit
from editenv.agents.edit_r2.filter import FILTERS, Filtered
from editenv.agents.edit_r2.rollout import collect
from editenv.agents.edit_r2.settings import TrainingSettings
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.update import judge, policy_loss
from editenv.agents.flow.sde import SAMPLERS
from editenv.agents.metrics import Timer
from editenv.agents.resume import newest_checkpoint
from editenv.agents.trainer import EditR2Trainer
from editenv.vector import MICEEditVectorEnv

_SPECS, _ROLLOUTS = 12, 4
_CPS_LEVEL = 0.8
_KNOWN_OBJECTIVES = ("policy", "nft")
"""Of "nft" the intents' half; pictures without stochastic steps have no densities to be looked at."""
_OF_SESSIONS = ("group_id", "names")
_PER_TURN = ("advantage", "keep", "valid")


class EditR2Audit:
    """Edit-R2 with the settings of a training; adapters are switched off, for the known policy has no layers.

    Args:
        settings: of the trainer.

    Raises:
        ValueError: the objective has no ratios that theory knows.
    """

    dimensions = CHANNELS

    def __init__(self, settings: TrainingSettings) -> None:
        objective = settings.update.objective
        if objective not in _KNOWN_OBJECTIVES:
            raise ValueError(
                f"objective is {objective!r}, expected {' or '.join(map(repr, _KNOWN_OBJECTIVES))}: the "
                "audit knows the gradient of clipped ratios"
            )
        rollout = replace(settings.rollout, rollouts=_ROLLOUTS)
        update = replace(settings.update, text_rate=1e-2, flow_rate=1e-2, updates_per_iteration=2)
        self.settings = replace(
            settings,
            rollout=rollout,
            update=update,
            specs=_SPECS,
            save_every=1,
            lora_rank=0,
            schedule="constant",
            report_to=(),
        )
        self.facts = _facts(self.settings)

    def variants(self) -> Sequence[EditR2Audit]:
        """The trainer with each sampler; CPS knows no level above 1, no bound of time and no last step."""
        found, rollout = [self], self.settings.rollout
        last = rollout.window_high + rollout.window
        for name in SAMPLERS:
            if name == rollout.sampler or (name == "cps" and last == rollout.turn.steps):
                continue
            update = replace(self.settings.update, kl="gaussian")
            known: dict[str, Any] = {"sigma_t_max": None, "noise_level": _CPS_LEVEL} if name == "cps" else {}
            stepping = replace(rollout, sampler=name, **known)
            found.append(EditR2Audit(replace(self.settings, rollout=stepping, update=update)))
        return found

    def rollout(self, policy: KnownPolicy, seed: int, iteration: int) -> Turns:
        """One iteration of `collect`."""
        rollout = collect(
            known_checkpoint(policy),
            _envs(_SPECS * _ROLLOUTS),
            self.settings.rollout,
            seed,
            iteration,
            _SPECS,
            Timer(),
        )
        native = rollout.tensors
        shaped = {
            name: value.unflatten(0, (_SPECS, _ROLLOUTS))
            for name, value in native.items()
            if name not in _OF_SESSIONS
        }
        return Turns(
            reward=shaped["reward"],
            following=shaped["instruction_following"],
            source=shaped["source"],
            latents=shaped.get("latents"),
            times=shaped.get("times"),
            flow_log_prob=shaped.get("flow_log_prob_mean"),
            tokens=shaped["intent_ids"],
            mask=shaped["intent_mask"],
            previous=torch.full(shaped["reward"].shape, BOS),
            text_log_prob=shaped["text_log_prob"],
            native=native,
        )

    def spent(self, policy: KnownPolicy, seed: int) -> dict[str, Spent]:
        """Branches, whatever is configured, paid by `credit` with a baseline for each turn."""
        return {"resample": self._spent(policy, seed, SpendSettings("resample"))}

    def _spent(self, policy: KnownPolicy, seed: int, way: SpendSettings) -> Spent:
        settings, count = replace(self.settings.rollout, spending=way), _SPECS * _ROLLOUTS
        checkpoint = known_checkpoint(policy)
        rollout = collect(checkpoint, _envs(count), settings, seed, 0, _SPECS, Timer())
        paying = CreditSettings("turn", math.inf, filter=way.filter)
        paid, _ = credit(rollout, _ROLLOUTS, paying, {})
        tensors, places = rollout.tensors, rollout.places or {}
        where = sorted(places)
        number = {at: turn for turn, at in enumerate(where)}
        rows, columns = (torch.tensor(side) for side in zip(*where, strict=True))
        pixels = checkpoint.autoencoder.decode(tensors["image"].flatten(0, 1))
        image = checkpoint.autoencoder.encode(pixels).reshape(tensors["image"].shape)
        return Spent(
            reward=tensors["reward"][rows, columns],
            following=tensors["instruction_following"][rows, columns],
            advantage=paid["advantage"][rows, columns],
            keep=paid["keep"][rows, columns],
            source=tensors["source"][rows, columns],
            image=image[rows, columns],
            past=[[number[before] for before in places[at].past] for at in where],
            again=torch.tensor([places[at].again for at in where]),
            state=torch.tensor([number[places[at].state] for at in where]),
            when=columns,
        )

    def advantages(self, reward: Tensor, following: Tensor) -> Tensor:
        """The advantage that is configured, over the turns that the filter counts."""
        paid = self.settings.credit
        if paid.advantage == "fused":
            raise NotOffered("the judge has one score, which 'fused' cannot fuse")
        counted = self._filtered(following).counted(reward, ~reward.isnan())
        return ADVANTAGES[paid.advantage](*counted, clip=paid.advantage_clip, std=paid.advantage_std)

    def keep(self, following: Tensor) -> Tensor:
        """The filter that is configured."""
        return self._filtered(following).keep

    def _filtered(self, following: Tensor) -> Filtered:
        paid = self.settings.credit
        return FILTERS[paid.filter](following, ~following.isnan(), threshold=paid.filter_threshold)

    def loss(
        self, policy: KnownPolicy, reference: KnownPolicy, turns: Turns, advantage: Tensor, keep: Tensor
    ) -> Loss:
        """`judge` and `policy_loss` on all turns, as the trainer calls them."""
        shape = turns.reward.shape
        given = (advantage, keep, ~turns.reward.isnan())
        single = {
            name: value.flatten(0, 1) for name, value in turns.native.items() if name not in _OF_SESSIONS
        }
        single |= {name: value.flatten() for name, value in zip(_PER_TURN, given, strict=True)}
        rollout, update = self.settings.rollout, self.settings.update
        now = judge(known_checkpoint(policy).model, single, rollout, update)
        with torch.no_grad():
            then = judge(known_checkpoint(reference).model, single, rollout, update)
        loss = policy_loss(now, then, single, replace(update, text_kl=0.0, flow_kl=0.0))
        parts = {name: float(value) for name, value in loss.parts.items()}
        return Loss(
            loss.total,
            _shaped(now.flow_log_prob_mean, shape),
            _shaped(now.text_log_prob, shape),
            parts.get("flow_kl"),
            parts.get("text_kl"),
        )

    def train(self, policy: KnownPolicy, folder: Path, iterations: int, seed: int) -> None:
        """`EditR2Trainer`, from the newest whole checkpoint of the folder on."""
        update = replace(self.settings.update, text_kl=0.0, flow_kl=0.0)
        settings = replace(self.settings, out=folder, iterations=iterations, seed=seed, update=update)
        newest = newest_checkpoint(folder)
        trainer = EditR2Trainer(known_checkpoint(policy), _envs(_SPECS * _ROLLOUTS), settings)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)


def _envs(count: int) -> MICEEditVectorEnv:
    disabled = AutoresetMode.DISABLED
    return MICEEditVectorEnv(count, FlatWorld(), Reader(), BrightnessJudge(), autoreset_mode=disabled)


def _facts(settings: TrainingSettings) -> Facts:
    rollout, update = settings.rollout, settings.update
    return Facts(
        times=tuple(rollout.turn.times().tolist()),
        sampler=rollout.sampler,
        noise_level=rollout.noise_level,
        sigma_t_max=rollout.sigma_t_max,
        window=rollout.window,
        window_low=rollout.window_low,
        window_high=rollout.window_high,
        window_placement=rollout.window_placement,
        window_every=rollout.window_every,
        temperature=rollout.turn.temperature,
        advantage=settings.credit.advantage,
        advantage_clip=settings.credit.advantage_clip,
        advantage_std=settings.credit.advantage_std,
        filter=settings.credit.filter,
        filter_threshold=settings.credit.filter_threshold,
        flow_weight=update.flow_weight,
        text_weight=update.text_weight,
        flow_clip=update.flow_clip,
        text_clip=update.text_clip,
        ratio=update.ratio,
        flow_kl=update.kl,
    )


def _shaped(value: Tensor | None, shape: Any) -> Tensor | None:
    return None if value is None else value.reshape(*shape, -1)
