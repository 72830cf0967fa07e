"""Multi-turn image editing as a Gymnasium environment; importing this registers its ids.

Public names (`__all__`) are imported on first access, so that `import editenv` costs what Gymnasium costs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register
from gymnasium.envs.registration import registry as gym_registry

if TYPE_CHECKING:
    from editenv.chat import chat_messages, read_chat
    from editenv.env import MICEEditEnv
    from editenv.protocols import Policy, Scorer, User, World
    from editenv.session import Session
    from editenv.spaces import Utterance
    from editenv.types import Action, Image, Scores, Stop, TurnResult, UserMessage
    from editenv.vector import MICEEditVectorEnv

__version__ = "0.1.0"
__all__ = [
    "IDS",
    "Action",
    "Image",
    "MICEEditEnv",
    "MICEEditVectorEnv",
    "Policy",
    "Scorer",
    "Scores",
    "Session",
    "Stop",
    "TurnResult",
    "User",
    "UserMessage",
    "Utterance",
    "World",
    "__version__",
    "chat_messages",
    "read_chat",
]

_HOMES = {
    "chat": ("chat_messages", "read_chat"),
    "env": ("MICEEditEnv",),
    "protocols": ("Policy", "Scorer", "User", "World"),
    "session": ("Session",),
    "spaces": ("Utterance",),
    "types": ("Action", "Image", "Scores", "Stop", "TurnResult", "UserMessage"),
    "vector": ("MICEEditVectorEnv",),
}
"""The module that each public name comes from."""


def __getattr__(name: str) -> Any:
    """A public name, imported from its module."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"editenv.{module}"), name)
    raise AttributeError(f"module 'editenv' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Submodules loaded so far and all public names."""
    return sorted({*globals(), *__all__})


IDS = ("MICEEdit-v0", "MICEEditTools-v0")
"""The environments that Gymnasium knows once this package is imported."""

if IDS[0] not in gym_registry:
    # Entry points are strings that take JSON values, so specs survive to_json; the environments refuse a step
    # before reset by themselves.
    vector = "editenv.build:make_vector_env"
    register(IDS[0], entry_point="editenv.build:make_env", vector_entry_point=vector, order_enforce=False)
    tools, vector = "editenv.build:make_tools_env", "editenv.build:make_tools_vector_env"
    register(IDS[1], entry_point=tools, vector_entry_point=vector, order_enforce=False)
