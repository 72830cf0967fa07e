"""What `own_algorithm.py` learnt as a class, which `editenv compare` and `evaluate` play beside all others.

cd examples && python own_algorithm.py && editenv compare own_arm.yaml out=../runs/own_arm
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, load_model
from torch import nn

from editenv import MICEEditVectorEnv
from editenv.tools_env import Tools
from editenv.worlds.studio.parse import parse


class Backgrounds:
    """Changes the background to the one that the instruction names.

    Args:
        envs: whose sessions are played; what an operation does is drawn for their world.
        weights: file that `own_algorithm.py` wrote.
    """

    def __init__(self, envs: MICEEditVectorEnv, weights: str) -> None:
        self.tools = Tools(envs.engine.world, tokens=16)
        (words, width), (count, _) = (load_file(weights)[name].shape for name in ("0.weight", "2.weight"))
        self.policy = nn.Sequential(nn.EmbeddingBag(words, width, padding_idx=0), nn.ReLU(), nn.Linear(width, count))
        load_model(self.policy, weights)

    def start(self, observations: Mapping[str, Any], seeds: Sequence[int]) -> list[None]:
        """One memory a session: none is needed here."""
        return [None for _ in seeds]

    @torch.no_grad()
    def act(self, observations: Mapping[str, Any], memories: list[None]) -> tuple[dict[str, Any], list[None]]:
        """Images uint8 [B, H, W, 3] and intents of B sessions, and their memories."""
        ids = np.stack([self.tools.words.encode(text) for text in observations["instruction"]])
        chosen, parts = self.policy(torch.as_tensor(ids)).argmax(1).tolist(), self.tools.parts
        names = [parts.values[-2][number] for number in chosen]
        actions = [np.array(parts.encode(task="background_change", background=name)) for name in names]
        scenes = parse(observations["image"], self.tools.grid)
        shown = zip(actions, observations["image"], scenes, strict=True)
        results = [self.tools.result(action, [image], [scene]) for action, image, scene in shown]
        return {"image": np.stack([one[1] for one in results]), "intent": [one[2] for one in results]}, memories
