"""Stable-Baselines3 on `MICEEditTools-v0`: features that read words and cells, as its own cannot."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

_TEXT, _CELL = 64, 32


class SessionFeatures(BaseFeaturesExtractor):
    """The instruction as a mean of word pairs, the cells of the picture, and how well each fits the words.

    Stable-Baselines3 reads token ids as magnitudes unless told otherwise; hand this over as
    `policy_kwargs={"features_extractor_class": SessionFeatures}` with "MultiInputPolicy". It reads the
    present instruction alone: enough for single turns, not for rules and references.

    Args:
        observation_space: of `MICEEditTools-v0`, its picture as SB3 turns it, [3, H, W].
        grid: cells a side.
    """

    def __init__(self, observation_space: spaces.Dict, grid: int = 4) -> None:
        instruction, image = observation_space["instruction"], observation_space["image"]
        assert isinstance(instruction, spaces.Box) and image.shape is not None
        super().__init__(observation_space, features_dim=_TEXT + grid * grid * (_CELL + 1))
        self.side = image.shape[-1] // grid
        self.words = nn.Embedding(int(instruction.high.max()) + 1, _TEXT, padding_idx=0)
        self.pairs = nn.Conv1d(_TEXT, _TEXT, kernel_size=3, padding=1)
        self.cells = nn.Sequential(nn.Linear(3 * self.side**2, 64), nn.ReLU(), nn.Linear(64, _CELL))
        self.query = nn.Linear(_TEXT, _CELL)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Features [B, features_dim] of a batch of observations."""
        ids = observations["instruction"].long()
        said = (ids > 0).unsqueeze(1)
        words = torch.relu(self.pairs(self.words(ids).transpose(1, 2))) * said
        text = words.sum(2) / said.sum(2).clamp(min=1).sqrt()
        patches = observations["image"].unfold(2, self.side, self.side).unfold(3, self.side, self.side)
        cells = self.cells(patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2))
        fits = (cells * self.query(text).unsqueeze(1)).sum(2) / _CELL**0.5
        return torch.cat([text, fits, cells.flatten(1)], dim=1)
