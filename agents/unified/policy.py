"""The unified model as a JointPolicy: prompts, contexts that grow over turns, checkpoints."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from editenv.agents.flow import Velocity
from editenv.agents.policy import ContextCache, GeneratedIntents, JointPolicy, PolicyOutput, Turn
from editenv.agents.settings import GenerationSettings
from editenv.agents.unified.autoencoder import CellAutoencoder
from editenv.agents.unified.context import Block, Context, ImageBlock, TextBlock, right_aligned
from editenv.agents.unified.guidance import Guidance, GuidanceContexts, build_guidance_contexts, predict_velocity
from editenv.agents.unified.model import UnifiedModel, generate_text, prompt_logits
from editenv.agents.weights import load_weights, reading
from editenv.protocols import Observations
from editenv.types import Image

if TYPE_CHECKING:
    from editenv.vector import MICEEditVectorEnv

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints"
"""Folder of the checkpoints that come with the package."""

_GENERATION = ("_moe_gen", "vae2llm", "llm2vae", "time_embedder", "latent_pos_embed", "source2llm")
_BEHIND_KEYS = ("self_attn.q_proj", "self_attn.q_norm", "self_attn.o_proj", "mlp", "post_attention_layernorm")
_SESSIONS = 32  # whose transcripts are measured to see whether a context fits


class IntentContext(NamedTuple):
    """What has been read before the transcript, and the transcript itself."""

    before: Context
    transcript: TextBlock


class ImageContext(NamedTuple):
    """What images are generated from: contexts for the guidance, and the current image's latents."""

    contexts: GuidanceContexts
    source: Tensor | None
    guidance: Guidance
    grid: tuple[int, int] | None = None  # rows and columns of the new image's tokens; None for a square


