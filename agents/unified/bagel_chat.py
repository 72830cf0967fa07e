"""A conversation with BAGEL outside of any environment: it reads texts and images, replies, and generates images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editenv.agents.flow import Velocity, sample_ode, shifted_times
from editenv.agents.unified.bagel import BagelPolicy
from editenv.agents.unified.context import Block, Context, TextBlock
from editenv.agents.unified.guidance import Guidance, GuidanceContexts, predict_velocity, published_guided_velocity
from editenv.agents.unified.model import generate_text, prompt_logits
from editenv.types import Image

PUBLISHED_GUIDANCE = Guidance(text=4.0, image=2.0)


class BagelChat:
    """What one conversation has read, in the three contexts that guidance needs, as BAGEL's code builds them.

    `contexts` has "full"; "text_dropped", the full one before the last text (after an image: with it); and
    "image_dropped", all texts. To have BAGEL think, read `policy.prompts.plan` (before an image) or `.think` (before a
    reply) first, and the thought that it writes after the last text.
    """

    def __init__(self, policy: BagelPolicy) -> None:
        self.policy, self.model = policy, policy.model
        names = ("full", "text_dropped", "image_dropped")
        self.contexts: dict[str, Context] = {name: self.model.new_context(1) for name in names}
        self.size = (512, 512)  # width and height of the next image: the last one's that was read

    @torch.no_grad()
    def read_text(self, text: str | Sequence[int]) -> None:
        """Read a text, or its tokens between start and end of a block."""
        block = self._text(text)
        self.contexts["text_dropped"] = self.contexts["full"].copy()
        for name in ("full", "image_dropped"):
            self._append(name, block)

    @torch.no_grad()
    def read_thought(self, text: str) -> None:
        """Read one's own thought, tags and all, which guidance never drops: it is in the full context alone."""
        self._append("full", self._text(text))

    @torch.no_grad()
    def read_image(self, image: Image, latents: bool = True, vision: bool = True) -> None:
        """Read an image [H, W, 3] uint8, resized by BAGEL's rule, as latents, as vision tokens, or as both.

        Edits follow both, questions about an image vision tokens alone.
        """
        policy = self.policy
        pixels = policy.resized([image])
        read = {"pixels": pixels, "source": policy.latents(pixels) if latents else pixels.new_zeros(1, 0, 0)}
        clean, seen = policy.image_blocks(read)
        self.size = pixels.shape[2], pixels.shape[1]
        for block in [clean] * latents + [seen] * vision:
            self._append("full", block)
        self.contexts["text_dropped"] = self.contexts["full"].copy()

    @torch.no_grad()
    def write(self, max_tokens: int = 512, temperature: float = 0.0, uniforms: Tensor | None = None) -> str:
        """What BAGEL says next, in `max_tokens` or fewer; it is not read until `read_text` or `read_thought` does."""
        context, start = self.contexts["full"].copy(), torch.tensor([[self.model.config.bos_token_id]])
        logits = prompt_logits(self.model, context, TextBlock(start.to(self.model.device)))
        written = generate_text(self.model, context, logits, max_tokens, temperature, uniforms)
        return str(self.policy.tokenizer.decode(written.ids[0][written.mask[0]], skip_special_tokens=True))

    @torch.no_grad()
    def generate(
        self,
        noise: Tensor,
        steps: int = 49,
        shift: float = 3.0,
        guidance: Guidance = PUBLISHED_GUIDANCE,
        size: tuple[int, int] | None = None,
    ) -> Image:
        """An image that follows what was read, uint8 [H, W, 3]; read it to go on with it.

        Args:
            noise: [N, C], N = rows * columns of latent tokens.
            steps, shift: of the time grid; 50 points are 49 steps.
            guidance: under BAGEL's rule, where a text scale of 1 or less switches off all guidance.
            size: width and height, multiples of a token's pixels; None for the last image's that was read.
        """
        grid = self.grid(size or self.size)
        latents = sample_ode(self.velocity(grid, guidance), noise[None], shifted_times(steps + 1, shift))
        return self.policy.autoencoder.decode(latents, grid)[0].cpu().numpy()

    def velocity(self, grid: tuple[int, int], guidance: Guidance) -> Velocity:
        """The guided velocity under what was read, of x [1, N, C] and t [1]."""
        contexts = GuidanceContexts(**self.contexts)
        rule = published_guided_velocity
        return lambda x, t: predict_velocity(self.model, contexts, x, t, grid, None, guidance, rule)[0]

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of latent tokens of an image of a width and height."""
        side = self.policy.autoencoder.config.token_side
        return size[1] // side, size[0] // side

    def _text(self, text: str | Sequence[int]) -> TextBlock:
        ids = self.policy.text_ids(text) if isinstance(text, str) else list(text)
        return TextBlock(torch.tensor([ids], device=self.model.device))

    def _append(self, name: str, block: Block) -> None:
        self.model.append(self.contexts[name], block)
