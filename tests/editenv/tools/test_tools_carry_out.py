"""Operations by hand: each does what it says and nothing else, and a wrong one is known as wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.worlds.studio.operations import apply_operation, in_words, operation_names, operation_parts, value_masks
from editenv.worlds.studio.scene import SIGN, TEXTS, Scene, SceneObject, all_objects
from editenv.worlds.studio.tasks import EDITS

RED, BLUE = SceneObject("circle", "red"), SceneObject("square", "blue", "striped")
EXIT = SceneObject(SIGN, "green", text="exit")
PARTS = operation_parts(2)
START = Scene((RED, None, BLUE, None), "white")


def done(scene: Scene = START, earlier: Scene | None = None, **chosen: Any) -> Scene | None:
    return apply_operation(PARTS.decode(PARTS.encode(**chosen)), scene, earlier)


@pytest.mark.parametrize(
    ("chosen", "cells"),
    [
        ({"task": "leave"}, (RED, None, BLUE, None)),
        (
            {"task": "subject_add", "cell": 1, "shape": "star", "color": "red", "material": "dotted"},
            (RED, SceneObject("star", "red", "dotted"), BLUE, None),
        ),
        ({"task": "subject_remove", "cell": 2}, (RED, None, None, None)),
        ({"task": "subject_remove", "cell": 2, "second": 0, "both": True}, (None, None, None, None)),
        (
            {"task": "subject_replace", "cell": 2, "shape": "cross"},
            (RED, None, SceneObject("cross", "blue", "striped"), None),
        ),
        (
            {"task": "color_alter", "cell": 0, "color": "blue"},
            (SceneObject("circle", "blue"), None, BLUE, None),
        ),
        (
            {"task": "color_alter", "cell": 0, "second": 2, "both": True, "color": "green"},
            (SceneObject("circle", "green"), None, SceneObject("square", "green", "striped"), None),
        ),
        (
            {"task": "material_alter", "cell": 0, "material": "striped", "color": "blue"},
            (SceneObject("circle", "blue", "striped"), None, BLUE, None),
        ),
        ({"task": "position_change", "cell": 0, "second": 3}, (None, None, BLUE, RED)),
        (
            {"task": "position_change", "cell": 0, "second": 3, "color": "green"},
            (None, None, BLUE, SceneObject("circle", "green")),
        ),
        ({"task": "count_change", "cell": 3, "shape": "circle", "count": 2}, (RED, None, BLUE, RED)),
        ({"task": "count_change", "shape": "circle", "count": 3}, (RED, RED, BLUE, RED)),
    ],
)  # fmt: skip
def test_operations_by_hand(chosen: dict[str, Any], cells: tuple[SceneObject | None, ...]) -> None:
    assert done(**chosen) == Scene(cells, "white")


def test_backgrounds_texts_counts_and_undo_by_hand() -> None:
    assert done(task="background_change", background="mint") == Scene(START.cells, "mint")
    sign = START.put(1, EXIT)
    assert done(sign, task="text_change", cell=1, text="open") == START.put(1, SceneObject(SIGN, "green", text="open"))
    three = Scene((RED, RED, BLUE, RED), "white")
    assert done(three, task="count_change", cell=1, shape="circle", count=1) == Scene((RED, None, BLUE, None), "white")
    assert done(task="undo", earlier=three) == three


@pytest.mark.parametrize(
    "chosen",
    [
        {"task": "undo"},
        {"task": "subject_add", "cell": 0, "shape": "star", "color": "red", "material": "dotted"},
        {"task": "subject_add", "cell": 1, "shape": "star", "color": "red"},
        {"task": "subject_add", "cell": 1, "shape": SIGN, "color": "red", "material": "plain"},
        {"task": "subject_add", "cell": 1, "shape": SIGN, "color": "red", "material": "dotted", "text": "go"},
        {"task": "subject_remove", "cell": 1},
        {"task": "subject_remove", "cell": 0, "second": 1, "both": True},
        {"task": "subject_replace", "cell": 0, "color": "blue"},
        {"task": "subject_replace", "cell": 0, "shape": SIGN},
        {"task": "color_alter", "cell": 0, "color": "red"},
        {"task": "color_alter", "cell": 0, "material": "striped"},
        {"task": "color_alter", "cell": 1, "color": "red"},
        {"task": "text_change", "cell": 0, "text": TEXTS[0]},
        {"task": "position_change", "cell": 0, "second": 2},
        {"task": "position_change", "cell": 1, "second": 3},
        {"task": "count_change", "shape": "circle", "count": 1},
        {"task": "count_change", "shape": "circle", "count": 4},
        {"task": "count_change", "shape": "star", "count": 1},
        {"task": "count_change", "count": 3},
        {"task": "text_change", "cell": 0, "text": "go", "material": "dotted"},  # a circle has no text
        {"task": "background_change", "background": "white"},
    ],
)  # fmt: skip
def test_wrong_operations_are_known(chosen: dict[str, Any]) -> None:
    assert done(**chosen) is None


def test_every_task_of_the_world_can_be_chosen() -> None:
    """Fails where a task is added to the world and not here."""
    assert set(EDITS) <= set(operation_names())


def test_parts_hold_every_attribute_of_every_object() -> None:
    for thing in all_objects():
        for name, value in thing.attributes().items():
            assert value in PARTS.values[PARTS.names.index(name)]


@given(st.data())
def test_a_masked_value_is_always_wrong(data: st.DataObject) -> None:
    """Fails where a mask takes something from an agent that would have worked."""
    cells = tuple(data.draw(st.sampled_from([None, RED, BLUE, EXIT])) for _ in range(4))
    scene = Scene(cells, data.draw(st.sampled_from(["white", "black"])))
    earlier = data.draw(st.sampled_from([None, START]))
    action = [data.draw(st.integers(0, size - 1)) for size in PARTS.sizes]
    operation = PARTS.decode(action)
    masks = value_masks(PARTS, scene, first=earlier is None)
    assert masks.shape == (sum(PARTS.sizes),)
    starts = [sum(PARTS.sizes[:part]) for part in range(len(action))]
    task, background = (PARTS.names.index(name) for name in ("task", "background"))
    if not masks[starts[task] + action[task]]:
        assert apply_operation(operation, scene, earlier) is None
    if not masks[starts[background] + action[background]] and operation.task == "background_change":
        assert apply_operation(operation, scene, earlier) is None


@given(st.data())
def test_actions_survive_their_names(data: st.DataObject) -> None:
    action = [data.draw(st.integers(0, size - 1)) for size in PARTS.sizes]
    named = {name: values[number] for name, values, number in zip(PARTS.names, PARTS.values, action, strict=True)}
    assert PARTS.encode(**named) == action
    assert in_words(PARTS.decode(action), 2).startswith(named["task"])


def test_unknown_parts_and_values_are_named() -> None:
    with pytest.raises(ValueError, match="no part 'colour', expected task, cell"):
        PARTS.encode(colour="red")
    with pytest.raises(ValueError, match="part 'color' is 'rad', expected one of None, red, green"):
        PARTS.encode(color="rad")
