"""Actions: checked before anything happens, so that a rejected one leaves the session as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from editenv.spaces import text_problem
from editenv.types import Action, Image

FIELDS = ("image", "intent")


def read_action(action: Any, shape: tuple[int, ...], max_length: int) -> Action:
    """One session's action, its picture copied.

    Args:
        action: a mapping of `image`, uint8 [H, W, 3], and `intent`, a text.
        shape: (H, W, 3).
        max_length: characters an intent may have.

    Raises:
        ValueError: naming the field, what came, and what is expected.
    """
    _check_fields(action)
    _check_image(action["image"], shape)
    problem = text_problem(action["intent"], max_length)
    if problem:
        raise ValueError(f"action['intent'] is {problem}")
    return Action(np.array(action["image"]), action["intent"])


def read_actions(
    actions: Any, count: int, shape: tuple[int, ...], max_length: int
) -> tuple[Image, tuple[str, ...]]:
    """A batch of actions, its pictures copied: uint8 [N, H, W, 3] and N intents.

    Raises:
        ValueError: naming the field (and row), what came, and what is expected.
    """
    _check_fields(actions)
    _check_image(actions["image"], (count, *shape))
    intents = actions["intent"]
    if isinstance(intents, str) or not isinstance(intents, Sequence | np.ndarray):
        raise ValueError(f"action['intent'] is a {type(intents).__name__}, expected {count} texts in a tuple")
    if len(intents) != count:
        raise ValueError(f"action['intent'] holds {len(intents)} texts, expected {count}")
    for row, intent in enumerate(intents):
        problem = text_problem(intent, max_length)
        if problem:
            raise ValueError(f"action['intent'][{row}] is {problem}")
    return np.array(actions["image"]), tuple(intents)


def batch_actions(actions: Sequence[Action]) -> dict[str, Any]:
    """What a policy answered, as the vector environment takes it."""
    return {
        "image": np.stack([action.image for action in actions]),
        "intent": tuple(action.intent for action in actions),
    }


def _check_fields(action: Any) -> None:
    """Refuses what is not a mapping with exactly the fields of an action."""
    if not isinstance(action, Mapping):
        raise ValueError(f"action is a {type(action).__name__}, expected a dict of {FIELDS}")
    for name in FIELDS:
        if name not in action:
            raise ValueError(
                f"action has no {name!r}, only {sorted(map(str, action))}; expected both {FIELDS}"
            )
    for name in action:
        if name not in FIELDS:
            raise ValueError(f"action has a field {name!r}, expected only {FIELDS}")


def _check_image(image: Any, shape: tuple[int, ...]) -> None:
    """Refuses what is not a uint8 array of the shape."""
    expected = f"expected a numpy array of dtype uint8 and shape {shape}"
    if not isinstance(image, np.ndarray):
        raise ValueError(f"action['image'] is a {type(image).__name__}, {expected}")
    if image.dtype != np.uint8:
        raise ValueError(f"action['image'] has dtype {image.dtype}, {expected}")
    if image.shape != shape:
        raise ValueError(f"action['image'] has shape {image.shape}, {expected}")
