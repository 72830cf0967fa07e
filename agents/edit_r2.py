"""Edit-R2 (arXiv 2606.05950): reinforcement learning of multi-turn image editing, top to bottom.

An iteration:

1. rollout: `group_size` sessions of each of `groups` scripts; in every turn the policy writes an intent
   (tokens, autoregressive) and generates an image (flow matching, W stochastic steps);
2. advantages of all turns, and a filter that says which of them train;
3. updates: a clipped policy gradient of tokens and stochastic steps, one advantage and one backward for both.

Settings and defaults: settings.py; algorithm=edit_r2_published is the paper's. Other advantages, filters, KLs
and ratios: variants.py; other objectives: nft.py, sft.py; the flow's formulas: flow.py; what is asked of a
model: policy.py; which turn a row plays next: rollout.py. trainer.py runs all this under TRL.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from editenv.agents.flow import SamplingPlan, in_full_precision, latent_mean, shifted_times, window_log_prob
from editenv.agents.policy import (
    JointPolicy,
    Policies,
    PolicyOutput,
    Turn,
    gather_history,
    normals,
    stack_turns,
    take_trained,
    uniforms,
)
from editenv.agents.rollout import BranchFromSibling, RolloutBatch, Teacher, WholeSessions, script_numbers
from editenv.agents.settings import ADVANTAGES, FILTERS, FLOW_KLS, RATIOS, SAMPLERS, WINDOWS, EditR2Settings
from editenv.registry import load_class
from editenv.vector import MICEEditVectorEnv

_TEXT, _START, _STEP, _WINDOW = range(4)  # what a random number is for: the last part of its key
NO_ADVANTAGE = 1e-9  # more than what rounding leaves of an advantage of zero
Numbers = dict[str, float]
"""For the log, by name."""

# 1. Rollout


@torch.no_grad()
def collect_rollout(
    policy: JointPolicy,
    envs: MICEEditVectorEnv,
    settings: EditR2Settings,
    seed: int,
    iteration: int,
    groups: int,
    group_size: int,
    *,
    rows: slice = slice(None),
    teacher: Teacher = Teacher(),  # noqa: B008 - immutable
    timer: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    cached: bool = True,
    sessions: int | None = None,
) -> RolloutBatch:
    """Plays an iteration's `groups` scripts (`rollout.script_numbers`), `group_size` times each.

    Scripts and noise are functions of seed and iteration.

    Args:
        envs: one row a session, autoreset disabled.
        rows: where several processes share the work, this one's; its numbers are as if it played all.
        teacher: what rules do in the policy's place.
        timer: opened around "image", "intent" and "scoring".
        cached: whether the policy may keep what it has read from turn to turn.
        sessions: scripts that the training has in all; None for no bound.
    """
    every = [n for n in script_numbers(seed, iteration, groups, sessions) for _ in range(group_size)]
    scripts = every[rows]
    # The last part tells rows of one script apart.
    keys = [(seed, iteration, n, every[:row].count(n)) for row, n in enumerate(every)][rows]
    observations: Any = envs.reset(seed=seed, options={"sessions": scripts})[0]
    begun, most = envs.sessions, envs.engine.world.max_turns
    schedule = (BranchFromSibling if settings.branch_from_sibling else WholeSessions)(envs, settings, scripts)
    generates = teacher.intents is None or teacher.images is None
    cache = policy.new_cache(len(keys), settings) if cached and generates else None
    play = TurnPlayer(policy, settings, keys, schedule, teacher, timer, generates, cache)
    for column in range(most):
        active = schedule.active()
        if not any(active):
            break
        actions = play.turn(observations)
        with timer("scoring"):
            observations, *_ = envs.step(actions)
            moved = schedule.end_turn(active, column + 1 < most)
        observations = observations if moved is None else moved
    # Only now: where scoring is deferred, scores come with the last turn.
    turns, known = stack_turns(play.turns), schedule.tensors()
    if settings.context == "interleaved" and policy.history:
        turns |= gather_history(turns, known["history"], policy.history)
    known |= {"group_id": torch.tensor(scripts), "rng_keys": torch.tensor(keys)}
    return RolloutBatch(begun, turns, **known, fallback_share=sum(play.fell_back) / max(len(play.fell_back), 1))


def time_grid(settings: EditR2Settings) -> Tensor:
    """The flow's times, [steps + 1], from 1 to 0."""
    return shifted_times(settings.steps + 1, settings.shift)


