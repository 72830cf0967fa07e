"""Odd actions and states with honest checksums: a ValueError that changes nothing, or play as usual.

Seeded and short; EDITENV_FUZZ_SECONDS=3600 goes on for as long in each test, with EDITENV_FUZZ_FIRST=100000 on other
seeds than last time.
"""

from __future__ import annotations

import json
import random
from copy import deepcopy
from hashlib import blake2b
from typing import Any

import gymnasium
import numpy as np
import pytest

from editenv.state import MAGIC
from tests.fuzz.rounds import rounds

ROUNDS = 60
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 2**31, 2**63, 2**70, 0.5, 1e308, "", "x", "\ud800", "a" * 5000, [], {}),
    *([0], [[]], [None] * 20, {"task": "undo"}, {"a": {"b": [1]}}, "..", "\0", "mixed", ["x"] * 3),
)


def harmed(value: Any, rng: random.Random) -> Any:
    """A JSON value with one place of it replaced, taken away, doubled or exchanged for another place."""
    value = deepcopy(value)
    places = []

    def walk(part: Any) -> None:
        for key in part if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list):
                walk(part[key])

    walk(value)
    part, key = rng.choice(places)
    way = rng.choice(("replace", "remove", "double", "exchange"))
    if way == "remove":
        del part[key]
    elif way == "double" and isinstance(part, list):
        part.insert(key, deepcopy(part[key]))
    elif way == "exchange":
        other, place = rng.choice(places)
        part[key] = deepcopy(other[place]) if place in other or isinstance(place, int) else None
    else:
        part[key] = rng.choice(ODD)
    return value


def opened(state: bytes) -> tuple[Any, bytes]:
    """A state's JSON and its pictures."""
    line, _, raw = state[len(MAGIC) + 16 :].partition(b"\n")
    return json.loads(line), raw


def sealed(head: Any, raw: bytes) -> bytes:
    """A state with an honest checksum."""
    body = json.dumps(head).encode() + b"\n" + raw
    return MAGIC + blake2b(body, digest_size=16).digest() + body


@pytest.mark.parametrize("settings", [{"suite": "undo"}, {"suite": "limit"}, {"suite": "persona", "user": "terse"}])
def test_states_with_honest_checksums_and_odd_content(settings: dict[str, Any]) -> None:
    """Fails where such a state is taken and cannot be played, or where refusing it changes the session."""
    env: Any = gymnasium.make("MICEEdit-v0", **settings).unwrapped
    for round_ in rounds(ROUNDS):
        rng = random.Random(round_)
        env.reset(seed=round_)
        for _ in range(round_ % 3):
            if not env.session.ending:
                env.step({"image": env.session.pictures[-1].copy(), "intent": ""})
        before = env.get_state()
        head, raw = opened(before)
        try:
            env.set_state(sealed(harmed(head, rng), raw))
        except ValueError:
            assert env.get_state() == before
            continue
        while not env.session.ending:
            env.step({"image": env.session.pictures[-1].copy(), "intent": ""})
        env.get_state()


RULE = {"family": "attribute", "attribute": "color", "value": "red"}


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        ({"text": "\ud800"}, "instruction of turn 2 is no text that UTF-8"),
        ({"text": "a" * 5000}, "instruction of turn 2 is 5000 characters"),
        ({"rules": [RULE | {"attribute": 0}]}, "attribute is 0, expected str"),
        ({"rules": [RULE | {"attribute": "size"}]}, "attribute is 'size', expected one of shape, color, material"),
        ({"rules": [RULE | {"value": "a" * 5000}]}, "value is 'aaa"),
        ({"rules": [{"family": "protect", "target": "x"}]}, "target is 'x', expected Target"),
        ({"rules": [{"family": "limit", "most": True}]}, "most is True, expected int"),
        ({"edit": {"task": "subject_add", "cell": "1", "shape": "star"}}, "cell is '1', expected int"),
    ],
)
def test_a_state_that_could_not_be_played_on_is_refused(turn: dict[str, Any], told: str) -> None:
    """Fails where the fault, which lies in the script's last turn, would be noticed turns later."""
    env: Any = gymnasium.make("MICEEdit-v0", suite="mixed").unwrapped
    env.reset(seed=1)
    before = env.get_state()
    head, raw = opened(before)
    head["spec"]["turns"][2] |= turn
    with pytest.raises(ValueError, match=told):
        env.set_state(sealed(head, raw))
    assert env.get_state() == before


def odd_action(good: dict[str, Any], rng: random.Random) -> Any:
    """The action, with a picture, an intent, a field or the whole of it replaced."""
    image = good["image"]
    images = (
        *(image.astype(np.float32) / 255, image[:-1], image[..., 0], image.tolist(), image.astype(bool)),
        *(image.astype(np.uint16), np.array("x"), image.T, image[None], np.zeros(0, np.uint8), b"png"),
        *(np.ma.masked_array(image), image[::1], np.asfortranarray(image)),
    )
    way = rng.randrange(4)
    if way == 0:
        return good | {"image": rng.choice((*images, *ODD))}
    if way == 1:
        return good | {"intent": rng.choice((*ODD, b"x", np.str_("x")))}
    if way == 2:
        return {name: value for name, value in good.items() if rng.random() < 0.5} | {rng.choice(("a", 1, "image")): 0}
    return rng.choice((*ODD, tuple(good.items()), good["image"]))


@pytest.mark.parametrize("count", [None, 2])
def test_odd_actions(count: int | None) -> None:
    """Fails where one raises anything but ValueError, or where a refused one changes a session."""
    if count is None:
        env: Any = gymnasium.make("MICEEdit-v0", suite="limit").unwrapped
        states = env.get_state
    else:
        env = gymnasium.make_vec("MICEEdit-v0", num_envs=count, suite="limit")

        def states() -> Any:
            return [env.get_state(row) for row in range(count)]

    for round_ in rounds(3 * ROUNDS):
        rng = random.Random(round_)
        seen, _ = env.reset(seed=round_)
        good = {"image": seen["image"], "intent": "" if count is None else ("",) * count}
        before = states()
        try:
            env.step(odd_action(good, rng))
        except ValueError as error:
            assert "expected" in str(error), error
            assert states() == before
