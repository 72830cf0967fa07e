"""Signs: drawn from the font in whole numbers, read back exactly, and no burden to scenes without them."""

from hashlib import blake2b

import numpy as np
import pytest

from editenv.worlds.studio.parse import cell_tolerance, parse
from editenv.worlds.studio.render import INK, cell_pictures, render, sign_layers, word_pixels
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, SIGN, TEXTS, UNREADABLE, Scene, SceneObject, all_objects

SIGNS = [thing for thing in all_objects() if thing.text]
CELLS = (8, 12, 16, 20, 24, 32, 64)


def test_signs_come_after_all_other_objects() -> None:
    """Fails where a sign takes the code of a shape, which checkpoints and records were made with."""
    assert [sign.code for sign in SIGNS] == list(range(91, 139))
    assert len(set(SIGNS)) == len(TEXTS) * len(COLORS) == 48
    assert {(sign.shape, sign.material) for sign in SIGNS} == {(SIGN, "plain")}
    assert SceneObject("star", "red").attributes() == {"shape": "star", "color": "red", "material": "plain"}


def test_pictures_without_signs_are_what_they_were() -> None:
    """Fails where signs move one byte of the pictures, or the tolerances, that were there before them."""
    shapes = b"".join(cell_pictures(cell)[:, :91].tobytes() for cell in (8, 12, 16, 25, 64))
    assert blake2b(shapes, digest_size=8).hexdigest() == "df15c1f417234bd1"
    assert [round(cell_tolerance(cell), 3) for cell in (8, 10, 12, 16, 64)] == [5.332, 4.808, 7.0, 7.0, 7.0]


@pytest.mark.parametrize("cell", CELLS)
def test_the_ring_around_a_sign_is_bare(cell: int) -> None:
    """Fails where a sign reaches the outermost pixels, from which backgrounds are read."""
    ring = np.ones((cell, cell), bool)
    ring[1:-1, 1:-1] = False
    for text in TEXTS:
        panel, inked = sign_layers(text, cell)
        assert not panel[ring].any()
        assert (inked <= panel).all()
        assert 0 < inked.sum() < panel.sum() / 2 < panel.sum()


def test_a_word_by_hand() -> None:
    """Fails where letters lose their gap or their rows."""
    rows = ["#.#.###", "#.#..#.", "###..#.", "#.#..#.", "#.#.###"]
    assert word_pixels("hi").tolist() == [[mark == "#" for mark in row] for row in rows]
    assert word_pixels("open").shape == (5, 4 * 3 + 3)


def test_a_sign_by_hand() -> None:
    """Of 64 pixels a panel takes 54 by 44 or so: its corner is ink, its letters are near white."""
    sign = SceneObject(SIGN, "blue", text="hi")
    picture = cell_pictures(64)[BACKGROUNDS.index("black"), sign.code]
    assert tuple(picture[12, 7]) == INK["blue"]
    assert tuple(picture[32, 14]) == (250, 250, 250)  # the left stroke of the h
    assert tuple(picture[32, 2]) != INK["blue"]


@pytest.mark.parametrize("text", ["", "Open", "a b", "caf\u00e9", "1"])
def test_texts_that_the_font_lacks_are_named(text: str) -> None:
    """Fails where a missing letter is left out in silence."""
    with pytest.raises(ValueError, match="expected letters of the font"):
        word_pixels(text)


def test_the_font_has_every_letter_and_no_two_alike() -> None:
    """Fails where a letter is missing, so that a new word could not be drawn, or drawn as another."""
    letters = [word_pixels(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert len({letter.tobytes() for letter in letters}) == 26
    assert {letter.shape for letter in letters} == {(5, 3)}


def test_noisy_signs_are_read_and_spoilt_ones_are_not() -> None:
    """Fails where signs are read more loosely or more strictly than shapes."""
    rng = np.random.default_rng(3)
    made = [Scene((sign, None, None, sign), "mint") for sign in SIGNS]
    clean = np.stack([render(scene, 32) for scene in made])
    noise = rng.normal(0, 5, clean.shape)
    assert parse(np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8), 2) == made
    tinted = np.rint(0.8 * clean + 0.2 * np.array(INK["red"])).astype(np.uint8)
    shifted = np.roll(clean, 1, axis=2)
    for scene in (*parse(tinted, 2), *parse(shifted, 2)):
        assert scene.cells[0] is scene.cells[3] is UNREADABLE
