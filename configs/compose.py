"""From a command's name and overrides to its settings, as an object of its schema's class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from editenv.configs.schema import register

PACKAGE = "editenv.configs"
"""Where the YAML files lie."""


def compose(command: str, overrides: Sequence[str] = (), **values: Any) -> Any:
    """A command's settings, as `editenv COMMAND OVERRIDES` would have them.

    Args:
        command: a name in `schema.COMMANDS`.
        overrides: in Hydra's language, such as "seed=1".
        values: settings by name, as Python values (a dict for a part's settings), which have the last word.

    Raises:
        HydraException: an override names no setting, or its value is of the wrong kind.
        OmegaConfBaseException: a setting without a value is left out.
    """
    register()
    # A job that Hydra runs may compose further settings; elsewhere Hydra has to be set up first.
    if GlobalHydra.instance().is_initialized():
        config = hydra.compose(command, list(overrides))
    else:
        with hydra.initialize_config_module(PACKAGE, version_base="1.3"):
            config = hydra.compose(command, list(overrides))
    merged = OmegaConf.merge(config, values)
    assert isinstance(merged, DictConfig)
    return as_object(merged)


def as_object(config: DictConfig) -> Any:
    """Composed settings as an object of their schema's class, all values resolved."""
    return OmegaConf.to_object(config)
