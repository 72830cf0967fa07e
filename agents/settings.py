"""Settings of learning, declared once; Hydra's schema, `--help`, docs and checks read these fields. No torch.

What can be chosen by name stands here as "module:Name"; any of these names may also be written so, to use one
of your own.
"""

from dataclasses import dataclass
from pathlib import Path

from editenv.settings import setting


def _of(module: str, **names: str) -> dict[str, str]:
    """Places "module:Name" by name, of what stands in a module of this folder."""
    return {name: f"editenv.agents.{module}:{attribute}" for name, attribute in names.items()}


OBJECTIVES = (
    _of("objective", policy="POLICY_GRADIENT")
    | _of("nft", nft="NFT")
    | _of("sft", supervised="SUPERVISED", rft="REJECTION")
)
ADVANTAGES = _of("edit_r2", pooled="pooled") | _of(
    "variants", turn="per_turn", return_to_go="return_to_go", broadcast="broadcast", fused="fused"
)
FILTERS = _of("edit_r2", first_failure="first_failure") | _of(
    "variants", exclude="exclude", threshold="below_threshold", none="no_filter"
)
SAMPLERS = _of("flow", flow_sde="flow_sde_step", cps="cps_step")
WINDOWS = _of("flow", random="random_window", fixed="fixed_window", sliding="sliding_window")
FLOW_KLS = _of("edit_r2", gaussian="gaussian_kl") | _of("variants", published="published_kl", velocity="velocity_kl")
RATIOS = _of("edit_r2", plain="plain_log_ratio") | _of("variants", guard="guarded_log_ratio")
X0_LOSSES = _of("sft", bounded="x0_loss") | _of("nft", adaptive="adaptive_x0_loss")


@dataclass(kw_only=True)
class GenerationSettings:
    """How a policy generates a turn, in training and in evaluation."""

    context: str = setting(
        "current",
        "interleaved reads all earlier images and intents, as published; current the transcript or the "
        "current image and its intent alone",
        choices=("current", "interleaved"),
    )
    intent_from_turn: int = setting(1, "first turn, from 1, at which an intent is written, not the user's words", ge=1)
    max_intent_tokens: int = setting(20, "most tokens of an intent, the stop token included", ge=1)
    temperature: float = setting(0.9, "of the intent's tokens; 0 takes the likeliest", ge=0)
    steps: int = setting(5, "steps of the flow from noise to image", ge=1)
    shift: float = setting(2.0, "of the time grid; above 1 spends more steps near the noise", gt=0)
    text_guidance: float = setting(1.0, "scale of guidance by the text; 1 is off", ge=0)
    image_guidance: float = setting(1.0, "scale of guidance by the images; 1 is off", ge=0)
    guidance_renorm: str = setting(
        "text_channel",
        "whose norms guidance may not enlarge: each token's before or after the images' term, or all together",
        choices=("text_channel", "channel", "global"),
    )
    guidance_renorm_min: float = setting(0.0, "smallest factor that a norm is scaled by", ge=0, le=1)
    guidance_low: float = setting(0.0, "guidance acts at times above it", ge=0, lt=1)
    guidance_high: float = setting(1.0, "and up to it", gt=0, le=1)
    prompts: str | None = setting(None, "YAML file of prompts and questions, for BAGEL; null for the model's own")
    question: str = setting(
        "none",
        "which question BAGEL is asked for an intent: for memory of constraints (cm), references (cu), or both (none)",
        choices=("none", "cm", "cu"),
    )


