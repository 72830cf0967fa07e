"""Warm start: the oracle's operations, learnt by their log-probabilities under the policy's masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from editenv.agents.baselines.oracle import oracle_operation
from editenv.agents.sb3.policy import as_sb3
from editenv.tools_env import MICEEditToolsVectorEnv
from editenv.worlds.studio.operations import OperationParts, parts_read

UNREAD = 0.1
"""Weight of parts that a task does not look at: left to chance, they would drown the ratios of those it does."""


@dataclass(frozen=True)
class Turns:
    """Turns that the oracle played.

    Attributes:
        observations: as the tools environment gives them, [T, ...] each.
        actions: what the oracle chose, int64 [T, parts].
        read: which parts its task looks at, bool [T, parts]; of the others it takes the first value not masked.
        masks: values worth trying, bool [T, sum of sizes].
        looks: what each cell shows, int64 [T, cells, attributes]: places among `look_values`.
        returns: discounted sums of the rewards from each turn on, float32 [T]; those of sessions that the last step
            leaves unfinished end there.
    """

    observations: dict[str, NDArray[Any]]
    actions: NDArray[np.int64]
    read: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    looks: NDArray[np.int64]
    returns: NDArray[np.float32]


def look_values(parts: OperationParts) -> dict[str, tuple[str | None, ...]]:
    """The values that each attribute of an object may have; None, the first, where it has none."""
    fixed = ("task", "cell", "second", "both", "background", "count")
    return {name: values for name, values in zip(parts.names, parts.values, strict=True) if name not in fixed}


def oracle_turns(envs: MICEEditToolsVectorEnv, sessions: int, seed: int, gamma: float) -> Turns:
    """The first turns of `sessions` sessions of a seed, played by the oracle.

    Args:
        envs: that open the next session in the same step.
        sessions: as many turns are played as these have if all are of full length.
        seed: of the sessions.
        gamma: discount of later turns' rewards.
    """
    steps = -(-sessions * envs.engine.world.max_turns // envs.num_envs)
    observations, _ = envs.reset(seed=seed)
    seen: dict[str, list[NDArray[Any]]] = {name: [] for name in observations}
    chosen, read, masks, looks, rewards, going_on = [], [], [], [], [], []
    known_looks = look_values(envs.parts).items()
    for _ in range(steps):
        played = list(zip(envs.sessions, envs.scenes, strict=True))
        actions = [oracle_operation(session, scenes, envs.parts) for session, scenes in played]
        for action, (_, scenes) in zip(actions, played, strict=True):
            objects = [{} if obj is None else obj.attributes() for obj in scenes[-1].cells]
            looks.append([[known.index(obj.get(name)) for name, known in known_looks] for obj in objects])
            read.append(parts_read(envs.parts, action, scenes[-1], scenes[-2] if len(scenes) > 1 else None))
        for name, shown in observations.items():
            seen[name].append(shown)
        masks.append(envs.action_masks())
        allowed = np.split(masks[-1], np.cumsum(envs.parts.sizes)[:-1], axis=1)
        first = np.stack([values.argmax(1) for values in allowed], 1)
        chosen.append(np.where(read[-len(actions) :], actions, first))
        observations, reward, terminated, truncated, _ = envs.step(chosen[-1])
        rewards.append(reward)
        going_on.append(~(terminated | truncated))
    joined = {name: np.concatenate(shown) for name, shown in seen.items()}
    returns = np.array(rewards, np.float32)
    for step in reversed(range(steps - 1)):
        returns[step] += gamma * going_on[step] * returns[step + 1]
    done = np.concatenate(chosen), np.stack(read), np.concatenate(masks), np.array(looks), returns.reshape(-1)
    return Turns(joined, *done)


def clone(
    policy: Any,
    turns: Turns,
    parts: OperationParts,
    *,
    epochs: int,
    batch: int,
    rate: float,
    max_grad_norm: float,
    seed: int,
    told: Callable[[int, int, float], None],
) -> float:
    """Learns the oracle's operations by -sum of log pi(part | observation, masks), parts not read by UNREAD.

    Beside them the features learn to name what each cell shows, without which they find few objects by their
    description; the layer that names it is not kept. The value learns the returns, so that what PPO learns first is
    not the value alone.

    Args:
        policy: of PPO, A2C or MaskablePPO; where it takes no masks, what they forbid is learnt like the rest.
        turns: what is learnt.
        parts: of the operations.
        epochs: times that each turn is learnt.
        batch: turns a step, of about one length, since the longest sets the cost.
        rate: peak learning rate of Adam, which rises for a twentieth of the steps and falls to a tenth.
        max_grad_norm: largest gradient norm.
        seed: of the batches.
        told: called with the step, how many there are and the loss.

    Returns:
        The mean loss of the last tenth of the steps.
    """
    rng, count = np.random.default_rng(seed), len(turns.actions)
    lengths = (turns.observations["transcript"] > 0).sum(1)
    features = policy.features_extractor
    sizes = [len(values) for values in look_values(parts).values()]
    names = torch.nn.Linear(features.rows.embedding_dim, sum(sizes), device=policy.device)
    optimiser = torch.optim.Adam([*policy.parameters(), *names.parameters()], lr=rate, eps=1e-5)
    seen_cells: list[Tensor] = []
    hook = features.cells.register_forward_hook(lambda module, given, made: seen_cells.append(made))
    total = epochs * -(-count // batch)
    warm, losses = max(1, total // 20), []
    policy.set_training_mode(True)
    for _ in range(epochs):
        for rows in batches(lengths, batch, rng):
            step = len(losses)
            share = (step + 1) / warm if step < warm else 1 - 0.9 * (step - warm) / max(1, total - warm)
            optimiser.param_groups[0]["lr"] = rate * share
            weights = _tensor(policy, np.where(turns.read[rows], 1.0, UNREAD).astype(np.float32))
            log_probs, values = evaluate(policy, turns, rows)
            loss = -(log_probs * weights).sum(1).mean()
            value_loss = mse_loss(values, _tensor(policy, turns.returns[rows]))
            shown = names(seen_cells.pop()).flatten(0, 1).split(sizes, 1)
            looks = _tensor(policy, turns.looks[rows]).flatten(0, 1).unbind(1)
            named = sum(cross_entropy(*pair) for pair in zip(shown, looks, strict=True))
            optimiser.zero_grad()
            (loss + named + value_loss).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), max_grad_norm)
            optimiser.step()
            losses.append(loss.item())
            told(step + 1, total, losses[-1])
    hook.remove()
    policy.set_training_mode(False)
    return float(np.mean(losses[-max(1, total // 10) :]))


def evaluate(policy: Any, turns: Turns, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Log pi of each part's choice in some turns, [B, parts], and the turns' values, [B]."""
    seen = {name: values[rows] for name, values in turns.observations.items()}
    seen, _ = policy.obs_to_tensor(seen | {"image": as_sb3(seen["image"])})
    latent, latent_value = policy.mlp_extractor(policy.extract_features(seen))
    made: Any = policy._get_action_dist_from_latent(latent)
    if isinstance(policy, MaskableActorCriticPolicy):
        made.apply_masking(turns.masks[rows])
        parts = made.distributions
    else:
        parts = made.distribution
    chosen = _tensor(policy, turns.actions[rows])
    log_probs = torch.stack([part.log_prob(chosen[:, number]) for number, part in enumerate(parts)], 1)
    return log_probs, policy.value_net(latent_value).flatten()


def batches(lengths: NDArray[np.int64], batch: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """All rows once, in batches of rows of about one length, in a random order."""
    order, pool = rng.permutation(len(lengths)), 16 * batch
    found: list[NDArray[np.int64]] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        found += [rows[first : first + batch] for first in range(0, len(rows), batch)]
    return [found[number] for number in rng.permutation(len(found))]


def _tensor(policy: Any, values: NDArray[Any]) -> Tensor:
    return torch.as_tensor(values, device=policy.device)
