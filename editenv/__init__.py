"""A Gymnasium environment and an RL trainer for multi-turn image editing; importing it registers `MICEEdit-v0`."""

from editenv.registry import register_ids
from editenv.spaces import Utterance

__version__ = "0.1.0"
__all__ = ["Utterance", "__version__"]

register_ids()