@dataclass
class TurnPlayer:
    """Plays one turn of S rows after another and keeps their tensors."""

    policy: JointPolicy
    settings: EditR2Settings
    keys: Sequence[tuple[int, ...]]  # (seed, iteration, script, rollout) of each row
    schedule: WholeSessions
    teacher: Teacher
    timer: Callable[[str], AbstractContextManager[Any]]
    generates: bool  # whether the policy does anything at all
    cache: Any  # a policy.ContextCache, or None
    turns: list[Turn] = field(default_factory=list)
    fell_back: list[bool] = field(default_factory=list)  # of each intent written, whether it could not be used

    def turn(self, observations: Any) -> dict[str, Any]:
        """Actions of the next turn: intents first, then images that carry them out."""
        policy, settings, teacher, context, past = self.policy, self.settings, self.teacher, None, {}
        with self.timer("image"):
            turn = policy.observe(observations)
            if self.cache is not None:
                self.cache.begin_turn(self.schedule.followed_rows())
            elif self.turns and settings.context == "interleaved" and policy.history:
                past = self.schedule.past(self.turns, policy.history)
            if self.generates:
                context = policy.intent_context(turn | past, settings, self.cache)
        with self.timer("intent"):
            written, intents = self._intents(observations, context)
        with self.timer("image"):
            turn |= written | policy.encode_intents(intents)
            if self.generates and (teacher.images is None or self.cache is not None):
                context = policy.image_context(turn | past, settings, self.cache)
            if teacher.images is not None:
                images = list(teacher.images(observations, intents))
                turn["image"] = policy.encode_images(images)
            else:
                turn |= self._sample(context, turn)
                images = policy.decode_images(turn["image"])
        self.turns.append({name: value.to(policy.device) for name, value in turn.items()})
        return {"image": np.stack(images), "intent": tuple(intents)}

    def _intents(self, observations: Any, context: Any) -> tuple[Turn, list[str]]:
        """Tokens [S, L] that train, and what the images follow: the user's words where none can be used."""
        said, settings, device = list(observations["instruction"]), self.settings, self.policy.device
        writes = [index + 1 >= settings.intent_from_turn for index in self.schedule.turn_index]
        own, nothing = torch.tensor(writes, device=device)[:, None], torch.zeros(len(said), 1, device=device)
        none: Turn = {"intent_ids": nothing.long(), "intent_mask": nothing.bool(), "text_log_prob": nothing}
        if self.teacher.intents is not None:
            right = self.teacher.intents(observations)
            if not self.teacher.imitated:
                return none, right
            taught = self.policy.encode_answers(right)
            untaught = torch.zeros_like(taught["intent_ids"], dtype=torch.float32)
            taught |= {"intent_mask": taught["intent_mask"] & own, "text_log_prob": untaught}
            return taught, [i if w else word for i, w, word in zip(right, writes, said, strict=True)]
        if not any(writes):
            return none, said
        draws = uniforms([(*key, len(self.turns), _TEXT) for key in self.keys], settings.max_intent_tokens)
        ids, mask, log_prob, texts = self.policy.writer.generate_intents(context, settings, draws)
        intents = [t if w and t is not None else word for t, w, word in zip(texts, writes, said, strict=True)]
        unused = [w and text is None for w, text in zip(writes, texts, strict=True)]
        counted = zip(unused, writes, self.schedule.active(), strict=True)
        self.fell_back += [fell for fell, written, active in counted if written and active]
        # The published code trains the tokens of intents that could not be used, too.
        trains = own if settings.fallbacks_train else own & ~torch.tensor(unused, device=device)[:, None]
        return {"intent_ids": ids, "intent_mask": mask & trains, "text_log_prob": log_prob * trains}, intents

    def _sample(self, context: Any, turn: Turn) -> Turn:
        """Images from noise at t = 1; W steps in a window are stochastic, all others are the ODE's."""
        settings, source, column = self.settings, turn["source"], len(self.turns)
        shape, device, mask = tuple(source.shape[1:]), source.device, turn.get("latent_mask")
        real = 1 if mask is None else mask[..., None].to(source.dtype)
        starts = [(*key, column, _START) for key in self.keys]
        if settings.shared_noise:  # one noise for all rollouts of a group at the same turn, as published
            places = zip(self.keys, self.schedule.groups, self.schedule.turn_index, strict=True)
            starts = [(*key[:2], group, index, _START) for key, group, index in places]
        noise, plan = normals(starts, shape).to(device) * real, SamplingPlan(time_grid(settings))
        if not settings.window:
            return {"image": self.policy.editor.sample_images(context, noise, plan).final}
        steps = normals([(*key, column, _STEP) for key in self.keys], (settings.window, *shape)).to(device)
        draws = uniforms([(*key, column, _WINDOW) for key in self.keys], 1)[:, 0]
        place = load_class("window_placement", settings.window_placement, WINDOWS)
        where = settings.window_low, settings.window_high, self.keys[0][1], settings.window_every
        sampler, first = load_class("sampler", settings.sampler, SAMPLERS), place(draws, *where).to(device)
        level = settings.noise_level, settings.sigma_t_max
        plan = SamplingPlan(plan.times, settings.window, first, steps * real, sampler, *level, mask)
        image, latents, times, log_prob, mean = self.policy.editor.sample_images(context, noise, plan)
        window = {"latents": latents, "times": times, "flow_log_prob_mean": log_prob, "flow_mean": mean}
        return {"image": image} | window


