"""The environment ids that `import editenv` makes known to Gymnasium."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

IDS = ("MICEEdit-v0", "MICEEditTools-v0")


def register_ids() -> None:
    """Registers every id, once; entry points are strings that take JSON values, so specs survive to_json."""
    if "MICEEdit-v0" not in registry:
        register(
            id="MICEEdit-v0",
            entry_point="editenv.build:make_env",
            vector_entry_point="editenv.build:make_vector_env",
            # The environment refuses a step before reset by itself.
            order_enforce=False,
        )
    if "MICEEditTools-v0" not in registry:
        register(
            id="MICEEditTools-v0",
            entry_point="editenv.build:make_tools_env",
            order_enforce=False,
        )