class UnifiedPolicy(JointPolicy):
    """A unified model with its tokenizer and its autoencoder, which is frozen; `name` is what it was loaded as.

    Tensors of a turn: `source` [B, N, C]; `transcript_ids`, `transcript_mask` [B, L1], padding on the left;
    `condition_ids`, `condition_mask` [B, L3], the intent that the image follows.
    """

    history: tuple[str, ...] = ("source", "condition_ids", "condition_mask")
    image_positions = 1  # rope positions that an image takes
    _no_split_modules = UnifiedModel._no_split_modules

    def __init__(
        self, model: UnifiedModel, autoencoder: CellAutoencoder, tokenizer: PreTrainedTokenizerFast, name: str = ""
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.config, self.generation_config = model.config, model.generation_config
        # In a tuple, torch does not see it: it is no part of the weights that are trained, copied or sharded.
        self._frozen = (autoencoder,)

    @property
    def autoencoder(self) -> CellAutoencoder:
        """Between pixels and latents, on the model's device."""
        coder = self._frozen[0]
        if coder.device != self.device:
            torch.nn.Module.to(coder, self.device)  # in place
        return coder

    # Turns

    def _tensors(self, name: str, block: TextBlock) -> Turn:
        return {f"{name}_ids": block.ids.to(self.device), f"{name}_mask": block.full_mask.to(self.device)}

    def observe(self, observations: Observations) -> Turn:
        prompt = self.transcript_block(observations["transcript"])
        return self._tensors("transcript", prompt) | {"source": self.encode_images(observations["image"])}

    def encode_intents(self, intents: Sequence[str]) -> Turn:
        return self._tensors("condition", intent_block(self.tokenizer, intents))

    def encode_answers(self, intents: Sequence[str]) -> Turn:
        return self._tensors("intent", answer_block(self.tokenizer, intents))

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Latents, float32 whatever the model computes in."""
        with torch.autocast(self.device.type, enabled=False):
            return self.autoencoder.encode(torch.from_numpy(np.stack(list(images))).to(self.device))

    @torch.no_grad()
    def decode_images(self, latents: Tensor) -> list[Image]:
        """Near white, bfloat16's steps are as large as a byte's."""
        with torch.autocast(latents.device.type, enabled=False):
            return list(self.autoencoder.decode(latents).cpu().numpy())

    # What models of this kind may do in another way

    def transcript_block(self, transcripts: Sequence[Sequence[str]]) -> TextBlock:
        """Everything the user said so far as a prompt for the intent, padded on the left."""
        return transcript_block(self.tokenizer, transcripts)

    def usable(self, text: str, ended: bool) -> str | None:
        """The intent in what was written; None where it is empty or never ended."""
        return text if text and ended else None

    def image_blocks(self, images: Turn, present: Tensor | None = None) -> list[Block]:
        """What is read of images, whose tensors have the names in `history`; `present` as in ImageBlock."""
        return [ImageBlock(images["source"], self.grid(images), present)]

    def grid(self, images: Turn) -> tuple[int, int] | None:
        """Rows and columns of an image's latent tokens; None for a square."""
        return None

    # Contexts

    def past_blocks(self, turn: Turn) -> list[Block]:
        """Earlier images and intents, oldest first; rows with fewer turns begin later."""
        blocks: list[Block] = []
        places = turn["past_there"].shape[1] if "past_there" in turn else 0
        for place in range(places):
            there = turn["past_there"][:, place]
            if there.any():
                past = {name: turn[f"past_{name}"][:, place] for name in self.history}
                intent = _trimmed(past["condition_ids"], past["condition_mask"])
                blocks += [*self.image_blocks(past, None if there.all() else there), intent]
        return blocks

    def new_cache(self, rows: int, settings: GenerationSettings) -> GrowingCache | None:
        """With context=interleaved no image and no intent is read twice."""
        if settings.context != "interleaved":
            return None
        return GrowingCache(self.model, rows, images_dropped=settings.image_guidance != 1)

    @torch.no_grad()
    def intent_context(self, turn: Turn, settings: GenerationSettings, cache: ContextCache | None) -> IntentContext:
        """Nothing before the transcript, or everything up to the current image."""
        transcript = TextBlock.masked(turn["transcript_ids"], turn["transcript_mask"])
        if isinstance(cache, GrowingCache):
            return IntentContext(cache.read_image(self.image_blocks(turn)), transcript)
        interleaved = settings.context == "interleaved"
        blocks = [*self.past_blocks(turn), *self.image_blocks(turn)] if interleaved else []
        return IntentContext(self.model.build_context(blocks, len(turn["source"])), transcript)

    @torch.no_grad()
    def image_context(self, turn: Turn, settings: GenerationSettings, cache: ContextCache | None) -> ImageContext:
        """The current image and the intent, after all earlier ones with context=interleaved."""
        guidance = guidance_of(settings)
        intent = TextBlock.masked(turn["condition_ids"], turn["condition_mask"])
        if isinstance(cache, GrowingCache):
            contexts = cache.read_intent(intent, text_dropped=guidance.text != 1)
        else:
            past = self.past_blocks(turn) if settings.context == "interleaved" else []
            blocks = [*past, *self.image_blocks(turn), intent]
            contexts = build_guidance_contexts(self.model, blocks, len(turn["source"]), guidance)
        source = turn["source"] if self.model.config.source_channel else None
        return ImageContext(contexts, source, guidance, self.grid(turn))

    # Generation

    @torch.no_grad()
    def generate_intents(
        self, context: IntentContext, settings: GenerationSettings, uniforms: Tensor | None
    ) -> GeneratedIntents:
        """Tokens and words; an intent that is empty or never ended cannot be used."""
        if context.before.length:
            read = context.before.copy()
            logits = prompt_logits(self.model, read, context.transcript)
        else:
            read, logits = self._read_once(context.transcript)
        draws = None if uniforms is None else uniforms.to(self.device)
        limit, temperature = settings.max_intent_tokens, settings.temperature
        written = generate_text(self.model, read, logits, limit, temperature, uniforms=draws)
        texts: list[str | None] = []
        for ids, mask in zip(written.ids, written.mask, strict=True):
            tokens = ids[mask].tolist()
            text = self.tokenizer.decode(tokens, skip_special_tokens=True).strip()
            texts.append(self.usable(text, tokens[-1] == self.tokenizer.eos_token_id))
        return GeneratedIntents(written.ids, written.mask, written.log_prob, texts)

    def _read_once(self, transcript: TextBlock) -> tuple[Context, Tensor]:
        """A context of each row's transcript and the logits [B, V] behind it, where nothing precedes it.

        A group's sessions mostly have the same transcript: each one is read once and its row selected.
        """
        place: dict[tuple[int, ...], int] = {}
        rows = [place.setdefault(tuple(ids), len(place)) for ids in transcript.ids.tolist()]
        first = torch.tensor([rows.index(number) for number in range(len(place))], device=self.device)
        mask = None if transcript.mask is None else transcript.mask[first]
        context = self.model.new_context(len(place))
        logits = prompt_logits(self.model, context, TextBlock(transcript.ids[first], mask))
        index = torch.tensor(rows, device=self.device)
        return context.select(index), logits[index]

    def velocity(self, context: ImageContext) -> Velocity:
        contexts, source, guidance, grid = context
        return lambda x, t: predict_velocity(self.model, contexts, x, t, grid, source, guidance)[0]

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
        if not text and x is None:
            return PolicyOutput()
        current, interleaved = self.image_blocks(turn), settings.context == "interleaved"
        past = self.past_blocks(turn) if interleaved else []
        wanted: dict[str, Any] = {"context_gradient": context_gradient}
        if text:
            transcript = _trimmed(*right_aligned(turn["transcript_ids"], turn["transcript_mask"]), left=True)
            wanted |= {
                "text_context": [*past, *current, transcript] if interleaved else [transcript],
                "intent_ids": turn["intent_ids"],
                "intent_mask": turn["intent_mask"],
            }
        if x is not None:
            condition = _trimmed(turn["condition_ids"], turn["condition_mask"])
            wanted |= {
                "image_context": [*past, *current, condition],
                "x": x,
                "t": t,
                "source": turn["source"] if self.model.config.source_channel else None,
                "grid": self.grid(turn),
                "guidance": guidance_of(settings) if guided else Guidance(),
            }
        output = self.model(**wanted)
        log_prob = None
        if text:
            # Log-probs are those of the distribution that was sampled: of logits / temperature, in float32.
            every = torch.log_softmax(output.logits.float() / (settings.temperature or 1.0), -1)
            log_prob = every.gather(-1, turn["intent_ids"][..., None])[..., 0]
            log_prob = log_prob.masked_fill(~turn["intent_mask"], 0.0)
        return PolicyOutput(log_prob, output.velocity, output.unguided)

    def parameter_space(self, name: str) -> str:
        """The generation expert and what leads into and out of it is the flow's."""
        return "flow" if any(part in name for part in _GENERATION) else "text"

    def text_parameters(self, scope: str) -> Callable[[str], bool]:
        """For "text_only" the understanding expert's weights that change the text and nothing that an image reads.

        Images read the understanding expert through its keys and values. In the last layer these follow from
        what enters the layer, so its queries, its output projection and its MLP, the final norm and the output
        words are the text's alone.
        """
        if scope != "text_only":
            return super().text_parameters(scope)
        last = self.model.config.num_hidden_layers - 1
        parts = (*(f"layers.{last}.{part}." for part in _BEHIND_KEYS), "model.norm.", "lm_head.")
        return lambda name: self.parameter_space(name) == "text" and any(part in name for part in parts)

    def lora_targets(self, text: bool, flow: bool) -> str:
        attention, mlp = r"(q|k|v|o)_proj", r"(gate|up|down)_proj"
        of_text = [rf"self_attn\.{attention}", rf"mlp\.{mlp}"] if text else []
        of_flow = [rf"self_attn\.{attention}_moe_gen", rf"mlp_moe_gen\.{mlp}"] if flow else []
        return rf".*language_model\.model\.layers\.\d+\.({'|'.join(of_text + of_flow)})"

    def set_gradient_checkpointing(self, on: bool) -> None:
        self.model.language_model.model.gradient_checkpointing = on

    # Files and limits

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Model and tokenizer; the autoencoder too, unless it is the shipped one."""
        weights = {name: value.to(dtype or value.dtype) for name, value in self.model.state_dict().items()}
        self.model.save_pretrained(folder, state_dict=weights)
        self.tokenizer.save_pretrained(folder)
        shipped, own = SHIPPED / "autoencoder", self.autoencoder.state_dict()
        if (shipped / "model.safetensors").is_file():
            known = load_autoencoder(shipped).state_dict()
            if own.keys() == known.keys() and all(torch.equal(own[name].cpu(), known[name]) for name in own):
                return
        self.autoencoder.save_pretrained(folder / "autoencoder")

    @classmethod
    def load(cls, folder: Path | None = None) -> UnifiedPolicy:
        """A checkpoint by name, run or folder, in float32, which has to be whole; nothing is unpickled."""
        place = checkpoint_folder(folder or "")
        coder = place / "autoencoder" if (place / "autoencoder").is_dir() else SHIPPED / "autoencoder"
        model = load_weights(UnifiedModel, place)
        with reading(place, "tokenizer"):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(place)
            if max(tokenizer.get_vocab().values()) >= model.config.vocab_size:
                raise ValueError(f"it has ids above the model's vocab_size {model.config.vocab_size}")
        return cls(model, load_autoencoder(coder), tokenizer, str(folder)).eval()

    def check_context_length(self, envs: MICEEditVectorEnv, settings: GenerationSettings) -> None:
        """See JointPolicy; also refuses images that the autoencoder cannot code."""
        self.check_image_size(envs.engine.world.image_shape)
        limit, taken = self.model.config.max_position_embeddings, context_length(self, envs, settings)
        if taken.needed > limit:
            raise ValueError(
                f"{taken.turns} turns in context {settings.context!r} take up to {taken.needed} positions "
                f"({taken.transcript} of the transcript, {taken.past} of earlier images and intents, "
                f"{taken.intent} of the intent), but model {self.name!r} has max_position_embeddings "
                f"{limit}; expected a suite with fewer turns, a smaller max_intent_tokens, context "
                "'current', or a model with more positions"
            )

    def check_image_size(self, shape: tuple[int, ...]) -> None:
        """Refuses images [H, W, 3] of a shape that the autoencoder cannot code."""
        size, side = shape[0], self.autoencoder.config.token_side
        if size % side:
            raise ValueError(f"size is {size}, expected a multiple of {side}, the pixels that a token codes")


class GrowingCache:
    """The interleaved context of B rows, which grows turn by turn: no image and no intent is read twice.

    The same blocks are appended in the same order as by a model that reads everything anew, so that what it
    holds equals what that one reads to the last bit. A row that goes on elsewhere takes the turns that it
    follows, of whichever rows, and no token is read again.

    Args:
        model: that reads.
        rows: B.
        images_dropped: whether the guidance needs a context without images.
    """

    def __init__(self, model: UnifiedModel, rows: int, images_dropped: bool) -> None:
        self.model = model
        self._all = Columns(model.new_context(rows))
        self._texts = Columns(model.new_context(rows)) if images_dropped else None

    def begin_turn(self, rows: Tensor) -> None:
        """See ContextCache."""
        self._all.begin(rows)
        if self._texts is not None:
            self._texts.begin(rows)

    def read_image(self, blocks: Sequence[Block]) -> Context:
        """Appends the current images; returns what intents follow, which the caller may grow."""
        for block in blocks:
            self.model.append(self._all.now, block)
        return self._all.now.copy()

    def read_intent(self, intent: TextBlock, text_dropped: bool) -> GuidanceContexts:
        """Appends the intents; the contexts are valid until the next turn begins."""
        before = self._all.now.copy() if text_dropped else None
        self.model.append(self._all.now, intent)
        if self._texts is None:
            return GuidanceContexts(self._all.now, before, None)
        self.model.append(self._texts.now, intent)
        return GuidanceContexts(self._all.now, before, self._texts.now)


class Columns:
    """What B rows have read in each turn, all of them as many tokens; `empty` has read nothing."""

    def __init__(self, empty: Context) -> None:
        self.now, self._empty = empty, empty
        self._turns: list[Context] = []
        self._begun = (0, empty.position)

    def begin(self, rows: Tensor) -> None:
        """Begins a turn, which `now` is to be grown by; rows as in ContextCache."""
        if len(self._turns) < rows.shape[1]:  # the turn that is over is kept
            self._turns.append(self.now.since(*self._begun))
        rows = rows.to(self._empty.valid.device)
        self.now = Context.joined(self._turns, rows) if self._turns else self._empty.copy()
        self._begun = (self.now.length, self.now.position)


# Prompts


def transcript_block(tokenizer: PreTrainedTokenizerFast, transcripts: Sequence[Sequence[str]]) -> TextBlock:
    """Everything the user said so far, then the start of the answer: <bos> round ... round ... <eos> <bos>.

    Padded on the left, so that the answer starts at the same place in every row.
    """
    texts = [" ".join(f"round {text}" for text in said) for said in transcripts]
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return _text_block(tokenizer, texts, [bos], [eos, bos], "left")


def intent_block(tokenizer: PreTrainedTokenizerFast, intents: Sequence[str]) -> TextBlock:
    """One intent a row, <bos> ... <eos>, padded on the right."""
    return _text_block(tokenizer, intents, [tokenizer.bos_token_id], [tokenizer.eos_token_id], "right")


def answer_block(tokenizer: PreTrainedTokenizerFast, intents: Sequence[str]) -> TextBlock:
    """Intents as answers that are learnt, ... <eos>, the stop token included, padded on the right."""
    return _text_block(tokenizer, intents, [], [tokenizer.eos_token_id], "right")


def _text_block(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], start: list[Any], end: list[Any], side: str
) -> TextBlock:
    """The tokens of texts between others, padded on one side."""
    ids: Any = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return padded_block([[*start, *own, *end] for own in ids], tokenizer.pad_token_id, side)


def padded_block(ids: Sequence[Sequence[int]], pad: Any, side: str) -> TextBlock:
    """Rows of token ids as one block, padded on one side."""
    rows = [torch.tensor(row) for row in ids]
    real = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    return TextBlock.masked(pad_sequence(rows, True, pad or 0, side), pad_sequence(real, True, False, side))


def guidance_of(settings: GenerationSettings) -> Guidance:
    """The guidance that settings ask for."""
    renorm: Any = settings.guidance_renorm
    interval = settings.guidance_low, settings.guidance_high
    return Guidance(settings.text_guidance, settings.image_guidance, renorm, settings.guidance_renorm_min, interval)


def _trimmed(ids: Tensor, mask: Tensor, left: bool = False) -> TextBlock:
    """Ids and mask [B, L] without the columns that are padding in every row, on one side."""
    used = mask.any(0).nonzero()
    if not len(used):
        return TextBlock(ids[:, :1], mask[:, :1])
    columns = slice(int(used.min()), None) if left else slice(0, int(used.max()) + 1)
    return TextBlock.masked(ids[:, columns], mask[:, columns])


# Checkpoints


def shipped_names() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/tokenizer.json"))


def checkpoint_folder(name: str | Path) -> Path:
    """The folder of a shipped checkpoint, of a run's newest weights, or the folder itself."""
    for folder in (SHIPPED / name, Path(name) / "model", Path(name)):
        if (folder / "model.safetensors").is_file():
            return folder
    near = difflib.get_close_matches(str(name), shipped_names()) or shipped_names()
    raise ValueError(
        f"model is {str(name)!r}, expected {' or '.join(near)}, a run or folder with model.safetensors, or "
        "package.module:Class of a JointPolicy"
    )


def load_autoencoder(folder: Path) -> CellAutoencoder:
    """The autoencoder of a folder, frozen, in float32."""
    return load_weights(CellAutoencoder, folder).requires_grad_(False)


# Lengths


class ContextLength(NamedTuple):
    """Rope positions that the last turn of a session takes at most; an image of any size takes one."""

    turns: int  # of the session
    past: int  # of earlier images and intents, and of the current image, where the intent is written from them
    transcript: int  # of everything the user said, as long as the longest of some sessions of the world
    intent: int  # of the turn itself
    image: int = 1  # of one image

    @property
    def needed(self) -> int:
        """In all, of writing the intent or of generating the image after it, whichever takes more."""
        generating = (
            max(self.past, self.image) + self.intent + 2 + 1
        )  # <bos> and <eos> around the intent, the new image
        return max(self.past + self.transcript + self.intent, generating)


def context_length(policy: UnifiedPolicy, envs: MICEEditVectorEnv, settings: GenerationSettings) -> ContextLength:
    """What sessions of the environments take at their full number of turns, with the longest intents."""
    world, turns = envs.engine.world, envs.engine.world.max_turns
    longest = 0
    for index in range(_SESSIONS):
        spec = world.session(envs.engine.split, 0, index)
        said = [spec.message(turn).text for turn in range(spec.turn_count)]
        length = policy.transcript_block([said]).ids.shape[1]
        # A user who does not follow the script may speak more often.
        longest = max(longest, -(-length * turns // len(said)))
    intent = settings.max_intent_tokens
    image = policy.image_positions
    past = (turns - 1) * (image + intent + 2) + image if settings.context == "interleaved" else 0
    return ContextLength(turns, past, longest, intent, image)