# 2. Advantages and filter


class Filtered(NamedTuple):
    """What a filter says of each turn, bool [group, rollout, turn]."""

    loss_mask: Tensor  # False gives neither text nor flow loss
    counted: Tensor  # False leaves a turn's reward out of means, stds and returns


def first_failure(instruction_following: Tensor, scored: Tensor, *, threshold: float = 0.5) -> Filtered:
    """Published filter: nothing after a session's first failed turn trains.

    The failed turn itself (instruction following of exactly 0) still trains. What follows started from a
    wrong image; both its losses, text and flow, are masked, while its rewards still count in mean and std.

    Both are [group, rollout, turn]; a turn that is not scored is no failure. `threshold` is for filters that ask.
    """
    keep = until_first((instruction_following == 0) & scored)
    return Filtered(keep, torch.ones_like(keep))


def until_first(failed: Tensor) -> Tensor:
    """True up to and including the first True of [..., turn]."""
    return failed.long().cumsum(dim=-1) - failed.long() == 0


def pooled(rewards: Tensor, scored: Tensor, *, std: str = "batch", parts: Any = None) -> Tensor:
    """Published advantage: one baseline for all rollouts and turns of a group.

    A = (R - mean of the group's rewards over rollouts and turns) / (std of the whole batch + 1e-4)

    Pooling over turns makes easy first turns look good and hard later ones bad; `variants.per_turn` does not.

    Args:
        rewards: [group, rollout, turn]; NaN marks a turn whose judge gave no answer.
        scored: bool; False leaves a turn out of mean and std, and its advantage is 0.
        std: "batch" or "group", whose population std is divided by.
        parts: the scores that rewards are made of, see `variants.ScoreParts`.
    """
    return standardise(*counted_rewards(rewards, scored), dims=(1, 2), std=std)


