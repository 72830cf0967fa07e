"""How checkpoints are made: the recipes of `editenv pretrain`, with types."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class LessonsConfig:
    """What is taught; see `pretrain.data.Lessons`."""

    suites: list[str]
    whole_session_share: float
    whole_sessions: int | None
    keep_rule: float
    resolve_reference: float
    spoilt: float


@dataclass(kw_only=True)
class PhaseConfig:
    """A stretch of training; see `pretrain.unified.Phase`."""

    lessons: LessonsConfig
    image_steps: int
    text_steps: int
    rate: float
    image_batch: int
    text_batch: int
    changed_weight: float


@dataclass(kw_only=True)
class AutoencoderRecipe:
    """How the small autoencoder is made.

    Attributes:
        name: of the recipe and of the checkpoint.
        cell: side in pixels of the squares it codes one by one.
        steps: optimiser steps.
        rate: peak learning rate.
    """

    name: str
    cell: int
    steps: int
    rate: float


@dataclass(kw_only=True)
class ModelRecipe:
    """How a base checkpoint is made.

    Attributes:
        name: of the recipe and of the checkpoint.
        taught, not_taught: for the card, in words.
        start: checkpoint whose weights are trained on; None starts from random weights.
        autoencoder: folder of the autoencoder; None for the one that comes with the package.
        grid: cells a side.
        intent_form: of the intents that it is taught, a name in `editenv.worlds.studio.intents.FORMS`.
        hidden_size, intermediate_size, layers, heads: sizes of a model that starts from random weights.
        phases: stretches of training, in order.
        ema: decay of the weights' moving average.
        card_sessions: test sessions of `mixed` that the card's scores are taken on.
        suite_sessions: test sessions of every suite that its scores by suite and task are taken on.
    """

    name: str
    taught: str
    not_taught: str
    start: str | None
    autoencoder: str | None
    grid: int
    intent_form: str
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    phases: list[PhaseConfig]
    ema: float
    card_sessions: int
    suite_sessions: int
