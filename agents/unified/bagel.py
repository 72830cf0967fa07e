"""BAGEL-7B-MoT and models of its layout as policies (arXiv 2505.14683): `load_bagel(folder)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor

from editenv.agents.policy import Turn
from editenv.agents.settings import GenerationSettings
from editenv.agents.unified.bagel_folder import LLM, BagelParts, read_bagel, write_bagel
from editenv.agents.unified.bagel_prompts import SHIPPED, Prompts, parse_answer
from editenv.agents.unified.context import Block, ImageBlock, TextBlock
from editenv.agents.unified.policy import UnifiedPolicy, padded_block
from editenv.agents.unified.transforms import resized
from editenv.protocols import Observations
from editenv.types import Image

FROZEN = ("vit_model", "connector", "vit_pos_embed", "latent_pos_embed")
"""Modules that never train, as in Edit-R2."""
_ENCODED_AT_ONCE = 8  # images; the autoencoder's maps take 0.1 GB each at 512 pixels
_ADAPTER = "adapter_model.safetensors"


class BagelPolicy(UnifiedPolicy):
    """BAGEL: images are read as latents and as vision tokens, intents are thought about.

    Its own tensors of a turn: `pixels` [B, h, w, 3] uint8, the current images as the autoencoder sees them. Images
    of an environment have one size; they are resized by the reference's rule, and what is generated is resized back.
    """

    history = ("source", "pixels", "condition_ids", "condition_mask")
    image_positions = 2

    def __init__(self, parts: BagelParts, name: str = "") -> None:
        # FluxAutoencoder has all that policies ask of CellAutoencoder.
        coder: Any = parts.autoencoder
        super().__init__(parts.model, coder, parts.tokenizer, name)
        self.transforms, self.files, self.question = parts.transforms, parts.files, "none"
        self.prompts = self._own_prompts()
        self._shape: tuple[int, int] | None = None  # height and width of the environment's images
        for module in FROZEN:
            getattr(self.model, module).requires_grad_(False)

    @property
    def parts(self) -> BagelParts:
        """What a folder holds."""
        coder: Any = self._frozen[0]
        return BagelParts(self.model, coder, self.tokenizer, self.transforms, self.files)

    def _own_prompts(self) -> Prompts:
        own = self.files.get("prompts.yaml")
        return Prompts.parse(own.decode(), f"{self.name}/prompts.yaml") if own else Prompts.read(SHIPPED)

    def configure(self, settings: GenerationSettings) -> None:
        """Prompts and the question, for intents."""
        self.prompts = Prompts.read(Path(settings.prompts)) if settings.prompts else self._own_prompts()
        self.question = settings.question

    # Turns

    def observe(self, observations: Observations) -> Turn:
        """See JointPolicy."""
        images = list(observations["image"])
        self._shape = images[0].shape[:2]
        pixels = self.resized(images)
        prompt = self._tensors("transcript", self.transcript_block(observations["transcript"]))
        return prompt | {"source": self.latents(pixels), "pixels": pixels}

    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Latents of images that are resized first."""
        return self.latents(self.resized(images))

    def resized(self, images: Sequence[Image]) -> Tensor:
        """Images as the autoencoder gets them, uint8 [B, h, w, 3]."""
        return torch.from_numpy(np.stack([self.transforms.vae(image) for image in images])).to(self.device)

    @torch.no_grad()
    def latents(self, pixels: Tensor) -> Tensor:
        """Tokens [B, N, C] float32 of images as `resized` returns them."""
        with torch.autocast(self.device.type, enabled=False):
            return torch.cat([self.autoencoder.encode(part) for part in pixels.split(_ENCODED_AT_ONCE)])

    @torch.no_grad()
    def decode_images(self, latents: Tensor) -> list[Image]:
        """Images of the environment's size, once it was observed; else of the size that they were generated in."""
        coder, images = self.autoencoder, []
        height, width = self._shape or (0, 0)
        grid = None
        if self._shape:
            wide, high = self.transforms.vae.size(width, height)
            grid = high // coder.config.token_side, wide // coder.config.token_side
        with torch.autocast(latents.device.type, enabled=False):
            for part in latents.split(_ENCODED_AT_ONCE):
                images += list(coder.decode(part, grid).cpu().numpy())
        return [resized(image, (width, height)) for image in images] if self._shape else images

    def image_blocks(self, images: Turn, present: Tensor | None = None) -> list[Block]:
        """Latents, then vision tokens."""
        seen = self.transforms.vision_pixels(images["pixels"])
        return [ImageBlock(images["source"], self.grid(images), present), self.model.vision_block(seen, present)]

    def grid(self, images: Turn) -> tuple[int, int]:
        """Rows and columns of latent tokens."""
        side = self.autoencoder.config.token_side
        return images["pixels"].shape[1] // side, images["pixels"].shape[2] // side

    # Text

    def ids(self, text: str) -> list[int]:
        """Tokens of a text; names of special tokens in it are text like any other."""
        found: Any = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return found

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a block of text, between its start and its end."""
        return [self.tokenizer.bos_token_id, *self.ids(text), self.tokenizer.eos_token_id]

    def transcript_block(self, transcripts: Sequence[Sequence[str]]) -> TextBlock:
        """The think prompt, the question about what was said, and the start of the answer."""
        think, start = self.text_ids(self.prompts.think), [self.tokenizer.bos_token_id]
        rows = [[*think, *self.text_ids(self.prompts.ask(self.question, said)), *start] for said in transcripts]
        return padded_block(rows, self.tokenizer.pad_token_id, "left")

    def encode_intents(self, intents: Sequence[str]) -> Turn:
        """See JointPolicy."""
        rows = [self.text_ids(intent) for intent in intents]
        return self._tensors("condition", padded_block(rows, self.tokenizer.pad_token_id, "right"))

    def encode_answers(self, intents: Sequence[str]) -> Turn:
        """Answers without a thought."""
        rows = [[*self.ids(f"<think> </think> {intent}"), self.tokenizer.eos_token_id] for intent in intents]
        return self._tensors("intent", padded_block(rows, self.tokenizer.pad_token_id, "right"))

    def usable(self, text: str, ended: bool) -> str | None:
        """What follows the thought, whether or not the answer ended."""
        return parse_answer(text)[0]

    # Files and limits

    def check_image_size(self, shape: tuple[int, ...]) -> None:
        """Images of any size are resized; ValueError where a table of places is too small for what comes out."""
        size = self.transforms.vae.size(shape[1], shape[0])
        seen, vision = self.transforms.vit.size(*size), self.model.vit_model
        limits = (
            ("latent", size, self.autoencoder.config.token_side, self.model.config.max_latent_size),
            ("vision", seen, vision.patch_size, vision.vision_model.embeddings.side),
        )
        for kind, sides, token, most in limits:
            if max(sides) // token > most:
                raise ValueError(
                    f"images of {shape[1]} x {shape[0]} pixels become {sides[0]} x {sides[1]}, or "
                    f"{max(sides) // token} {kind} tokens along a side, expected {most} or fewer"
                )

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """A folder in BAGEL's layout."""
        write_bagel(self.parts, folder, dtype)

    @classmethod
    def load(cls, folder: Path | None = None) -> BagelPolicy:
        """See `load_bagel`."""
        if folder is None:
            raise ValueError("BagelPolicy has no new weights, expected a folder in BAGEL's layout")
        return load_bagel(folder)


