"""Scenes, their codes and their hash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.worlds.studio.scene import (
    BACKGROUNDS,
    COLORS,
    MATERIALS,
    SHAPES,
    TEXTS,
    UNREADABLE,
    Scene,
    SceneObject,
    all_objects,
    codes_hash,
    scene_from_codes,
)

ROW = st.lists(st.integers(-1, len(all_objects())), min_size=4, max_size=4)


@given(st.integers(-1, len(BACKGROUNDS) - 1), ROW)
def test_codes_name_scenes_one_to_one(background: int, cells: list[int]) -> None:
    """Fails where two things share a code, or where an unreadable one is lost on the way."""
    assert scene_from_codes([background, *cells]).codes() == [background, *cells]


def test_every_object_has_a_code_of_its_own() -> None:
    """Fails where an attribute is left out of the list of objects."""
    shapes = len(SHAPES) * len(COLORS) * len(MATERIALS)
    assert len(set(all_objects())) == shapes + len(TEXTS) * len(COLORS)
    assert [thing.code for thing in all_objects()] == list(range(1, 139))
    assert {thing.shape for thing in all_objects()[:90]} == set(SHAPES)
    assert UNREADABLE.code == -1


@pytest.mark.parametrize("codes", [[5, 0, 0, 0, 0], [-2, 0], [0, 139], [0, -2], [0, 1, 2, 140]])
def test_numbers_outside_of_the_lists_are_refused(codes: list[int]) -> None:
    """Fails where a wrong number in a record becomes some object."""
    with pytest.raises(ValueError, match="expected"):
        scene_from_codes(codes)


def test_a_thing_of_another_world_has_no_number() -> None:
    """Fails where an object that cannot be drawn gets a code, or a changed one keeps its old."""
    star = SceneObject("star", "red")
    assert star.with_looks({"color": "blue"}) == SceneObject("star", "blue")
    assert all_objects()[star.with_looks({"color": "blue"}).code - 1] == SceneObject("star", "blue")
    scene = Scene((None, star.with_looks({"shape": "cube"})), "white")
    assert not scene.known()
    with pytest.raises(ValueError, match=r"cube.* expected one of all_objects"):
        scene.codes()


def test_put_and_the_cells_by_hand() -> None:
    """Fails where a cell is miscounted."""
    star = SceneObject("star", "red")
    scene = Scene((None, None, None, None), "pink").put(2, star)
    assert scene.cells == (None, None, star, None)
    assert (scene.occupied(), scene.empty(), scene.grid) == ([2], [0, 1, 3], 2)


def test_the_hash_is_of_the_content() -> None:
    """Fails where splits would move: the number is the first 8 bytes of BLAKE2b of the codes plus one."""
    scene = Scene((None, SceneObject("circle", "red"), None, None), "white")
    assert codes_hash(scene.codes()) == codes_hash(scene_from_codes([0, 0, 1, 0, 0]).codes())
    assert codes_hash(scene.codes()) == 0x8E04A0ED10162503
    assert codes_hash(scene.codes()) != codes_hash(scene.put(0, SceneObject("circle", "red")).codes())
