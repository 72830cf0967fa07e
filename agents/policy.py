"""The seam: all that rollout, loss, evaluation and audit know of a model.

A `JointPolicy` is an nn.Module with two halves: an intent writer (autoregressive) and an image editor (flow).
The halves may share weights; one may be frozen, lie on another device or behind a server (`writer`,
`editor`). Turns reach a policy as tensors by name (`Turn`), most of which nobody else looks at. A whole model
is one file: examples/own_model.py, docs/models.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.random import PCG64, Generator, SeedSequence
from torch import Tensor, nn
from torch.nn.functional import pad

from editenv.agents.flow import SamplingPlan, Velocity, WindowSample, expand_to_latents, sample_ode, sample_window
from editenv.agents.settings import GenerationSettings
from editenv.protocols import Observations
from editenv.registry import import_object
from editenv.types import Image

if TYPE_CHECKING:
    from editenv.vector import MICEEditVectorEnv

Turn = dict[str, Tensor]
"""Turns as tensors by name, a row a turn: [B, ...] of B sessions' turns, [S, K, ...] of sessions' K turns.

Names and shapes are the policy's own, but for those that rollout and loss read:

- `source` [B, N, C]: latents of the current image; N tokens, row by row. Where images of several sizes share
  a batch they are padded to N tokens, and `latent_mask` [B, N] is True at real ones.
- `intent_ids`, `intent_mask` [B, L]: what was written, the stop token included.

