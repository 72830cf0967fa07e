"""A trained agent of Stable-Baselines3 as a policy that `editenv evaluate` plays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO

from editenv.agents.sb3.features import SessionFeatures
from editenv.files import atomic_write, atomic_write_text
from editenv.protocols import Observations
from editenv.registry import lookup
from editenv.tools_env import Tools
from editenv.types import Image
from editenv.vector import MICEEditVectorEnv
from editenv.worlds.studio.parse import parse

ALGORITHMS: dict[str, Any] = {"ppo": PPO, "a2c": A2C, "maskable_ppo": MaskablePPO}
CARD, WEIGHTS = "policy.json", "policy.safetensors"
"""Files by which a folder is known as an agent's; nothing in them is unpickled."""
_TWICE = ("pi_features_extractor.", "vf_features_extractor.")
"""Names under which SB3 lists the shared features once more."""


@dataclass(frozen=True)
class Card:
    """What an agent's network was made for.

    Attributes:
        agent: a name in ALGORITHMS.
        tokens, max_turns: words of a sentence and sentences that it was trained with.
        grid, size: cells and pixels a side.
        width, text_layers, layers: of `SessionFeatures`.
        parts: sizes of an action's parts.
        words: how many the vocabulary has.
    """

    agent: str
    tokens: int
    max_turns: int
    grid: int
    size: int
    width: int
    text_layers: int
    layers: int
    parts: tuple[int, ...]
    words: int

    def policy_kwargs(self) -> dict[str, Any]:
        """`policy_kwargs` of SB3's algorithms."""
        sizes = {name: getattr(self, name) for name in ("grid", "width", "text_layers", "layers")}
        return {
            "features_extractor_class": SessionFeatures,
            "features_extractor_kwargs": sizes | {"free": len(self.parts)},
            # The action's heads read the features as they are.
            "net_arch": {"pi": [], "vf": [64]},
            "ortho_init": False,
        }

    def network(self) -> Any:
        """An SB3 policy with random weights."""
        shape = (self.max_turns * self.tokens,)
        seen = {
            "image": spaces.Box(0, 255, (3, self.size, self.size), np.uint8),
            "instruction": spaces.Box(0, self.words - 1, (self.tokens,), np.int32),
            "transcript": spaces.Box(0, self.words - 1, shape, np.int32),
            "turn": spaces.Discrete(self.max_turns + 1),
        }
        make = ALGORITHMS[self.agent].policy_aliases["MultiInputPolicy"]
        return make(spaces.Dict(seen), spaces.MultiDiscrete(list(self.parts)), lambda _: 0.0, **self.policy_kwargs())


def save_agent(folder: Path, card: Card, policy: Any) -> None:
    """Writes the card and the weights of an SB3 policy; a reader finds the old files or the new ones."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value for name, value in policy.state_dict().items() if not name.startswith(_TWICE)}
    atomic_write(folder / WEIGHTS, lambda path: save_file(weights, path))
    atomic_write_text(folder / CARD, json.dumps(asdict(card), indent=1) + "\n")


def is_agent(folder: str | Path) -> bool:
    """Whether this is a folder that `save_agent` wrote, such as a run of `editenv train agent=ppo`."""
    return Path(folder, CARD).is_file()


class SB3Policy:
    """Plays `MICEEdit-v0` with an agent's operations; what they do is drawn exactly, as in `MICEEditTools-v0`.

    A memory is the tuple of pictures so far. The likeliest value of each part is chosen, so nothing is random.
    Suites may have more turns than those of the training: the oldest sentences then count as equally old.

    Args:
        envs: whose sessions are played, of studio scenes.
        run: folder of a training, of its `best`, or of a checkpoint.

    Raises:
        ValueError: the folder holds no agent, or one for other pictures, words or operations than these.
    """

    def __init__(self, envs: MICEEditVectorEnv, run: str) -> None:
        folder, world = Path(run), envs.engine.world
        try:
            self.card = Card(**json.loads((folder / CARD).read_text(encoding="utf-8")))
            lookup("agent", self.card.agent, ALGORITHMS)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"{folder / CARD} cannot be read ({error}), expected what `editenv train agent=ppo` wrote"
            ) from error
        self.tools = Tools(world, self.card.tokens)
        here = {
            "grid": self.tools.grid,
            "size": world.image_shape[0],
            "words": len(self.tools.words.words),
            "parts": self.tools.parts.sizes,
        }
        for name, value in here.items():
            trained = getattr(self.card, name)
            if value != (list(trained) if name == "parts" else trained):
                raise ValueError(f"{name} is {value} here, but the agent in {run!r} was trained with {trained}")
        self.policy = self.card.network()
        try:
            weights = load_file(folder / WEIGHTS)
            shared = {
                n.partition(".")[2]: value for n, value in weights.items() if n.startswith("features_extractor.")
            }
            weights |= {twice + name: value for twice in _TWICE for name, value in shared.items()}
            self.policy.load_state_dict(weights)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise ValueError(f"{folder / WEIGHTS} does not hold the weights that {CARD} describes: {error}") from error
        self.policy.set_training_mode(False)

    def start(self, observations: Observations, seeds: Sequence[int]) -> list[tuple[Image, ...]]:
        """No pictures yet."""
        return [()] * len(seeds)

    def act(
        self, observations: Observations, memories: list[tuple[Image, ...]]
    ) -> tuple[dict[str, Any], list[tuple[Image, ...]]]:
        """Pictures after the operations chosen, whose words are the intents."""
        shown = [
            Played((*memory, image), instruction, transcript, int(turn))
            for memory, image, instruction, transcript, turn in zip(
                memories, *(observations[name] for name in ("image", "instruction", "transcript", "turn")), strict=True
            )
        ]
        read = iter(parse([picture for one in shown for picture in one.pictures], self.tools.grid))
        scenes = [[next(read) for _ in one.pictures] for one in shown]
        actions = self._choose(self.tools.observations(shown), self.tools.masks(scenes))
        pictures = [one.pictures for one in shown]
        results = [self.tools.result(*three) for three in zip(actions, pictures, scenes, strict=True)]
        answer = {"image": np.stack([one[1] for one in results]), "intent": tuple(one[2] for one in results)}
        return answer, pictures

    def _choose(self, seen: dict[str, Any], masks: Any) -> Any:
        """Actions int [B, parts]."""
        seen["image"] = as_sb3(seen["image"])
        seen["turn"] = seen["turn"].clip(max=self.card.max_turns)
        tensors = {name: torch.as_tensor(values) for name, values in seen.items()}
        with torch.no_grad():
            given = {"action_masks": masks} if self.card.agent == "maskable_ppo" else {}
            return self.policy.get_distribution(tensors, **given).get_actions(deterministic=True).numpy()


@dataclass(frozen=True)
class Played:
    """What was shown of a session."""

    pictures: tuple[Image, ...]
    instruction: str
    transcript: tuple[str, ...]
    turn: int


def as_sb3(images: Image) -> Image:
    """Pictures [B, H, W, 3] as SB3 turns them, [B, 3, H, W]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
