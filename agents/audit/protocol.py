"""What a trainer has to offer to be audited, and what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from editenv.agents.audit.known import KnownPolicy


class NotOffered(NotImplementedError):
    """A trainer has no such part; the checks that need it are passed over, and the table says so."""


@dataclass(frozen=True)
class Facts:
    """What a trainer says of itself; the audit holds it to that."""

    times: tuple[float, ...]  # of the sampler, decreasing from 1 to 0
    sampler: str = "flow_sde"  # "flow_sde" or "cps", the stochastic step
    noise_level: float = 0.7  # a of the stochastic steps
    # Largest time inside sigma; None for the published rule (the second time at t = 1).
    sigma_t_max: float | None = None
    window: int = 2  # stochastic steps a turn; 0 for a trainer without pictures
    window_low: int = 0  # first and last step at which the window starts
    window_high: int = 0
    # "random" (every start equally often), "fixed" (always the first) or "sliding" (a step on every `window_every`
    # iterations, then it stays).
    window_placement: str = "random"
    window_every: int = 1
    temperature: float | None = 1.0  # of tokens; None for a trainer without text
    advantage: str = "pooled"  # how rewards become advantages, a name in `closed_form.ADVANTAGES`
    advantage_clip: float = 5.0  # bound of the advantages
    advantage_std: str = "batch"  # "batch" or "group", whose standard deviation they are divided by
    filter: str = "first_failure"  # which turns train, a name in `closed_form.FAILED`
    filter_threshold: float = 0.5  # score below which a turn has failed, for filter="threshold"
    flow_weight: float = 1.0  # of the two terms in the loss
    text_weight: float = 1.0
    flow_clip: float = 1e-3  # half widths of the clip ranges
    text_clip: float = 0.2
    ratio: str = "plain"  # of the flow's steps, "plain" or "guard" (GRPO-Guard, arXiv 2510.22319)
    flow_kl: str = "gaussian"  # the distance that is logged and punished, "gaussian", "published" or "velocity"


@dataclass(frozen=True)
class Turns:
    """A rollout: S scripts, G rollouts of each, K turns; in W stochastic steps and L tokens."""

    reward: Tensor  # [S, G, K], NaN where a turn was not scored
    following: Tensor  # what the filter reads, likewise
    source: Tensor | None = None  # clean latents of the current picture, [S, G, K, ..., C]
    latents: Tensor | None = None  # of the stochastic steps, [S, G, K, W + 1, ..., C]
    times: Tensor | None = None  # of the latents, [S, G, K, W + 1]
    # Of each step when it was made, a mean over latent dimensions without constants, [S, G, K, W].
    flow_log_prob: Tensor | None = None
    tokens: Tensor | None = None  # the stop token included, [S, G, K, L]
    mask: Tensor | None = None  # True at real tokens, [S, G, K, L]
    previous: Tensor | None = None  # the token before the first one, [S, G, K]
    text_log_prob: Tensor | None = None  # of each token when it was sampled, [S, G, K, L]
    native: Any = field(default=None, repr=False)  # the same turns as the trainer keeps them, handed back to it


class Spent(NamedTuple):
    """Turns of a rollout that gives failed sessions up, M of them."""

    reward: Tensor  # [M]
    following: Tensor  # [M]
    advantage: Tensor  # what each is paid, [M]
    keep: Tensor  # which train, bool [M]
    source: Tensor  # latents before, as the turn read them, [M, ..., C]
    image: Tensor  # and after, as the next turn would read them
    past: Sequence[Sequence[int]]  # of each turn the numbers of those that led to it, oldest first
    again: Tensor  # which are further tries of single turns, paid by their state, bool [M]
    state: Tensor  # a number for the state that each starts from, [M]
    when: Tensor  # turns with smaller numbers were sampled before, [M]


@dataclass(frozen=True)
class Loss:
    """What a trainer makes of turns; None where it does not train or has no such number."""

    total: Tensor  # what it minimises, with its graph
    flow_log_prob: Tensor | None = None  # under the policy given, shaped as in `Turns`
    text_log_prob: Tensor | None = None
    flow_kl: float | None = None  # mean distance to the reference over what trains, as it is logged
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
        """What the trainer samples in an iteration, with at least 2 scripts, 3 rollouts and 2 turns."""
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