Each row stands for itself: the trainer shuffles rows, takes some of them and pads every dimension but the
first on the right with zeros (False in masks), so masks say what is real.
"""


class GeneratedIntents(NamedTuple):
    """What an intent writer wrote; L is the length of the longest row."""

    ids: Tensor  # tokens, the stop token included, [B, L]
    mask: Tensor  # [B, L]
    log_prob: Tensor  # of each token under logits / temperature, 0 at padding, [B, L]
    texts: list[str | None]  # in words; None where an intent cannot be used (empty, or never ended)


class PolicyOutput(NamedTuple):
    """What `JointPolicy.forward` returns; what was not asked for is None."""

    text_log_prob: Tensor | None = (
        None  # of each intent token under logits / temperature, 0 at padding, float32 [M, L]
    )
    velocity: Tensor | None = None  # d x / d t at W noisy latents, guided, float32 [M, W, N, C]
    unguided: Tensor | None = None  # the same without guidance


class Policies(NamedTuple):
    """Whose forwards a loss may ask."""

    model: Callable[..., PolicyOutput]  # the policy as it is trained, wrapped by what spreads it over processes
    plain: Callable[..., PolicyOutput]  # the same weights, for what is only measured
    reference: Callable[[], AbstractContextManager[Callable[..., PolicyOutput]]]  # opens what training started from


class IntentWriter(Protocol):
    """The half that writes, when it generates."""

    def generate_intents(
        self, context: Any, settings: GenerationSettings, uniforms: Tensor | None
    ) -> GeneratedIntents:
        """Intents for B rows of what `JointPolicy.intent_context` returned.

        The only source of randomness are `uniforms`, numbers in [0, 1), [B, max_intent_tokens]; None at temperature 0.
        """
        ...


class ImageEditor(Protocol):
    """The half that generates images."""

    def sample_images(self, context: Any, noise: Tensor, plan: SamplingPlan) -> WindowSample:
        """Latents of edited images, and of the stochastic window where the plan has one.

        From noise at time 1, [B, N, C], under what `JointPolicy.image_context` returned.
        """
        ...


class ContextCache(Protocol):
    """What B rows have read so far, kept from turn to turn (a key-value cache, features of images)."""

    def begin_turn(self, rows: Tensor) -> None:
        """Select what the next turn follows: from which row each row goes on in each of k earlier turns.

        `rows` are int64 [B, k], -1 for none. A row that branched off a sibling goes on from what the sibling has read.
        """
        ...


class JointPolicy(nn.Module):
    """A model that writes intents and generates images, as rollouts sample it and the joint loss trains it.

    A turn runs: `observe`, `intent_context`, `generate_intents`, `encode_intents`, `image_context`,
    `sample_images`, `decode_images`. Contexts are the policy's own objects; by default they are the turn's
    tensors themselves. Training calls `forward`, and nothing else with gradient, since DDP and FSDP hook it.

    What training recomputes has to equal what sampling computed: the ratio is checked before every update.
    """

    history: tuple[str, ...] = ()
    """Names of the turn's tensors that later turns read too. With context=interleaved the rollout gives them
    to later turns as `past_NAME` [B, P, ...], the last of the P places being the turn before, zero where
    `past_there` [B, P] is False."""

    tokenizer: Any = None
    """Of transformers, where the policy has one; saved with checkpoints."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def configure(self, settings: GenerationSettings) -> None:
        """Take what `observe` needs of the settings, before anything is observed; ValueError for what fits not."""
        if settings.prompts is not None:
            raise ValueError(f"prompts is {settings.prompts!r}, expected null: {type(self).__name__} has no prompts")

    # Turns

    def observe(self, observations: Observations) -> Turn:
        """Tensors of turns before anything is written: `source`, and whatever the intent is written from."""
        raise NotImplementedError

    def encode_intents(self, intents: Sequence[str]) -> Turn:
        """Tensors of the intents that images are generated from."""
        raise NotImplementedError

    def encode_answers(self, intents: Sequence[str]) -> Turn:
        """`intent_ids` and `intent_mask` of given intents, which objective=supervised imitates."""
        raise NotImplementedError(f"{type(self).__name__} has no encode_answers, which imitation needs")

    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Latents [B, N, C] of uint8 images [H, W, 3]; float32 whatever the network computes in."""
        raise NotImplementedError

    def decode_images(self, latents: Tensor) -> list[Image]:
        """Images of latents [B, N, C]."""
        raise NotImplementedError

    # Contexts: built once a turn; all steps of the flow share them

    def new_cache(self, rows: int, settings: GenerationSettings) -> ContextCache | None:
        """A cache of so many rows for a rollout; None for policies that read everything anew in each turn."""
        return None

    def intent_context(self, turn: Turn, settings: GenerationSettings, cache: ContextCache | None) -> Any:
        """What intents are written from; called once in every turn, also where none is written."""
        return turn

    def image_context(self, turn: Turn, settings: GenerationSettings, cache: ContextCache | None) -> Any:
        """What images are generated from; called once in every turn, after `intent_context`."""
        return turn

    # Generation

    @property
    def writer(self) -> IntentWriter:
        """Who generates intents: this object, or one that does so on another device or behind a server."""
        return self

    @property
    def editor(self) -> ImageEditor:
        """Who generates images, likewise."""
        return self

    def generate_intents(
        self, context: Any, settings: GenerationSettings, uniforms: Tensor | None
    ) -> GeneratedIntents:
        """See `IntentWriter`."""
        raise NotImplementedError

    def velocity(self, context: Any) -> Velocity:
        """The guided velocity under a context, as a function of x [B, N, C] and t [B]."""
        raise NotImplementedError

    def sample_images(self, context: Any, noise: Tensor, plan: SamplingPlan) -> WindowSample:
        """See `ImageEditor`."""
        velocity = self.velocity(context)
        if plan.window:
            return sample_window(velocity, noise, plan)
        nothing = noise.new_zeros(len(noise), 0)
        return WindowSample(sample_ode(velocity, noise, plan.times), *[nothing] * 4)

    # Training

    def forward(
        self,
        turn: Turn,
        settings: GenerationSettings,
        *,
        text: bool = True,
        x: Tensor | None = None,
        t: Tensor | None = None,
        context_gradient: bool = False,
        guided: bool = True,
    ) -> PolicyOutput:
        """All that a loss needs of M turns, in one call.

        Asked for neither half it returns an empty PolicyOutput and reads no argument: so FSDP2 learns which module
        is the outermost one.

        Args:
            turn: tensors of the turns, [M, ...].
            settings: as the turns were sampled.
            text: whether log-probs of the intents are wanted.
            x: noisy latents at W times of every turn, [M, W, N, C]; None for no velocity.
            t: their times, [M, W].
            context_gradient: False builds all that precedes intent and image without gradient.
            guided: False leaves guidance out of `velocity`.
        """
        raise NotImplementedError

    def parameter_space(self, name: str) -> str:
        """Whose learning rate, gradient bound and freezing a parameter follows: "text" or "flow".

        The name is that of `named_parameters`, perhaps with prefixes and suffixes of wrappers and adapters.
        """
        raise NotImplementedError

    def text_parameters(self, scope: str) -> Callable[[str], bool]:
        """Which parameters text updates reach, as a test of their names.

        With scope "expert" they are all of the text's, with "text_only" those that no image reads.
        """
        if scope != "expert":
            raise ValueError(f"text_scope is {scope!r}, expected 'expert' for {type(self).__name__}")
        return lambda name: self.parameter_space(name) == "text"

    def lora_targets(self, text: bool, flow: bool) -> str | list[str]:
        """Modules that adapters are put on, as peft's `target_modules`."""
        raise NotImplementedError(f"{type(self).__name__} has no lora_targets, expected lora_rank 0")

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether layers run again on the way back, to keep less in memory."""
        if on:
            raise ValueError(f"{type(self).__name__} has no gradient checkpointing, expected false")

    # Files and limits

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Write all that `load` needs into a folder, without pickle; in a dtype, None leaves it as it is."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.to(dtype or value.dtype).contiguous() for name, value in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path | None = None) -> JointPolicy:
        """The policy of a folder; None for new weights."""
        policy = cls()
        if folder is not None:
            from safetensors.torch import load_file

            policy.load_state_dict(load_file(folder / "model.safetensors"))
        return policy.eval()

    def check_context_length(self, envs: MICEEditVectorEnv, settings: GenerationSettings) -> None:
        """Refuse sessions that outgrow the model, before anything heavy starts.

        A ValueError says how much they take, how much there is, and which settings to change.
        """


def load_policy(model: str | Path, device: str | torch.device = "cpu") -> JointPolicy:
    """A policy in float32, in BAGEL's layout in the files' precision; ValueError where there is none.

    Args:
        model: a shipped checkpoint, a run's or a model's folder, one in BAGEL's published layout; or
            "package.module:Class" for new weights,
            "package.module:Class:FOLDER" for those that its `save` wrote.
        device: where to put it.
    """
    if ":" not in str(model) or Path(model).exists():  # names and folders that name no class
        bagel = any((Path(model) / place / "llm_config.json").is_file() for place in ("model", "."))
        kind = "bagel:BagelPolicy" if bagel else "policy:UnifiedPolicy"
        return import_object("model", f"editenv.agents.unified.{kind}").load(Path(model)).to(device)
    module, name, *given = str(model).split(":", 2)
    kind = import_object("model", f"{module}:{name}")
    if not (isinstance(kind, type) and issubclass(kind, JointPolicy)):
        raise ValueError(f"model is {str(model)!r}, which is a {type(kind).__name__}, expected a class of JointPolicy")
    if not given or not given[0]:
        return kind.load(None).to(device)
    folder = next((path for path in (Path(given[0], "model"), Path(given[0])) if path.is_dir()), None)
    if folder is None:
        raise ValueError(f"model names the folder {given[0]!r}, which is not there")
    return kind.load(folder).to(device)


def widen_on_cpu(policy: JointPolicy, device: torch.device | None) -> JointPolicy:
    """The policy in float32 where it computes on a CPU, whose bfloat16 kernels round by a batch's shape.

    Log-probs of rollout and training would differ by several percent.
    """
    return policy.float() if device is None or device.type == "cpu" else policy


# Turns of different lengths in one tensor, and what came before them


def stack_turns(turns: Sequence[Turn]) -> Turn:
    """Tensors [S, ...] of K turns as [S, K, ...], padded on the right with zeros where sizes differ."""
    return {name: torch.stack(_padded([turn[name] for turn in turns]), 1) for name in turns[0]}


def gather_history(turns: Turn, index: Tensor, names: Sequence[str]) -> Turn:
    """What turns read of earlier ones: `past_NAME` [S, Q, P, ...] and `past_there`, see `JointPolicy.history`.

    Args:
        turns: tensors [S, K, ...].
        index: places s * K + k of P earlier turns for each of Q turns, oldest first, -1 for none, [S, Q, P].
        names: of the tensors.
    """
    there = index >= 0
    past = {"past_there": there.to(turns[names[0]].device)}
    for name in names:
        values = turns[name].flatten(0, 1)
        found, known = values[index.clamp(min=0).to(values.device)], there.to(values.device)
        past[f"past_{name}"] = found.masked_fill(~expand_to_latents(known, found), 0)
    return past


def stack_history(sessions: Sequence[Sequence[Turn]]) -> Turn:
    """The same for B sessions whose earlier turns are given one by one, each tensor [...]; {} for none."""
    rows, longest = [turn for past in sessions for turn in past], max(len(past) for past in sessions)
    if not longest:
        return {}
    index, start = torch.full((len(sessions), longest), -1), 0
    for row, past in enumerate(sessions):
        index[row, longest - len(past) :] = torch.arange(start, start + len(past))
        start += len(past)
    flat = {name: torch.stack(_padded([turn[name] for turn in rows]))[:, None] for name in rows[0]}
    found = gather_history(flat, index[:, None], list(rows[0]))
    return {name: value[:, 0] for name, value in found.items()}


def _padded(values: Sequence[Tensor]) -> list[Tensor]:
    """Tensors [B, ...] with each dimension but the first as long as the longest; [...] for single rows."""
    longest = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    missing = [[want - have for have, want in zip(value.shape, longest, strict=True)] for value in values]
    # torch's pad counts dimensions from the last one, a left and a right side each.
    sides = [[side for more in reversed(one) for side in (0, more)] for one in missing]
    return [pad(value, side) if any(side) else value for value, side in zip(values, sides, strict=True)]


def take_trained(sessions: Turn, trained: Tensor) -> tuple[Turn, float]:
    """The turns of sessions [S, K, ...] that train, [M, ...], and their share, as losses are means over all.

    Where none trains the first one stands for all: a distributed backward needs a loss in every process.
    """
    turns = {n: v.flatten(0, 1) for n, v in sessions.items() if n not in ("group_id", "rng_keys")}
    trained = trained.flatten()
    if not trained.any():
        return {name: value[:1] for name, value in turns.items()}, 1 / len(trained)
    return {name: value[trained] for name, value in turns.items()}, float(trained.double().mean())


# Random numbers as a function of a key such as (seed, iteration, session, rollout, turn), never of the batch


def normals(keys: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> Tensor:
    """Normal numbers, float32 [B, *shape]; each row a function of its own key."""
    return torch.from_numpy(np.stack([_generator(key).standard_normal(shape, np.float32) for key in keys]))


def uniforms(keys: Sequence[tuple[int, ...]], count: int) -> Tensor:
    """Numbers in [0, 1), float64 [B, count]; each row a function of its own key."""
    return torch.from_numpy(np.stack([_generator(key).random(count) for key in keys]))


def _generator(key: tuple[int, ...]) -> Generator:
    return Generator(PCG64(SeedSequence(key)))
