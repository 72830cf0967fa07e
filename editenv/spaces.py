"""The spaces of the environment, `Utterance`, a Gymnasium space of any text, and the check of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces import utils as space_utils
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from gymnasium.vector.utils import space_utils as vector_utils
from numpy.typing import NDArray

from editenv.types import Action, Image

MAX_LENGTH = 1000
"""Characters an instruction or an intent may have, where nothing else is asked for."""

_PADDING = -1
_LETTERS = ((0x20, 0x7F), (0x20, 0x7F), (0xA1, 0x180), (0x3B1, 0x3CA), (0x4E00, 0x9FA6), (0x1F600, 0x1F645))


class Utterance(Space[str]):
    """Any unicode text of up to `max_length` characters, the empty text included.

    Gymnasium's `Text` lists its characters one by one and has neither the blank nor the empty text by
    default; this space has both, and every character that UTF-8 can write (so no lone surrogates).
    Flattened it is int32 [max_length]: code points, then -1 up to the end.

    Args:
        max_length: characters a text may have.
        seed: of the samples.

    Raises:
        ValueError: max_length is no positive whole number.
    """

    def __init__(self, max_length: int = MAX_LENGTH, seed: int | np.random.Generator | None = None) -> None:
        if isinstance(max_length, bool) or not isinstance(max_length, int | np.integer) or max_length < 1:
            raise ValueError(f"max_length is {max_length!r}, expected a whole number of 1 or more")
        self.max_length = int(max_length)
        # Gymnasium asks a space's dtype for the dtype of its flattened form.
        super().__init__(dtype=np.int32, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """True: padded with -1, a text is an array of code points."""
        return True

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A text of random length in letters of several scripts; masks are refused with a ValueError."""
        if mask is not None or probability is not None:
            raise ValueError("Utterance.sample takes neither mask nor probability, expected None")
        length = int(self.np_random.integers(self.max_length + 1))
        low, high = np.array(_LETTERS)[self.np_random.integers(len(_LETTERS), size=length)].T
        return "".join(map(chr, self.np_random.integers(low, high)))

    def contains(self, x: Any) -> bool:
        """Whether x is a text this space holds."""
        return text_problem(x, self.max_length) is None

    def __repr__(self) -> str:
        """The call that makes this space."""
        return f"Utterance({self.max_length})"

    def __eq__(self, other: object) -> bool:
        """Equal with an Utterance of the same length."""
        return isinstance(other, Utterance) and self.max_length == other.max_length

    __hash__ = None  # type: ignore[assignment]

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """The inverse of to_jsonable; ValueError for an entry that is no text of this space."""
        for place, text in enumerate(sample_n):
            problem = text_problem(text, self.max_length)
            if problem:
                raise ValueError(f"entry {place} of the batch is {problem}")
        return list(sample_n)


def text_problem(text: Any, max_length: int) -> str | None:
    """What keeps a value from being a text of up to max_length characters; None when nothing does."""
    if not isinstance(text, str):
        return f"a {type(text).__name__}, expected a str of at most {max_length} characters"
    if len(text) > max_length:
        return f"{len(text)} characters long, expected at most {max_length}"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"no text that UTF-8 can write, as expected: character {error.start} is {error.reason}"
    return None


def observation_space(
    image_shape: tuple[int, int, int], max_turns: int, max_length: int = MAX_LENGTH, history: bool = False
) -> spaces.Dict:
    """What an agent sees at a turn, as `MICEEditEnv` describes it; `images` only with history."""
    parts: dict[str, Space[Any]] = {
        "image": spaces.Box(0, 255, shape=image_shape, dtype=np.uint8),
        "source": spaces.Box(0, 255, shape=image_shape, dtype=np.uint8),
        "instruction": Utterance(max_length),
        "transcript": spaces.Sequence(Utterance(max_length)),
        "turn": spaces.Discrete(max_turns + 1),
    }
    if history:
        parts["images"] = spaces.Box(0, 255, shape=(max_turns + 1, *image_shape), dtype=np.uint8)
    return spaces.Dict(parts)


def action_space(image_shape: tuple[int, int, int], max_length: int = MAX_LENGTH) -> spaces.Dict:
    """What an agent answers: `image`, the edited picture, uint8 [H, W, 3], and `intent`, maybe empty."""
    image = spaces.Box(0, 255, shape=image_shape, dtype=np.uint8)
    return spaces.Dict({"image": image, "intent": Utterance(max_length)})