def load_bagel(folder: str | Path, adapters: str | Path | None = None) -> BagelPolicy:
    """The policy of a folder in BAGEL's published layout, or of a run that wrote one; weights as the files hold them.

    Args:
        folder: with `llm_config.json`, `vit_config.json`, `ema.safetensors`, `ae.safetensors` and a tokenizer.
        adapters: folder of LoRA weights (`save_adapters`, or a run's checkpoint), which are added into the weights.

    Raises:
        ValueError: says file and key of what is missing, unexpected, cut off, or of another shape or architecture.
    """
    folder = Path(folder)
    place = next((path for path in (folder / "model", folder) if (path / LLM).is_file()), folder)
    policy = BagelPolicy(read_bagel(place), str(folder)).eval()
    if adapters is None:
        return policy
    if not Path(adapters, _ADAPTER).is_file():
        raise ValueError(f"{Path(adapters, _ADAPTER)} does not exist, expected a folder of LoRA weights")
    adapted: Any = PeftModel.from_pretrained(policy, str(adapters))
    return adapted.merge_and_unload().eval()


def save_adapters(model: PeftModel, folder: str | Path) -> None:
    """LoRA weights apart from the model's, as `load_bagel(folder, adapters=...)` reads them; no pickle."""
    model.save_pretrained(str(folder), safe_serialization=True)
