"""The known policy in the unified model's clothes, so that rollout and training can run it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from editenv.agents.audit.known import BOS, EOS, PAD, VOCABULARY, KnownPolicy
from editenv.agents.audit.world import SIDE, WORDS
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.unified import Context, UnifiedConfig, UnifiedModel
from editenv.agents.unified.model import Grid
from editenv.agents.unified.tokenizer import build_tokenizer

CHANNELS = 3
_HALF = 127.5


class KnownModel(UnifiedModel):
    """A unified model whose contexts, masks and windows are real, and whose answers are a `KnownPolicy`'s."""

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__(config)
        self.requires_grad_(False)
        self.known = KnownPolicy(config.latent_dim)

    def append_text(self, context: Context, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reads as ever; the states that come back say which token stands where, [B, L, V]."""
        super().append_text(context, ids, mask)
        return one_hot(ids, VOCABULARY).float()

    def text_logits(self, hidden: Tensor) -> Tensor:
        """The table's row of each token."""
        return hidden @ self.known.bigram

    def velocity(
        self, context: Context, x: Tensor, t: Tensor, grid: Grid | None = None, source: Tensor | None = None
    ) -> Tensor:
        """The known velocity."""
        assert source is not None, "the audit's config has a source channel"
        return self.known.velocity(x, t, source)


class PixelCoder(nn.Module):
    """Pictures as latents of one token a pixel, -1 to 1."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents [B, N, 3] of uint8 pictures [B, H, W, 3]."""
        return pictures.flatten(1, 2).float() / _HALF - 1

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents."""
        pixels = ((latents + 1) * _HALF).round().clamp(0, 255).to(torch.uint8)
        return pixels.unflatten(1, (SIDE, SIDE))


def known_checkpoint(policy: KnownPolicy) -> Checkpoint:
    """A checkpoint whose model IS the policy: what trains one trains the other."""
    config = UnifiedConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        latent_patch_size=1,
        latent_channels=CHANNELS,
        max_latent_size=SIDE,
        source_channel=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        start_of_image_id=4,
        end_of_image_id=5,
    )
    with torch.random.fork_rng(devices=[]):
        model = KnownModel(config).eval()
    model.known = policy
    return Checkpoint(model, PixelCoder(), build_tokenizer(WORDS), "known")  # type: ignore[arg-type]
