"""Multi-turn image editing as a Gymnasium environment; importing this registers `MICEEdit-v0`."""

from editenv.ids import register_ids
from editenv.spaces import Utterance

__version__ = "0.1.0"
__all__ = ["Utterance", "__version__"]

register_ids()
