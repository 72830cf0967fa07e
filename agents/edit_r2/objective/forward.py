"""The forward process: pictures with noise put on them, and what a model is asked about them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from editenv.agents.edit_r2.objective.protocol import Batch
from editenv.agents.edit_r2.padding import single_turns
from editenv.agents.edit_r2.rollout import RolloutSettings
from editenv.agents.edit_r2.update import (
    Forward,
    UpdateSettings,
    forward_inputs,
    policy_trains,
    trained_turns,
)
from editenv.agents.editor.noise import normals, uniforms

_TIMES, _NOISE = range(10, 12)


def with_noise(model: Forward, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings) -> Batch:
    """`noised` [S, K, W, N, C] and `noised_times` [S, K, W]: x_t = (1 - t) image + t noise at W times.

    t is uniform, then shifted as the sampler's grid is: t <- s t / (1 + (s - 1) t). Both are functions of the
    rows' names and the turn.
    """
    image = sessions["image"]
    count, turns = image.shape[:2]
    rows = [tuple(row) for row in sessions["names"].tolist()]
    places = [(*row, turn) for row in rows for turn in range(turns)]
    even = 1 - uniforms([(*place, _TIMES) for place in places], update.times)
    shift = rollout.turn.shift
    t = (shift * even / (1 + (shift - 1) * even)).float().reshape(count, turns, -1).to(image.device)
    shape = (update.times, *image.shape[2:])
    noise = normals([(*place, _NOISE) for place in places], shape).reshape(count, turns, *shape)
    return {"noised": with_forward_noise(image[:, :, None], noise.to(image.device), t), "noised_times": t}


@torch.no_grad()
def with_old_velocity(
    model: Forward, sessions: Batch, rollout: RolloutSettings, update: UpdateSettings
) -> Batch:
    """`with_noise`, and `old_velocity` [S, K, W, N, C] of the policy that sampled; 0 where no loss asks."""
    found = with_noise(model, sessions, rollout, update)
    turns = single_turns(sessions | found)
    trains = policy_trains(turns, update)
    batch, _ = trained_turns(turns, trains)
    asked = noised_inputs(batch, rollout, update)
    asked = {name: value for name, value in asked.items() if not name.startswith(("intent_", "text_"))}
    if "x" in asked:
        velocity = model(**asked).velocity
        assert velocity is not None, "a forward that is given noisy pictures returns their velocity"
        old = torch.zeros_like(turns["noised"])
        old[trains] = velocity[: int(trains.sum())].to(old.dtype)
        found["old_velocity"] = old.reshape(found["noised"].shape)
    return found


def noised_inputs(turns: Batch, rollout: RolloutSettings, update: UpdateSettings) -> dict[str, Any]:
    """`forward_inputs` at the noised pictures, without guidance: what is learnt is the velocity itself."""
    wanted = forward_inputs(turns, rollout, update, turns["noised"], turns["noised_times"])
    wanted.pop("guidance", None)
    return wanted


def with_forward_noise(image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) image + t noise, for t [...] and latents [..., N, C]."""
    return (1 - t)[..., None, None] * image + t[..., None, None] * noise
