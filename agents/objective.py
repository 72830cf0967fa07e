"""What may be learnt from a rollout, and what surrounds it: freezing, optimiser groups, recomputing, checks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from editenv.agents.edit_r2 import (
    Numbers,
    evaluate_actions,
    policy_gradient,
    policy_loss,
    ratio_errors,
    select_trained,
    time_grid,
)
from editenv.agents.policy import JointPolicy, Policies, PolicyOutput, Turn, take_trained
from editenv.agents.resume import TrainingAborted
from editenv.agents.settings import (
    ADVANTAGES,
    FILTERS,
    FLOW_KLS,
    OBJECTIVES,
    RATIOS,
    SAMPLERS,
    WINDOWS,
    X0_LOSSES,
    AlgorithmSettings,
    EditR2Settings,
)
from editenv.registry import load_class, load_function


@dataclass(frozen=True)
class Objective:
    """One way to learn from rollouts, a name in `settings.OBJECTIVES` or "package.module:Name".

    Attributes:
        loss: (policies, sessions [S, K, ...], settings, whether it is the iteration's first update) -> a mean
            over the sessions' turns, and numbers for the log.
        select: (turns, settings) -> which of them the loss uses, bool.
        prepare: (policy, sessions, settings) -> further tensors [S, K, ...], computed once after a rollout.
        measure: (policies, sessions, settings) -> numbers for the log, before the first update.
        check: (the loss's numbers, settings), before the first update; stops a run that cannot be right.
        behaviours: who may have played.
        needs_window: whether images have to have stochastic steps.
        distances: names of the flow KLs that the loss can hold; None for any.
    """

    loss: Callable[[Policies, Turn, AlgorithmSettings, bool], tuple[Tensor, Numbers]]
    select: Callable[[Turn, AlgorithmSettings], Tensor] = select_trained
    prepare: Callable[[Any, Turn, AlgorithmSettings], Turn] = lambda policy, sessions, settings: {}
    measure: Callable[[Policies, Turn, AlgorithmSettings], Numbers] = lambda policies, sessions, settings: {}
    check: Callable[[Numbers, AlgorithmSettings], None] = lambda numbers, settings: None
    behaviours: tuple[str, ...] = ("policy", "oracle_intents", "oracle_images")
    needs_window: bool = False
    distances: tuple[str, ...] | None = ()


@torch.no_grad()
def measured_kl(policies: Policies, sessions: Turn, settings: EditR2Settings) -> Numbers:
    """Distances to the reference on a few sessions, where the loss does not hold them."""
    if settings.text_kl or settings.flow_kl or not (settings.text_weight or settings.window):
        return {}
    few, _ = take_trained({n: v[:8] for n, v in sessions.items()}, torch.ones_like(sessions["loss_mask"][:8]))
    now = evaluate_actions(policies.plain, few, settings)
    with policies.reference() as frozen:
        reference = evaluate_actions(frozen, few, settings)
    _, numbers = policy_loss(now, reference, few, settings)
    return {name: value for name, value in numbers.items() if name.endswith("_kl")}


def check_ratio(numbers: Numbers, settings: EditR2Settings) -> None:
    """Stops a run whose |ratio - 1| before the first update is above a tenth of the clip range, or 1e-4."""
    for space, clip in (("text", settings.text_clip), ("flow", settings.flow_clip)):
        error, bound = numbers.get(f"{space}_ratio_error", 0.0), min(clip / 10, 1e-4)
        if not error <= bound:
            raise TrainingAborted(
                f"before the first update the {space} ratio differs from 1 by {error:.2e}, expected at most "
                f"{bound:.0e}: rollout and training compute other log-probs (dtype, kernels, batch shape); "
                "where that is rounding alone, recompute=true takes those of training"
            )


def check_rounding(space: str, error: float) -> None:
    """Stops a run whose ratio before an update is off 1 by more than rounding.

    Neighbouring bfloat16 numbers between 16 and 32, where logits of large models lie, are 1/8 apart:
    log-probs of single tokens may be off by several tenths where other kernels compute them.
    """
    most = 1.0 if torch.is_autocast_enabled("cuda") else 1e-2
    if not error <= most:
        raise TrainingAborted(
            f"the {space} ratio between rollout and training differs from 1 by {error:.2e}, expected at most "
            f"{most:.0e}: they do not compute the same thing"
        )


POLICY_GRADIENT = Objective(policy_gradient, measure=measured_kl, check=check_ratio, needs_window=True, distances=None)


@torch.no_grad()
def recompute_old_log_probs(
    policy: Callable[..., PolicyOutput], minibatches: Sequence[Turn], settings: EditR2Settings
) -> Numbers:
    """Replaces the rollout's log-probs and means, in place, by those of the training forward.

    Kernels and batch shapes then are those of the update, so that ratios are 1 before the first one, however
    tight the clip. Logs `text_rollout_error` and `flow_rollout_error`, the largest |ratio - 1| that was replaced.
    """
    largest: Numbers = {}
    for sessions in minibatches:
        trained = select_trained(sessions, settings)
        if not trained.any():
            continue
        turns, _ = take_trained(sessions, trained)
        now = evaluate_actions(policy, turns, settings)
        for space, error in ratio_errors(now, turns).items():
            largest[space] = max(largest.get(space, 0.0), error)
            check_rounding(space, error)
        for name in ("text_log_prob", "flow_log_prob_mean", "flow_mean"):
            value = getattr(now, name)
            if value is not None:
                sessions[name][trained] = value.to(sessions[name].dtype)
    return {f"{space}_rollout_error": error for space, error in largest.items()}


def freeze(policy: JointPolicy, settings: EditR2Settings) -> None:
    """Leaves gradients to what trains; a weight of 0 alone leaves a half gradients through attention."""
    reached = policy.text_parameters(settings.text_scope)
    for name, parameter in policy.named_parameters():
        flow = policy.parameter_space(name) == "flow"
        if not (settings.flow_weight > 0 if flow else settings.text_weight > 0 and reached(name)):
            parameter.requires_grad_(False)


def parameter_groups(policy: JointPolicy, settings: EditR2Settings) -> list[dict[str, Any]]:
    """AdamW groups of what trains, "text" and "flow", each with its rate; an empty one is left out."""
    groups = []
    for space, rate in (("text", settings.text_rate), ("flow", settings.flow_rate)):
        named = policy.named_parameters()
        chosen = [p for name, p in named if p.requires_grad and policy.parameter_space(name) == space]
        if chosen:
            groups.append({"params": chosen, "lr": rate, "weight_decay": 1e-4, "name": space})
    return groups


def clip_gradients(groups: Iterable[dict[str, Any]], max_norm: float) -> Numbers:
    """Bounds each group's gradient norm, so that no space shrinks the other's step; the norms before."""
    norms = {}
    for group in groups:
        norm: Any = nn.utils.clip_grad_norm_(group["params"], max_norm)
        norms[group["name"]] = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
    return norms


def check_algorithm(settings: AlgorithmSettings) -> Objective:
    """The objective; ValueError where a name is not known or settings do not fit together."""
    objective: Any = load_class("objective", settings.objective, OBJECTIVES)
    if not isinstance(objective, Objective):
        raise ValueError(f"objective is {settings.objective!r}, a {type(objective).__name__}, expected an Objective")
    registries = {"advantage": ADVANTAGES, "filter": FILTERS, "sampler": SAMPLERS, "window_placement": WINDOWS}
    for kind, registry in (registries | {"kl": FLOW_KLS, "ratio": RATIOS, "x0_loss": X0_LOSSES}).items():
        load_function(kind, getattr(settings, kind), registry)
    _check_window(settings, objective)
    _check_weights(settings)
    if settings.behaviour not in objective.behaviours:
        fitting = " or ".join(repr(name) for name in objective.behaviours)
        raise ValueError(
            f"behaviour is {settings.behaviour!r}, expected {fitting} for objective {settings.objective!r}"
        )
    for name, given in (("text_weight", "oracle_intents"), ("flow_weight", "oracle_images")):
        if settings.behaviour == given and getattr(settings, name):
            raise ValueError(f"{name} is {getattr(settings, name)}, expected 0 where behaviour is {given!r}")
    if settings.branch_from_sibling and settings.behaviour == "oracle":
        raise ValueError("behaviour is 'oracle' with branch_from_sibling=true, expected 'policy'")
    if objective.distances is not None:
        if settings.recompute or (not objective.distances and (settings.text_kl or settings.flow_kl)):
            raise ValueError(
                f"objective is {settings.objective!r}, expected 'policy' where text_kl, flow_kl or recompute is set"
            )
        if settings.flow_kl and settings.kl not in objective.distances:
            fitting = " or ".join(map(repr, objective.distances))
            raise ValueError(f"kl is {settings.kl!r}, expected {fitting} for objective {settings.objective!r}")
    if settings.nft_decay and settings.objective != "nft":
        raise ValueError(f"nft_decay is {settings.nft_decay}, expected 0 for objective {settings.objective!r}")
    return objective


def _check_window(settings: AlgorithmSettings, objective: Objective) -> None:
    low, high, window = settings.window_low, settings.window_high, settings.window
    if objective.needs_window and settings.flow_weight and not window:
        raise ValueError(f"window is 0, expected 1 or more for objective {settings.objective!r}")
    if not low <= high <= settings.steps - window:
        raise ValueError(
            f"window is {window} with starts {low} to {high}, expected all its steps inside the grid's "
            f"{settings.steps} steps"
        )
    if not window:
        return
    if not settings.noise_level:
        raise ValueError(
            f"algorithm.noise_level is 0 with algorithm.window {window}, expected above 0: steps without "
            "noise have no density"
        )
    if settings.kl == "published" and settings.sampler == "cps":
        raise ValueError(
            "kl is 'published' with sampler 'cps', expected 'gaussian': there the published distance leaves "
            "no step size out"
        )
    # One step at each end of the window, so that a sampler that cannot make it says so before anything runs.
    times, nothing = time_grid(settings), torch.zeros(1, 1, 1)
    sampler, level = load_class("sampler", settings.sampler, SAMPLERS), (settings.noise_level, float(times[1]))
    for step in (low, high + window - 1):
        sampler(nothing, nothing, times[step], times[step + 1], *level, settings.sigma_t_max)


def _check_weights(settings: AlgorithmSettings) -> None:
    for of in ("weight", "rate"):
        if not any(getattr(settings, f"{space}_{of}") for space in ("text", "flow")):
            raise ValueError(
                f"algorithm.text_{of} and algorithm.flow_{of} are both 0, expected one above 0: nothing would train"
            )
    if settings.lora_rank and settings.text_scope != "expert":
        raise ValueError(
            f"algorithm.text_scope is {settings.text_scope!r} with algorithm.lora_rank {settings.lora_rank}, "
            "expected 'expert': adapters take the whole expert"
        )
