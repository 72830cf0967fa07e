"""The joint policy loss over intents (tokens) and images (stochastic steps)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from editenv.agents.flow.transition import in_full_precision


def clipped_policy_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's clipped objective as a loss, element by element (arXiv 1707.06347, eq. 7).

    max(-A r, -A clip(r, 1 - clip, 1 + clip)) with r = exp(log_prob - old_log_prob)

    Args:
        log_prob: under the policy, any shape; gradients flow through it.
        old_log_prob: under the policy that sampled, in the same shape; detached.
        advantage: a scalar, or with as many dimensions as log_prob and broadcastable to it.
        clip: half width of the clip range, above 0.

    Returns:
        The loss of each element, in the shape of log_prob.

    Raises:
        ValueError: an advantage with fewer dimensions than log_prob, which could broadcast along the wrong
            one.
    """
    if advantage.ndim not in (0, log_prob.ndim):
        raise ValueError(
            f"advantage: got shape {tuple(advantage.shape)}, expected a scalar or the {log_prob.ndim} "
            f"dimensions of log_prob {tuple(log_prob.shape)}"
        )
    log_prob, old_log_prob = in_full_precision(log_prob, old_log_prob.detach())
    ratio = torch.exp(log_prob - old_log_prob)
    gain = advantage.detach().to(ratio.dtype)
    return torch.maximum(-gain * ratio, -gain * ratio.clamp(1 - clip, 1 + clip))


def clip_fraction(log_prob: Tensor, old_log_prob: Tensor, clip: float, mask: Tensor | None = None) -> Tensor:
    """Share of elements whose ratio lies outside the clip range, |r - 1| > clip.

    Args:
        log_prob: any shape.
        old_log_prob: in the same shape.
        clip: half width of the clip range.
        mask: bool in the same shape, the elements that count; None: all.

    Returns:
        Scalar, 0 to 1; 0 when no element counts.
    """
    outside = _ratio_minus_one(log_prob, old_log_prob, mask).abs() > clip
    counted = outside.numel() if mask is None else mask.sum().clamp(min=1)
    return outside.sum() / counted


def ratio_error(log_prob: Tensor, old_log_prob: Tensor, mask: Tensor | None = None) -> float:
    """Largest |r - 1|; before the first update it measures how far rollout and training disagree.

    Args:
        log_prob: any shape.
        old_log_prob: in the same shape.
        mask: bool in the same shape, the elements that count; None: all.

    Returns:
        0 or more; 0 when no element counts, NaN when a counted element is NaN.
    """
    error = _ratio_minus_one(log_prob, old_log_prob, mask).abs()
    return float(error.max()) if error.numel() else 0.0


@dataclass(frozen=True)
class PolicyTerm:
    """One space's share of the joint loss: E elements a turn, tokens of the intent or stochastic steps.

    Attributes:
        log_prob: under the policy, [..., E]; the leading dimensions are the turns.
        old_log_prob: under the policy that sampled, in the same shape.
        mask: bool in the same shape, the elements that exist; a turn without any has no such term.
        clip: half width of this space's clip range.
        weight: of this term in the joint loss.
        kl: each element's distance to the reference, in the same shape, or None.
        kl_weight: of the distance, beside the policy loss, inside this term.
    """

    log_prob: Tensor
    old_log_prob: Tensor
    mask: Tensor
    clip: float
    weight: float = 1.0
    kl: Tensor | None = None
    kl_weight: float = 0.0


@dataclass(frozen=True)
class JointLoss:
    """The scalar to minimise, and detached scalars for the log."""

    total: Tensor
    parts: dict[str, Tensor]


def joint_loss(
    flow: PolicyTerm | None, text: PolicyTerm | None, advantage: Tensor, keep: Tensor, valid: Tensor
) -> JointLoss:
    """Joint loss of Edit-R2 (arXiv 2606.05950): both spaces share one advantage and one backward.

    mean over ALL turns of keep valid (w_flow mean over steps of L_flow + w_text mean over tokens of L_text)
    with L = clipped policy loss + kl_weight KL

    Filtered and unscored turns contribute nothing and are not renormalised away; neither are turns without an
    intent. Each term has its own weight and is a mean over its own elements, so the number of steps does not
    scale the text.

    Args:
        flow: the stochastic steps of each turn's image, or None to train the text alone.
        text: the tokens of each turn's intent, or None to train the flow alone.
        advantage: [...], one value a turn.
        keep: bool [...], from the filter.
        valid: bool [...], False where a turn was not scored.

    Returns:
        The loss and, for each term present, `flow_` / `text_` with `loss` (of the turns given, unweighted),
        `kl`, `clip_fraction` (all over the elements that train) as detached scalars.

    Raises:
        ValueError: shapes that do not fit together, or no term at all.
    """
    terms = {name: term for name, term in (("flow", flow), ("text", text)) if term is not None}
    _check_shapes(terms, advantage, keep, valid)
    trains = keep.bool() & valid.bool()
    total = advantage.new_zeros((), dtype=torch.float32)
    parts: dict[str, Tensor] = {}
    for name, term in terms.items():
        elements = term.mask.bool() & trains[..., None]
        loss = _mean_over_turns(_element_loss(term, advantage, elements), elements)
        total = total + term.weight * loss
        parts[f"{name}_loss"] = loss.detach()
        parts[f"{name}_clip_fraction"] = clip_fraction(term.log_prob, term.old_log_prob, term.clip, elements)
        if term.kl is not None:
            known = term.kl.detach().masked_fill(~elements, 0.0)
            parts[f"{name}_kl"] = known.sum() / elements.sum().clamp(min=1)
    return JointLoss(total, parts)


def _check_shapes(terms: dict[str, PolicyTerm], advantage: Tensor, keep: Tensor, valid: Tensor) -> None:
    if not terms:
        raise ValueError("joint_loss: got neither flow nor text, expected at least one term")
    turns = tuple(advantage.shape)
    for name, shape in (("keep", keep.shape), ("valid", valid.shape)):
        if tuple(shape) != turns:
            raise ValueError(f"{name}: got shape {tuple(shape)}, expected {turns} as the advantages")
    for name, term in terms.items():
        for field in ("log_prob", "old_log_prob", "mask"):
            shape = getattr(term, field).shape
            if tuple(shape[:-1]) != turns or shape != term.log_prob.shape:
                raise ValueError(f"{name}.{field}: got shape {tuple(shape)}, expected {turns} and elements")


def _element_loss(term: PolicyTerm, advantage: Tensor, elements: Tensor) -> Tensor:
    # masked before exp: padding may hold any number, and 0 * inf would poison the gradient
    log_prob = term.log_prob.masked_fill(~elements, 0.0)
    old_log_prob = term.old_log_prob.masked_fill(~elements, 0.0)
    loss = clipped_policy_loss(log_prob, old_log_prob, advantage[..., None], term.clip)
    if term.kl is not None and term.kl_weight:
        loss = loss + term.kl_weight * term.kl.masked_fill(~elements, 0.0)
    return loss.masked_fill(~elements, 0.0)


def _mean_over_turns(values: Tensor, elements: Tensor) -> Tensor:
    return (values.sum(dim=-1) / elements.sum(dim=-1).clamp(min=1)).mean()


def _ratio_minus_one(log_prob: Tensor, old_log_prob: Tensor, mask: Tensor | None) -> Tensor:
    difference = (log_prob - old_log_prob).detach()
    return torch.expm1(difference if mask is None else difference.masked_fill(~mask.bool(), 0.0))