def batched(space: spaces.Dict, count: int) -> spaces.Dict:
    """Gymnasium's batch of a space whose boxes have one lower and one upper bound, stored once.

    A Box keeps four arrays of its own shape, which for a batch of pictures is more than all pictures of
    all sessions take.
    """
    batch = batch_space(space, count)
    assert isinstance(batch, spaces.Dict), "the batch of a Dict is a Dict"
    for name, single in space.items():
        if isinstance(single, spaces.Box):
            for bound in ("low", "high", "bounded_below", "bounded_above"):
                value = np.broadcast_to(getattr(single, bound).flat[0], (count, *single.shape))
                setattr(batch[name], bound, value)
    return batch


ACTION_FIELDS = ("image", "intent")


def read_action(action: Any, shape: tuple[int, ...], max_length: int) -> Action:
    """One session's action, its picture copied; ValueError naming the field, what came, and what is expected.

    Args:
        action: a mapping of `image`, uint8 of the shape (H, W, 3), and `intent`, a text.
        shape: (H, W, 3).
        max_length: characters an intent may have.
    """
    _check_action(action, shape)
    if problem := text_problem(action["intent"], max_length):
        raise ValueError(f"action['intent'] is {problem}")
    return Action(np.array(action["image"]), action["intent"])


def read_actions(actions: Any, count: int, shape: tuple[int, ...], max_length: int) -> tuple[Image, tuple[str, ...]]:
    """A batch of actions, its pictures copied: uint8 [N, H, W, 3] and N intents; errors as `read_action`'s."""
    _check_action(actions, (count, *shape))
    intents = actions["intent"]
    if isinstance(intents, str) or not isinstance(intents, Sequence | np.ndarray):
        raise ValueError(f"action['intent'] is a {type(intents).__name__}, expected {count} texts in a tuple")
    if len(intents) != count:
        raise ValueError(f"action['intent'] holds {len(intents)} texts, expected {count}")
    for row, intent in enumerate(intents):
        if problem := text_problem(intent, max_length):
            raise ValueError(f"action['intent'][{row}] is {problem}")
    return np.array(actions["image"]), tuple(intents)


def _check_action(action: Any, shape: tuple[int, ...]) -> None:
    """Refuses what is not a mapping of exactly an action's fields, its image a uint8 array of the shape."""
    if not isinstance(action, Mapping):
        raise ValueError(f"action is a {type(action).__name__}, expected a dict of {ACTION_FIELDS}")
    for name in set(ACTION_FIELDS).difference(action):
        came = sorted(map(str, action))
        raise ValueError(f"action has no {name!r}, only {came}; expected both {ACTION_FIELDS}")
    for name in set(action).difference(ACTION_FIELDS):
        raise ValueError(f"action has a field {name!r}, expected only {ACTION_FIELDS}")
    image = action["image"]
    came = f"is a {type(image).__name__}"
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.shape == shape:
            return
        came = f"has shape {image.shape}" if image.dtype == np.uint8 else f"has dtype {image.dtype}"
    raise ValueError(f"action['image'] {came}, expected a numpy array of dtype uint8 and shape {shape}")


# What Gymnasium does with texts: flattened they are int32 [max_length], code points and then -1. `iterate` stays
# unregistered on purpose: Gymnasium walks over a batch of texts entry by entry only then.


space_utils.flatdim.register(Utterance, lambda space: space.max_length)
space_utils.is_space_dtype_shape_equiv.register(Utterance, lambda one, other: one == other)
vector_utils.batch_differing_spaces.register(Utterance, lambda differing: spaces.Tuple(list(differing)))
concatenate.register(Utterance, lambda space, items, out: tuple(items))
create_empty_array.register(Utterance, lambda space, n=1, fn=np.zeros: ("",) * n)


@space_utils.flatten.register(Utterance)
def _flatten(space: Utterance, x: str) -> NDArray[np.int32]:  # type: ignore[misc]
    flat = np.full(space.max_length, _PADDING, dtype=np.int32)
    flat[: len(x)] = np.frombuffer(x.encode("utf-32-le"), dtype="<i4")
    return flat


@space_utils.unflatten.register(Utterance)
def _unflatten(space: Utterance, x: NDArray[Any]) -> str:  # type: ignore[misc]
    codes = np.asarray(x).astype("<i4")
    return codes[codes != _PADDING].tobytes().decode("utf-32-le")


@space_utils.flatten_space.register(Utterance)
def _flatten_space(space: Utterance) -> spaces.Box:
    return spaces.Box(_PADDING, 0x10FFFF, shape=(space.max_length,), dtype=np.int32)


@batch_space.register(Utterance)
def _batch(space: Utterance, n: int = 1) -> spaces.Tuple:
    # A copy of the generator: making a batch must not change what the single space samples next.
    seeds = deepcopy(space.np_random).integers(2**31, size=n)
    return spaces.Tuple([Utterance(space.max_length, seed=int(seed)) for seed in seeds])
