"""Opens a scorer by name, its settings checked against what its class takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from editenv.protocols import Scorer
from editenv.rewards import SCORERS
from editenv.rewards.weighting import RewardWeights


def open_scorer(
    name: str, world: Any, weights: RewardWeights, settings: Mapping[str, Any] | None = None
) -> Scorer:
    """The scorer that SCORERS names.

    Args:
        name: a name in SCORERS, or "module:Class" of another package.
        world: whose sessions it will judge.
        weights: of the reward.
        settings: keyword arguments of the scorer's class, as JSON values.

    Raises:
        ValueError: the name or a setting is not known, a setting is missing, or its value cannot be used.
    """
    make = _find(name)
    given = dict(settings or {})
    _check(name, given, signature(make).parameters)
    try:
        scorer: Scorer = make(world, weights, **given)
    except ValueError as error:
        raise ValueError(f"scorer {name!r}: {error}") from error
    return scorer


def _find(name: str) -> Callable[..., Scorer]:
    """The class that a name stands for, imported now."""
    if name not in SCORERS and ":" not in name:
        near = get_close_matches(name, SCORERS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"scorer {name!r} is not known, {hint}expected one of {', '.join(sorted(SCORERS))}")
    module, _, attribute = SCORERS.get(name, name).partition(":")
    try:
        found: Callable[..., Scorer] = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if name in SCORERS:
            raise
        raise ValueError(f"scorer {name!r} is no module:Class that can be imported: {error}") from error
    return found


def _check(name: str, given: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> None:
    """Refuses settings that are not known, and missing ones."""
    known = {key: value for key, value in parameters.items() if value.kind is Parameter.KEYWORD_ONLY}
    names = ", ".join(known) or "none"
    for key in given:
        if key not in known:
            raise ValueError(f"scorer {name!r} has no setting {key!r}, expected some of: {names}")
    for key, value in known.items():
        if value.default is Parameter.empty and key not in given:
            raise ValueError(f"scorer {name!r} lacks the setting {key!r}")
