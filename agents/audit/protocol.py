"""What a trainer has to offer to be audited, and what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from editenv.agents.audit.known import KnownPolicy


class NotOffered(NotImplementedError):
    """A trainer has no such part; the checks that need it are passed over, and the table says so."""


@dataclass(frozen=True)
class Facts:
    """What a trainer says of itself; the audit holds it to that.

    Attributes:
        times: of the sampler, decreasing from 1 to 0.
        sampler: "flow_sde" or "cps", the stochastic step.
        noise_level: a of the stochastic steps.
        sigma_t_max: largest time inside sigma; None for the published rule (the second time at t = 1).
        window: stochastic steps a turn; 0 for a trainer without pictures.
        window_low, window_high: first and last step at which the window starts.
        window_placement: "random" (every start equally often), "fixed" (always the first) or "sliding" (a
            step on every `window_every` iterations, then it stays).
        window_every: iterations that a sliding window rests.
        temperature: of tokens; None for a trainer without text.
        advantage: how rewards become advantages, a name in `closed_form.ADVANTAGES`.
        advantage_clip: bound of the advantages.
        advantage_std: "batch" or "group", whose standard deviation they are divided by.
        filter: which turns train, a name in `closed_form.FAILED`.
        filter_threshold: score below which a turn has failed, for filter="threshold".
        flow_weight, text_weight: of the two terms in the loss.
        flow_clip, text_clip: half widths of the clip ranges.
        ratio: of the flow's steps, "plain" or "guard" (GRPO-Guard, arXiv 2510.22319).
        flow_kl: the distance that is logged and punished, "gaussian", "published" or "velocity".
    """

    times: tuple[float, ...]
    sampler: str = "flow_sde"
    noise_level: float = 0.7
    sigma_t_max: float | None = None
    window: int = 2
    window_low: int = 0
    window_high: int = 0
    window_placement: str = "random"
    window_every: int = 1
    temperature: float | None = 1.0
    advantage: str = "pooled"
    advantage_clip: float = 5.0
    advantage_std: str = "batch"
    filter: str = "first_failure"
    filter_threshold: float = 0.5
    flow_weight: float = 1.0
    text_weight: float = 1.0
    flow_clip: float = 1e-3
    text_clip: float = 0.2
    ratio: str = "plain"
    flow_kl: str = "gaussian"


@dataclass(frozen=True)
class Turns:
    """A rollout: S scripts, G rollouts of each, K turns.

    Attributes:
        reward, following: rewards and what the filter reads, [S, G, K]; NaN where a turn was not scored.
        source: clean latents of the current picture, [S, G, K, ..., C].
        latents: of the stochastic steps, [S, G, K, W + 1, ..., C].
        times: of the latents, [S, G, K, W + 1].
        flow_log_prob: of each stochastic step when it was made, a mean over latent dimensions without
            constants, [S, G, K, W].
        tokens: sampled, the stop token included, [S, G, K, L].
        mask: True at real tokens, [S, G, K, L].
        previous: the token before the first one, [S, G, K].
        text_log_prob: of each token when it was sampled, [S, G, K, L].
        native: the same turns as the trainer keeps them, handed back to it.
    """

    reward: Tensor
    following: Tensor
    source: Tensor | None = None
    latents: Tensor | None = None
    times: Tensor | None = None
    flow_log_prob: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    previous: Tensor | None = None
    text_log_prob: Tensor | None = None
    native: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Spent:
    """Turns of a rollout that gives failed sessions up, M of them.

    Attributes:
        reward, following: rewards and what the filter reads, [M].
        advantage: what each is paid, [M].
        keep: which train, bool [M].
        source, image: latents before and after, as the next turn would read them, [M, ..., C].
        past: of each turn the numbers of those that led to it, oldest first.
        again: which are further tries of single turns, paid by their state, bool [M].
        state: a number for the state that each starts from, [M].
        when: turns with smaller numbers were sampled before, [M].
    """

    reward: Tensor
    following: Tensor
    advantage: Tensor
    keep: Tensor
    source: Tensor
    image: Tensor
    past: Sequence[Sequence[int]]
    again: Tensor
    state: Tensor
    when: Tensor


@dataclass(frozen=True)
class Loss:
    """What a trainer makes of turns.

    Attributes:
        total: what it minimises, with its graph.
        flow_log_prob, text_log_prob: under the policy given, shaped as in `Turns`; None where not trained.
        flow_kl, text_kl: mean distances to the reference over what trains, as they are logged; None for none.
    """

    total: Tensor
    flow_log_prob: Tensor | None = None
    text_log_prob: Tensor | None = None
    flow_kl: float | None = None
    text_kl: float | None = None


class Auditable(Protocol):
    """A trainer, as the audit speaks to it. What it does not have raises `NotOffered`.

    One that spends the turns of failed sessions elsewhere also has `spent(policy, seed)`, which returns a
    `Spent` for each way to do so, by name.
    """

    facts: Facts
    dimensions: int

    def variants(self) -> Sequence[Auditable]:
        """The same trainer with each of its samplers, itself included."""
        ...

    def rollout(self, policy: KnownPolicy, seed: int, iteration: int) -> Turns:
        """What the trainer samples in an iteration, with at least 2 specs, 3 rollouts and 2 turns."""
        ...

    def advantages(self, reward: Tensor, following: Tensor) -> Tensor:
        """Advantages of rewards [S, G, K], given what the filter reads; NaN where a turn was not scored."""
        ...

    def keep(self, following: Tensor) -> Tensor:
        """Which turns train, bool, of instruction following [S, G, K], NaN where a turn was not scored."""
        ...

    def loss(self, policy: KnownPolicy, reference: KnownPolicy, turns: Turns, advantage: Tensor, keep: Tensor) -> Loss:
        """The loss of all turns at once, without punishing the distance to the reference.

        mean over all turns of keep (flow_weight mean over steps + text_weight mean over tokens) of PPO's
        clipped loss
        """
        ...

    def train(self, policy: KnownPolicy, folder: Path, iterations: int, seed: int) -> None:
        """Trains the policy in place up to this iteration, going on from what the folder holds.

        A distance to where training started stays out of the loss: the policy that a resumed run is handed
        is another one on purpose.
        """
        ...