def counted_rewards(rewards: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
    """Rewards in float64 with 0 where they do not count, and where they do; ValueError for infinite ones."""
    if rewards.ndim != 3 or rewards.numel() == 0 or scored.shape != rewards.shape:
        shapes = tuple(rewards.shape), tuple(scored.shape)
        raise ValueError(f"rewards and scored: got shapes {shapes}, expected [group, rollout, turn] of both")
    values = rewards.detach().double()
    counted = scored.bool() & ~values.isnan()
    if bool(values[counted].isinf().any()):
        raise ValueError("rewards: got an infinite number, expected finite or NaN (not scored)")
    return values.masked_fill(~counted, 0.0), counted


def standardise(values: Tensor, counted: Tensor, dims: tuple[int, ...], std: str) -> Tensor:
    """(value - mean over `dims`) / (std + 1e-4) of float64 values, which are 0 where they do not count.

    The population std (ddof 0) is the whole batch's, as published, or with "group" that over `dims`.
    """
    size = counted.sum(dim=dims, keepdim=True).clamp(min=1)
    centred = values - values.sum(dim=dims, keepdim=True) / size
    if std == "batch":
        spread = values[counted].std(correction=0) if bool(counted.any()) else values.new_zeros(())
    else:
        squared = centred.square().masked_fill(~counted, 0.0)
        spread = (squared.sum(dim=dims, keepdim=True) / size).sqrt()
    return (centred / (spread + 1e-4)).masked_fill(~counted, 0.0)


def compute_advantages(rollout: RolloutBatch, group_size: int, settings: EditR2Settings, parts: Any = None) -> Turn:
    """Of a rollout's turns `advantage` and `text_advantage` float64, `loss_mask` and `scored_mask`, each [S, K]."""
    # Further tries of a turn (branch_from_sibling) belong to no session: they enter no mean and no filter.
    branch, shape = rollout.is_branch, (-1, group_size)
    reward = rollout.reward.masked_fill(branch, 0.0).unflatten(0, shape)
    following = rollout.instruction_following.masked_fill(branch, math.nan).unflatten(0, shape)
    scored = (rollout.scored_mask & ~branch).unflatten(0, shape)
    filtered = load_class("filter", settings.filter, FILTERS)(following, scored, threshold=settings.filter_threshold)
    # A turn that does not count need not have been scored: its reward is 0 then, and no return misses it.
    counted_reward, counted = reward.masked_fill(~filtered.counted, 0.0), scored & filtered.counted
    estimate = load_class("advantage", settings.advantage, ADVANTAGES)
    advantage = estimate(counted_reward, counted, std=settings.advantage_std, parts=parts).flatten(0, 1)
    loss_mask = filtered.loss_mask.flatten(0, 1)
    if bool(branch.any()):
        from editenv.agents.variants import per_state

        advantage, loss_mask = advantage + per_state(rollout, std=settings.advantage_std), loss_mask | branch
    limit = settings.advantage_clip
    return {
        "advantage": advantage.clamp(-limit, limit),
        "text_advantage": advantage.clamp(-limit, limit) if settings.clip_text_advantage else advantage,
        "loss_mask": loss_mask,
        "scored_mask": rollout.scored_mask,
    }


# 3. Update


@dataclass(frozen=True)
class ActionLogProbs:
    """Log-probs of M turns' actions under one policy; None where that half is not trained."""

    text_log_prob: Any = None  # of each token, [M, L]
    flow_log_prob_mean: Any = None  # of each stochastic step, a mean over latent dimensions, [M, W]
    flow_mean: Any = None  # of each step's transition, [M, W, N, C]
    flow_std: Any = None  # likewise, [M, W]
    velocity: Any = None  # at each step, without guidance, [M, W, N, C]


def evaluate_actions(policy: Callable[..., PolicyOutput], turns: Turn, settings: EditR2Settings) -> ActionLogProbs:
    """Log-probs of what was sampled in M turns, in one forward of a policy."""
    asked: dict[str, Any] = {"text": settings.text_weight > 0, "context_gradient": settings.context_gradient}
    if settings.flow_weight and "latents" in turns:
        asked |= {"x": turns["latents"][:, :-1], "t": turns["times"][:, :-1]}
    output = policy(turns, settings, **asked)
    if output.velocity is None:
        return ActionLogProbs(output.text_log_prob)
    sampler, second = load_class("sampler", settings.sampler, SAMPLERS), float(time_grid(settings)[1])
    transition = sampler, settings.noise_level, second, settings.sigma_t_max, turns.get("latent_mask")
    flow = window_log_prob(output.velocity, turns["latents"], turns["times"], *transition)
    return ActionLogProbs(output.text_log_prob, *flow, output.unguided)


def gaussian_kl(policy: ActionLogProbs, reference: ActionLogProbs, turns: Turn) -> Tensor:
    """KL(N(m, std^2) || N(m_ref, std^2)) = mean over latent dimensions of (m - m_ref)^2 / (2 std^2), [M, W].

    Both transitions have one variance, std = sigma sqrt(-dt). Gradients reach the policy's mean alone. The
    published code divides by sigma^2 without dt (`variants.published_kl`).
    """
    mean, other, std = in_full_precision(policy.flow_mean, reference.flow_mean.detach(), policy.flow_std)
    return latent_mean((mean - other).square(), turns.get("latent_mask")) / (2 * std.square())


def text_kl(log_prob: Tensor, reference: Tensor) -> Tensor:
    """Estimate of KL(policy || reference) at each sampled token: k3, as in GRPO (arXiv 2402.03300, eq. 4).

    k3 = exp(d) - d - 1 with d = reference - log_prob, [..., L]; never negative, and its mean over the
    policy's tokens is the KL. Its gradient, as a loss on those tokens, is that of the other direction.
    """
    log_prob, reference = in_full_precision(log_prob, reference.detach())
    difference = reference - log_prob
    return torch.expm1(difference) - difference


def plain_log_ratio(policy: ActionLogProbs, turns: Turn) -> Tensor:
    """Published: log_prob - old log_prob of the rollout [M, W], both means over latent dimensions.

    With a mean that moved by d, sampled noise eps and std s it is mean(eps d / s - d^2 / (2 s^2)): below 0 on
    average, and the more so the smaller s is, so that one clip range does not suit all steps.
    """
    log_prob, old = in_full_precision(policy.flow_log_prob_mean, turns["flow_log_prob_mean"].detach())
    return log_prob - old


def clipped_policy_loss(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's clipped objective as a loss, element by element (arXiv 1707.06347, eq. 7).

    max(-A r, -A clip(r, 1 - clip, 1 + clip)) with r = exp(log_ratio), and A broadcast to it
    """
    (log_ratio,) = in_full_precision(log_ratio)
    ratio, gain = torch.exp(log_ratio), advantage.detach().to(log_ratio.dtype)
    return torch.maximum(-gain * ratio, -gain * ratio.clamp(1 - clip, 1 + clip))


class PolicyTerm(NamedTuple):
    """One space's share of the joint loss: E elements a turn, tokens of the intent or stochastic steps."""

    log_ratio: Tensor  # [M, E]
    mask: Tensor  # bool [M, E], the elements that exist
    advantage: Tensor  # [M]
    clip: float  # half width of this space's clip range
    weight: float = 1.0  # of this term
    kl: Tensor | None = None  # each element's distance to the reference, [M, E]
    kl_weight: float = 0.0  # of the distance, beside the policy loss


def joint_loss(terms: dict[str, PolicyTerm], trains: Tensor) -> tuple[Tensor, Numbers]:
    """Joint loss of Edit-R2: both spaces, "flow" and "text", in one backward; `trains` is bool [M].

    mean over ALL turns given of trains * sum over spaces of w * mean over elements of (L + kl_weight KL),
    with L the clipped policy loss

    Turns that do not train contribute nothing and are not renormalised away; neither are turns without an
    intent. Each term is a mean over its own elements, so the number of steps does not scale the text. Logged are
    each space's `loss` (unweighted), `clip_fraction` and `kl` over what trains.
    """
    total, numbers = torch.zeros((), device=trains.device), {}
    for name, term in terms.items():
        elements = term.mask.bool() & trains[:, None]
        # Masked before exp: padding may hold any number, and 0 * inf would poison the gradient.
        log_ratio = term.log_ratio.masked_fill(~elements, 0.0)
        loss = clipped_policy_loss(log_ratio, term.advantage[:, None], term.clip)
        if term.kl is not None and term.kl_weight:
            loss = loss + term.kl_weight * term.kl.masked_fill(~elements, 0.0)
        loss = (loss.masked_fill(~elements, 0.0).sum(-1) / elements.sum(-1).clamp(min=1)).mean()
        total, count = total + term.weight * loss, elements.sum().clamp(min=1)
        outside = (torch.expm1(log_ratio.detach()).abs() > term.clip) & elements
        numbers |= {f"{name}_loss": float(loss.detach()), f"{name}_clip_fraction": float(outside.sum() / count)}
        if term.kl is not None:
            numbers[f"{name}_kl"] = float(term.kl.detach().masked_fill(~elements, 0.0).sum() / count)
    return total, numbers


def policy_loss(
    now: ActionLogProbs, reference: ActionLogProbs | None, turns: Turn, settings: EditR2Settings
) -> tuple[Tensor, Numbers]:
    """The joint loss of M turns, with the distances to a reference where one is given."""
    terms = {}
    if now.flow_log_prob_mean is not None:
        log_ratio = load_class("ratio", settings.ratio, RATIOS)(now, turns)
        kl = reference and load_class("kl", settings.kl, FLOW_KLS)(now, reference, turns)
        weights = settings.flow_clip, settings.flow_weight, kl, settings.flow_kl
        every = torch.ones_like(log_ratio, dtype=torch.bool)
        terms["flow"] = PolicyTerm(log_ratio, every, turns["advantage"].float(), *weights)
    if now.text_log_prob is not None:
        log_ratio, kl = now.text_log_prob.float() - turns["text_log_prob"].float(), None
        if reference is not None and reference.text_log_prob is not None:
            kl = text_kl(now.text_log_prob, reference.text_log_prob)
        weights = settings.text_clip, settings.text_weight, kl, settings.text_kl
        gain = turns.get("text_advantage", turns["advantage"]).float()
        terms["text"] = PolicyTerm(log_ratio, turns["intent_mask"], gain, *weights)
    return joint_loss(terms, turns["loss_mask"] & turns["scored_mask"])


def select_trained(turns: Turn, settings: EditR2Settings) -> Tensor:
    """Which turns add to a policy gradient, bool [...]: those that are kept and scored.

    Where no distance to the reference is part of the loss, nor do turns without an advantage.
    """
    trains = turns["loss_mask"] & turns["scored_mask"]
    if settings.text_kl or settings.flow_kl:
        return trains
    return trains & (turns["advantage"].abs() > NO_ADVANTAGE)


def policy_gradient(
    policies: Policies, sessions: Turn, settings: EditR2Settings, first: bool
) -> tuple[Tensor, Numbers]:
    """The loss of a minibatch [S, K, ...]; before an iteration's `first` update ratios have to be 1."""
    turns, share = take_trained(sessions, select_trained(sessions, settings))
    now, reference = evaluate_actions(policies.model, turns, settings), None
    if settings.text_kl or settings.flow_kl:
        with torch.no_grad(), policies.reference() as frozen:
            reference = evaluate_actions(frozen, turns, settings)
    loss, numbers = policy_loss(now, reference, turns, settings)
    if first:
        numbers |= {f"{space}_ratio_error": error for space, error in ratio_errors(now, turns).items()}
    return loss * share, numbers


def ratio_errors(now: ActionLogProbs, turns: Turn) -> Numbers:
    """Largest |ratio - 1| of each space: before an update, how far rollout and training disagree."""
    errors = {}
    if now.text_log_prob is not None:
        difference = (now.text_log_prob - turns["text_log_prob"]).detach()
        errors["text"] = torch.expm1(difference.masked_fill(~turns["intent_mask"], 0.0)).abs()
    if now.flow_log_prob_mean is not None:
        errors["flow"] = torch.expm1(now.flow_log_prob_mean - turns["flow_log_prob_mean"]).detach().abs()
    return {space: float(error.max()) if error.numel() else 0.0 for space, error in errors.items()}
