"""What an SB3 policy sees of `MICEEditTools-v0`: words attend to words, cells to words and to each other."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn import functional


class SessionFeatures(BaseFeaturesExtractor):
    """A small transformer: words of the transcript among themselves, then readers that look at words and cells.

    Readers are one token a cell of the picture and some that are free, such as one a part of the action. They
    attend to each other and to the words. SB3 takes token ids for magnitudes unless told otherwise; hand this
    over as `policy_kwargs={"features_extractor_class": SessionFeatures, "net_arch": []}` with
    "MultiInputPolicy": its linear heads then read a few numbers of every reader, in the order of the cells.

    Args:
        observation_space: of `MICEEditTools-v0`; its picture as SB3 turns it, [3, H, W], scaled to 0..1.
        grid: cells a side.
        width: of a token.
        text_layers: of the words.
        layers: of the readers.
        heads: of attention.
        free: readers beside those of the cells.
        shown: numbers a reader among the features.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        grid: int = 4,
        width: int = 64,
        text_layers: int = 1,
        layers: int = 2,
        heads: int = 4,
        free: int = 10,
        shown: int = 16,
    ) -> None:
        parts: Any = observation_space.spaces
        super().__init__(observation_space, features_dim=(free + grid * grid) * shown)
        self.side = parts["image"].shape[-1] // grid
        turns = int(parts["turn"].n) - 1
        self.length = parts["transcript"].shape[0] // turns
        self.words = nn.Embedding(int(parts["transcript"].high.max()) + 1, width)
        self.places = nn.Embedding(self.length, width)
        self.ages = nn.Embedding(turns, width)
        self.cells = nn.Sequential(nn.Linear(3 * self.side**2, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.cells.append(nn.LayerNorm(width))
        # A number stands behind "row" or "column", looks before their object: neighbours are read at once.
        self.phrases = nn.Conv1d(width, width, kernel_size=5, padding=2)
        self.free = nn.Embedding(free, width)
        self.rows, self.columns = nn.Embedding(grid, width), nn.Embedding(grid, width)
        for where in (self.places, self.ages, self.rows, self.columns):
            nn.init.normal_(where.weight, std=0.3)  # what stands there counts more than where
        self.text_layers = nn.ModuleList(Layer(width, heads) for _ in range(text_layers))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.shown = nn.Linear(width, shown)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Features [B, features_dim] of a batch of observations."""
        text, said = self.read(observations["transcript"].long())
        unread = torch.zeros(said.shape, device=said.device).masked_fill(~said, float("-inf"))[:, None, None]
        text = text + functional.gelu(self.phrases((text * said[..., None]).transpose(1, 2)).transpose(1, 2))
        for layer in self.text_layers:
            text = layer(text, text, unread)
        cells = self.see(observations["image"])
        cells = cells + (self.rows.weight[:, None] + self.columns.weight).flatten(0, 1)
        readers = torch.cat([self.free.weight.expand(len(cells), -1, -1), cells], 1)
        unread = functional.pad(unread, (readers.shape[1], 0))
        for layer in self.layers:
            readers = layer(readers, torch.cat([readers, text], 1), unread)
        return self.shown(self.norm(readers)).flatten(1)

    def see(self, image: Tensor) -> Tensor:
        """What each cell shows, [B, cells, width], of pictures [B, 3, H, W] from 0 to 1."""
        patches = image.unfold(2, self.side, self.side).unfold(3, self.side, self.side)
        return self.cells(patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2))

    def read(self, transcript: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded words of a transcript without the padding between its sentences.

        Args:
            transcript: ids [B, sentences * length], 0 where nothing stands. There may be more sentences than
                in `observation_space`: those that are older than any there count as its oldest.

        Returns:
            [B, T, width] and which of them are words, bool [B, T], for the longest transcript's T.
        """
        said = transcript > 0
        longest = max(1, int(said.sum(1).max()))
        order = said.byte().argsort(stable=True, dim=1, descending=True)[:, :longest]
        ids, sentence = transcript.gather(1, order), order // self.length
        age = ((sentence * (ids > 0)).amax(1, keepdim=True) - sentence).clamp(0, self.ages.num_embeddings - 1)
        return self.words(ids) + self.places(order % self.length) + self.ages(age), ids > 0


class Layer(nn.Module):
    """Attention of some tokens to others and a feed-forward network, each behind a norm and added to what came.

    Args:
        width: of a token.
        heads: of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """Tokens [B, T, width] that have read others [B, S, width]; mask [B, 1, 1, S] is added to the logits."""
        parts = self.query(self.before(tokens)), *self.key_value(self.before(others)).chunk(2, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.out(read.transpose(1, 2).flatten(2))
        return tokens + self.down(functional.gelu(self.up(self.between(tokens)), approximate="tanh"))
