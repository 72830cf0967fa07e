"""The exact editor: canonical intents are carried out on scenes, everything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.worlds.studio.nlu import apply_intent
from editenv.worlds.studio.phrases import vocabulary
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject

STARS = SceneObject("star", "red"), SceneObject("star", "blue", "dotted")
SCENE = Scene((STARS[0], None, STARS[1], SceneObject("square", "green"), *[None] * 4, UNREADABLE), "mint")


def test_edits_by_hand() -> None:
    """Each kind of sentence once, with the result written down; fails where a slot is mixed up."""
    cross = SceneObject("cross", "orange")
    assert apply_intent("add an orange cross in row 1 column 2", SCENE, 3) == SCENE.put(1, cross)
    assert apply_intent("remove the star in row 1 column 3", SCENE, 3) == SCENE.put(2, None)
    assert apply_intent("remove the green object", SCENE, 3) == SCENE.put(3, None)
    circle = SceneObject("circle", "red", "striped")
    assert apply_intent("replace the blue star with a striped red circle", SCENE, 3) == SCENE.put(2, circle)
    square = SceneObject("square", "purple", "dotted")
    assert apply_intent("make the square dotted purple", SCENE, 3) == SCENE.put(3, square)
    moved = SCENE.put(0, None).put(7, SceneObject("star", "red", "striped"))
    assert apply_intent("move the red star to row 3 column 2 and make it striped", SCENE, 3) == moved
    assert apply_intent("make the background black", SCENE, 3) == Scene(SCENE.cells, "black")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "remove",
        "remove the star",  # there are two
        "remove the circle",  # there is none
        "remove the object",  # there are three that can be read
        "remove the star in row 1 column 2",  # that cell is empty
        "remove the object in row 3 column 3",  # what cannot be read cannot be spoken of
        "move the square to row 4 column 1",  # outside of a 3 x 3 grid
        "add a red star in row 0 column 1",
        "add a red star in row 11 column 1",
        "make the red star",
        "make the background red",
        "make it red",
        "please remove the square",  # no canonical sentence
        "remove the square and the blue star",
        "remove the red square striped",
    ],
)
def test_what_cannot_be_carried_out_is_refused(text: str) -> None:
    """Fails where the editor guesses."""
    assert apply_intent(text, SCENE, 3) is None


@given(st.one_of(st.text(), st.lists(st.sampled_from(vocabulary()), max_size=12).map(" ".join)))
def test_no_text_raises(text: str) -> None:
    """Fails where a text, of any characters or of known words, breaks the editor."""
    edited = apply_intent(text, SCENE, 3)
    assert edited is None or isinstance(edited, Scene)