@dataclass(kw_only=True)
class EditR2Settings(GenerationSettings):
    """Edit-R2 (arXiv 2606.05950): how sessions are sampled and the policy learns from them."""

    # Rollout: W stochastic steps a turn, all others are steps of the ODE.
    sampler: str = setting("flow_sde", "transition of the stochastic steps: flow_sde, cps or package.module:Name")
    noise_level: float = setting(0.9, "a of the stochastic steps", ge=0)
    sigma_t_max: float | None = setting(
        0.96, "bound of the time inside sigma; null for the published rule", gt=0, le=1
    )
    window: int = setting(2, "stochastic steps a turn, W; 0 where the objective needs none", ge=0)
    window_low: int = setting(0, "first step at which the window may start", ge=0)
    window_high: int = setting(2, "last step at which the window may start", ge=0)
    window_placement: str = setting("random", "where it starts: random, fixed (first step), sliding (MixGRPO)")
    window_every: int = setting(25, "iterations that a sliding window rests at a step", ge=1)
    shared_noise: bool = setting(True, "whether a group's images of a turn start from one noise")
    fallbacks_train: bool = setting(True, "whether tokens of intents that could not be used train")
    branch_from_sibling: bool = setting(False, "after a failure a row samples turns from clean states of its group")
    # Advantages and filter.
    advantage: str = setting("pooled", "pooled, turn, return_to_go, broadcast, fused or package.module:Name")
    advantage_clip: float = setting(5.0, "bound of the advantages", gt=0)
    advantage_std: str = setting("batch", "whose std advantages are divided by", choices=("batch", "group"))
    filter: str = setting(
        "first_failure", "what trains: first_failure, exclude, threshold, none or package.module:Name"
    )
    filter_threshold: float = setting(0.5, "a turn has failed below it in IF, for filter=threshold", ge=0, le=1)
    # Joint loss.
    text_weight: float = setting(1.0, "of the text's loss; 0 freezes the text's parameters", ge=0)
    flow_weight: float = setting(1.0, "of the flow's loss; 0 freezes the flow's parameters", ge=0)
    text_clip: float = setting(0.2, "half width of the text ratio's clip range", ge=0)
    flow_clip: float = setting(1e-3, "half width of the flow ratio's clip range", ge=0)
    text_kl: float = setting(0.0, "weight of the text's KL to the reference", ge=0)
    flow_kl: float = setting(0.0, "weight of the flow's KL to the reference", ge=0)
    kl: str = setting("gaussian", "which KL the flow's is: gaussian, published or velocity")
    ratio: str = setting("plain", "the flow's log-ratio: plain, or guard (GRPO-Guard)")
    context_gradient: bool = setting(False, "whether gradients flow through the context; published: false")
    # Update.
    text_rate: float = setting(3e-4, "learning rate of the text's parameters", ge=0)
    flow_rate: float = setting(3e-5, "learning rate of the flow's parameters", ge=0)
    text_scope: str = setting(
        "expert",
        "which parameters text updates reach: all of the text's, or those that no image reads",
        choices=("expert", "text_only"),
    )
    clip_text_advantage: bool = setting(True, "whether advantage_clip bounds the text's, too; published: false")
    whole_groups: bool = setting(False, "whether an update takes whole groups, as published, or sessions of any group")
    beta2: float = setting(0.99, "AdamW's second beta", gt=0, lt=1)
    updates_per_iteration: int = setting(2, "optimiser steps an iteration; with 1 no clip ever acts", ge=1)
    max_grad_norm: float = setting(1.0, "largest gradient norm, of the text's and the flow's parameters each", gt=0)


@dataclass(kw_only=True)
class AlgorithmSettings(EditR2Settings):
    """Everything in the group `algorithm`: Edit-R2, the other objectives, and how the trainer computes."""

    objective: str = setting("policy", "what is learnt: policy, nft, supervised, rft or package.module:Name")
    behaviour: str = setting(
        "policy",
        "who plays: policy; oracle_intents or oracle_images: rules give that half; oracle: both",
        choices=("policy", "oracle_intents", "oracle_images", "oracle"),
    )
    # Objectives that noise finished images (nft, supervised, rft).
    times: int = setting(2, "times of the flow at which a finished image is learnt", ge=1)
    x0_loss: str = setting("bounded", "distance of the predicted image, for objective=nft: bounded or adaptive")
    nft_beta: float = setting(1.0, "how far nft's implicit policies lie from the one that sampled", gt=0)
    nft_range: float = setting(5.0, "advantage that nft counts as certainly better", gt=0)
    nft_decay: float = setting(0.0, "highest decay of the average that samples for nft; 0: the policy", ge=0, lt=1)
    nft_decay_rise: float = setting(0.001, "growth of that decay an iteration", gt=0)
    # Trainer.
    schedule: str = setting("constant", "of the rates; others fall to zero", choices=("constant", "linear", "cosine"))
    lora_rank: int = setting(0, "of the adapters; 0 trains the weights themselves", ge=0)
    lora_alpha: float | None = setting(None, "adapters are scaled by alpha / rank; null for twice the rank", gt=0)
    recompute: bool = setting(False, "whether the training forward computes the old log-probs anew")
    precision: str = setting("float32", "of the network's arithmetic", choices=("float32", "bfloat16"))
    gradient_checkpointing: bool = setting(False, "whether layers run again on the way back, to save memory")
    chunk_sessions: int | None = setting(None, "most sessions of a gradient at a time; null for a minibatch", ge=1)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything about a training but the policy and the environment; what each is, `TrainConfig` says."""

    out: Path
    algorithm: AlgorithmSettings
    iterations: int
    groups: int
    group_size: int
    save_every: int
    seed: int = 0
    sessions: int | None = None
    report_to: tuple[str, ...] = ()
    intent_form: str = "free"

    def __post_init__(self) -> None:
        """Raises ValueError where numbers do not fit together."""
        updates, sessions = self.algorithm.updates_per_iteration, self.groups * self.group_size
        for name in ("iterations", "groups", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.sessions is not None and self.sessions < self.groups:
            raise ValueError(
                f"sessions is {self.sessions}, expected at least as many as groups, {self.groups}, or null"
            )
        shared = f"groups * group_size = {sessions}"
        if self.algorithm.whole_groups:
            shared, sessions = f"groups = {self.groups} with whole_groups=true", self.groups
        if updates < 1 or sessions % updates:
            raise ValueError(f"updates_per_iteration is {updates}, expected a divisor of {shared}")
