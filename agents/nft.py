"""DiffusionNFT (arXiv 2509.16117): images learn by the forward process, towards better, away from worse.

Intents learn as in edit_r2.py. The policy that sampled may be a moving average (`nft_decay`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from editenv.agents.edit_r2 import ActionLogProbs, Numbers, policy_loss, ratio_errors, select_trained
from editenv.agents.flow import latent_mean
from editenv.agents.objective import Objective, check_rounding, measured_kl
from editenv.agents.policy import Policies, PolicyOutput, Turn, take_trained
from editenv.agents.settings import X0_LOSSES, AlgorithmSettings
from editenv.agents.sft import add_noise, asked_at_noise
from editenv.registry import load_class

AVERAGE = "ema.safetensors"
"""In a checkpoint's folder: the averages, and under UPDATED the iteration that they are of."""
UPDATED = "updated_in_iteration"


@torch.no_grad()
def add_noise_and_old_velocity(policy: Any, sessions: Turn, settings: AlgorithmSettings) -> Turn:
    """`add_noise`, and `old_velocity` [S, K, W, N, C] of the policy that sampled; 0 where no loss asks."""
    found = add_noise(policy, sessions, settings)
    trains = select_trained(sessions, settings)
    batch, _ = take_trained(sessions | found, trains)
    velocity = policy(batch, settings, **asked_at_noise(batch, settings, text=False)).velocity
    if velocity is not None:
        found["old_velocity"] = torch.zeros_like(found["noised"])
        found["old_velocity"][trains] = velocity[: int(trains.sum())].to(found["noised"].dtype)
    return found


def nft_loss(
    x: Tensor,
    t: Tensor,
    velocity: Tensor,
    old_velocity: Tensor,
    image: Tensor,
    better: Tensor,
    beta: float,
    error: Any,
    mask: Tensor | None = None,
) -> Tensor:
    """DiffusionNFT's objective (eq. 5) for each noisy image, [...].

    r E(v+) + (1 - r) E(v-)  with  v+ = (1 - beta) v_old + beta v,  v- = (1 + beta) v_old - beta v

    At v = v_old the gradient is beta (2 r - 1) times that of E: towards images with r above 1/2, away from
    the others.

    Args:
        x, t: noisy latents [..., N, C] and their times [...].
        velocity, old_velocity: of the policy, through which gradients flow, and of the one that sampled the image.
        image: that was sampled, broadcastable to x.
        better: r, in [0, 1], broadcastable to t.
        beta, error: above 0; E, one of X0_LOSSES, with `mask` as `flow.latent_mean` has it.
    """
    old = old_velocity.detach()
    towards = error(x, t, (1 - beta) * old + beta * velocity, image, mask)
    away = error(x, t, (1 + beta) * old - beta * velocity, image, mask)
    return better * towards + (1 - better) * away


def better_share(advantage: Tensor, largest: float) -> Tensor:
    """How likely a turn counts as better: r = 1/2 + clip(A, -largest, largest) / (2 largest), in [0, 1]."""
    return 0.5 + advantage.clamp(-largest, largest) / (2 * largest)


def adaptive_x0_loss(x: Tensor, t: Tensor, velocity: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
    """The paper's weight: mean of d^2 / max(mean of |d|, 1e-5) with d = x - t v - image.

    No gradient flows through the denominator. So noisy images that lead far astray count about as much for
    each of their latents as those that lead close. Arguments and result as `sft.x0_loss`.
    """
    distance = x - t[..., None, None] * velocity - image
    size = latent_mean(distance.detach().abs(), mask).clamp_min(1e-5)
    return latent_mean(distance.square(), mask) / size


def joint_nft_loss(
    policies: Policies, sessions: Turn, settings: AlgorithmSettings, first: bool
) -> tuple[Tensor, Numbers]:
    """`nft_loss` of the images beside the intents' policy loss, on the turns that a policy gradient uses.

    Without `nft_decay` the policy that sampled is the one before the iteration's first update, and the
    intents' ratios have to be 1 there.
    """
    batch, share = take_trained(sessions, select_trained(sessions, settings))
    asked = asked_at_noise(batch, settings, settings.text_weight > 0)
    output, reference = policies.model(batch, settings, **asked), PolicyOutput()
    if settings.text_kl or settings.flow_kl:
        with torch.no_grad(), policies.reference() as frozen:
            reference = frozen(batch, settings, **asked)
    total, numbers = batch["advantage"].new_zeros((), dtype=torch.float32), {}
    if output.velocity is not None:
        error = nft_loss(
            batch["noised"],
            batch["noised_times"],
            output.velocity,
            batch["old_velocity"],
            batch["image"][:, None],
            better_share(batch["advantage"].float(), settings.nft_range)[:, None],
            settings.nft_beta,
            load_class("x0_loss", settings.x0_loss, X0_LOSSES),
            batch.get("latent_mask"),
        )
        trains = select_trained(batch, settings).float()
        if reference.velocity is not None:
            # The paper's: no transition, hence no Gaussian KL, but the velocities themselves.
            distance = latent_mean((output.velocity - reference.velocity).square(), batch.get("latent_mask"))
            numbers["flow_kl"] = float((distance.mean(-1) * trains).sum().detach() / trains.sum().clamp(min=1))
            error = error + settings.flow_kl * distance
        flow = (error.mean(-1) * trains).mean()
        total, numbers["flow_loss"] = total + settings.flow_weight * flow, float(flow.detach())
    if output.text_log_prob is not None:
        actions = ActionLogProbs(output.text_log_prob)
        before = None if reference.text_log_prob is None else ActionLogProbs(reference.text_log_prob)
        loss, more = policy_loss(actions, before, batch, settings)
        total, numbers = total + loss, numbers | more
        if first and not settings.nft_decay:
            numbers["text_ratio_error"] = ratio_errors(actions, batch)["text"]
    return total * share, numbers


NFT = Objective(
    joint_nft_loss,
    prepare=add_noise_and_old_velocity,
    measure=measured_kl,
    check=lambda numbers, settings: check_rounding("text", numbers.get("text_ratio_error", 0.0)),
    distances=("velocity",),
)


class EMA:
    """Moving average over iterations of a model's trainable weights, which can stand in for them.

    When an iteration starts, average <- d average + (1 - d) weights with d = min(rise * iteration, most): it
    rises, since early steps have to reach the sampler soon and late ones may not shake it. The paper's usual
    values are rise 0.001 and most 0.5. The average begins where the weights are.
    """

    def __init__(self, model: nn.Module, rise: float, most: float) -> None:
        self.rise, self.most, self.iteration = rise, most, 0
        self.trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self.trained.items()}

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Once an iteration, however often it is called."""
        if iteration > self.iteration:
            self.iteration = iteration
            for name, value in self.trained.items():
                self.average[name].lerp_(value, 1.0 - min(self.rise * iteration, self.most))

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the model has the average's weights."""
        kept = {name: value.detach().clone() for name, value in self.trained.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, value in self.trained.items():
            value.copy_(weights[name])

    def save(self, folder: Path) -> None:
        """Writes the average into a checkpoint's folder."""
        tensors = {name: value.cpu().contiguous() for name, value in self.average.items()}
        save_file(tensors | {UPDATED: torch.tensor(self.iteration)}, folder / AVERAGE)

    def load(self, folder: Path) -> None:
        """Takes the average from a checkpoint's folder; FileNotFoundError where there is none."""
        kept = load_file(folder / AVERAGE)
        self.iteration = int(kept.pop(UPDATED))
        for name, value in self.average.items():
            value.copy_(kept[name])
