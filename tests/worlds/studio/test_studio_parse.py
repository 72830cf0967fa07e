"""The parser reads every scene the renderer draws, and nothing that only resembles one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from editenv.worlds.studio.parse import TOLERANCE, cell_tolerance, parse
from editenv.worlds.studio.render import GROUND, cell_pictures, render
from editenv.worlds.studio.scene import BACKGROUNDS, UNREADABLE, Scene, all_objects, scene_from_codes

OBJECTS = len(all_objects())
UNREAD = UNREADABLE.shape


@st.composite
def scenes(draw: st.DrawFn, grid: int | None = None) -> Scene:
    grid = grid or draw(st.integers(2, 5))
    code = st.one_of(st.just(0), st.integers(1, OBJECTS))
    cells = draw(st.lists(code, min_size=grid**2, max_size=grid**2))
    return scene_from_codes([draw(st.integers(0, len(BACKGROUNDS) - 1)), *cells])


def some_pictures(count: int, seed: int, grid: int = 4, size: int = 64) -> tuple[list[Scene], np.ndarray]:
    rng = np.random.default_rng(seed)
    full = rng.random((count, grid**2)) < 0.4
    codes = np.where(full, rng.integers(1, OBJECTS + 1, full.shape), 0)
    made = [scene_from_codes([n % len(BACKGROUNDS), *row]) for n, row in enumerate(codes.tolist())]
    return made, np.stack([render(scene, size) for scene in made])


def squares(picture: np.ndarray, cell: int = 16) -> np.ndarray:
    """The cells of pictures [..., 4 * cell, 4 * cell, 3] as [..., 16, cell, cell, 3]."""
    cut = picture.reshape(*picture.shape[:-3], 4, cell, 4, cell, 3)
    return np.moveaxis(cut, -4, -3).reshape(*picture.shape[:-3], 16, cell, cell, 3)


@settings(max_examples=60)
@given(scenes(), st.sampled_from([64, 128, 256, 48, 80, 100]))
def test_what_is_drawn_is_read(scene: Scene, size: int) -> None:
    """Fails where two things look alike, or where cells are cut elsewhere than they are drawn."""
    assert parse([render(scene, size)], scene.grid) == [scene]


@pytest.mark.parametrize("cell", (*range(8, 18), 20, 21, 24, 25, 32, 51, 64))
def test_known_pictures_lie_more_than_two_tolerances_apart(cell: int) -> None:
    """Fails where one picture could be read as either of two, or where 16 pixels lose the full tolerance."""
    for pictures in cell_pictures(cell):
        flat = pictures.reshape(len(pictures), -1).astype(np.float64)
        squares = np.diag(products := flat @ flat.T)
        gaps = squares[:, None] - 2 * products + squares
        assert gaps[~np.eye(len(flat), dtype=bool)].min() > flat.shape[1] * (2 * cell_tolerance(cell)) ** 2
    assert cell < 16 or cell_tolerance(cell) == TOLERANCE


@settings(max_examples=60)
@given(scenes(), st.sampled_from([64, 48, 100]), st.integers(0, 2**32 - 1))
def test_pictures_that_are_looked_up_are_read_as_those_that_are_compared(scene: Scene, size: int, seed: int) -> None:
    """Fails where a picture to the last bit means something else than one that is one level off in places."""
    rng, clean = np.random.default_rng(seed), render(scene, size)
    spoilt = clean + rng.integers(0, 2, clean.shape, np.uint8)
    assert parse([clean, spoilt, clean], scene.grid) == parse([spoilt, clean, spoilt], scene.grid) == [scene] * 3


def test_backgrounds_lie_more_than_two_tolerances_apart() -> None:
    """Fails where a background could be read as either of two."""
    grounds = np.array([GROUND[name] for name in BACKGROUNDS], np.float64)
    gap = np.sqrt(((grounds[:, None] - grounds) ** 2).mean(-1))
    assert gap[~np.eye(len(grounds), dtype=bool)].min() > 2 * TOLERANCE


def test_small_noise_is_tolerated() -> None:
    """Fails where the parser is too strict for a decoded latent (an error of 5 levels)."""
    made, clean = some_pictures(40, seed=1)
    noise = np.random.default_rng(2).normal(0, 5, clean.shape)
    assert parse(np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8), 4) == made


@pytest.mark.parametrize(
    ("rows", "columns", "most"),
    [
        (slice(0, 16), slice(0, 16), 7),  # 7 everywhere: the root mean square
        (slice(8, 9), slice(8, 9), 37),  # one pixel
        (slice(8, 9), slice(4, 12), 37),  # 8 of 256 pixels, whose mean square is 43
        (slice(6, 9), slice(6, 9), 24),  # a blob, one channel of which is 24 off in every pixel
        (slice(6, 8), slice(6, 8), 37),  # too small for the window: 4 * 37 / 9 = 16
    ],
)
def test_the_tolerance_by_hand(rows: slice, columns: slice, most: int) -> None:
    """Fails where a cell is read that is one level too far off, or is not that is just near enough."""
    blank = np.full((64, 64, 3), GROUND["gray"], np.uint8)
    for error, expected in ((most, None), (most + 1, UNREADABLE)):
        picture = blank.copy()
        picture[rows, columns] += np.uint8(error)
        assert parse([picture], 4)[0].cells[0] is expected


def test_noise_and_flat_colours_are_unreadable() -> None:
    """Fails where something that shows nothing is read as the nearest thing."""
    noise = np.random.default_rng(3).integers(0, 256, (30, 64, 64, 3)).astype(np.uint8)
    flat = [np.full((64, 64, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 0), (100, 100, 100))]
    for scene in parse([*noise, *flat], 4):
        assert scene.background == UNREAD
        assert set(scene.cells) == {UNREADABLE}


@pytest.mark.parametrize("background", range(len(BACKGROUNDS)))
def test_halfway_between_two_pictures_is_neither(background: int) -> None:
    """Fails where a hedge between two answers counts as one of them.

    All pairs. The one mixture that is read is of red and yellow: orange, neither of the two.
    """
    known = cell_pictures(16)[background].astype(np.int64)
    pairs = np.array([(a, b) for a in range(len(known)) for b in range(a)])
    mixed = np.full((len(pairs), 32, 32, 3), GROUND[BACKGROUNDS[background]], np.uint8)
    mixed[:, :16, :16] = (known[pairs[:, 0]] + known[pairs[:, 1]] + 1) // 2
    for (a, b), scene in zip(pairs, parse(mixed, 2), strict=True):
        seen = scene.cells[0]
        if seen is not UNREADABLE:
            one, other = all_objects()[a - 1], all_objects()[b - 1]
            assert seen is not None
            assert (seen.color, {one.color, other.color}) == ("orange", {"red", "yellow"})
            assert seen.shape == one.shape == other.shape
            assert seen.material == one.material == other.material


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (0, -2), (2, 0), (1, 1)])
def test_objects_beside_their_place_are_unreadable(shift: tuple[int, int]) -> None:
    """Fails where an object may stand beside its cell; every one of the 90 objects, by a pixel or two."""
    for background in range(len(BACKGROUNDS)):
        boards = [[background, *[0] * 5, code, *[0] * 10] for code in range(1, OBJECTS + 1)]
        pictures = np.stack([render(scene_from_codes(board), 64) for board in boards])
        for scene in parse(np.roll(pictures, shift, axis=(1, 2)), 4):
            assert scene.cells[5] is UNREADABLE


def test_tints_halos_blur_and_contrast_are_unreadable() -> None:
    """Fails where a trick that changes how objects look, but not what they are, goes through."""
    made, clean = some_pictures(30, seed=5)
    real = clean.astype(np.float64)
    ground = np.array([GROUND[scene.background] for scene in made], np.float64)[:, None, None]
    faces = squares(real)
    halo = faces.copy()
    halo[:, :, [0, -1]] = halo[:, :, :, [0, -1]] = (255, 0, 0)
    tricks = {
        "tint": 0.8 * faces + 0.2 * np.array((45, 95, 215)),
        "brighter": faces + 20,
        "halo": halo,
        "half transparent": (faces + ground[:, None]) / 2,
    }
    soft = ImageFilter.GaussianBlur(1)
    blurred = np.stack([np.asarray(Image.fromarray(picture).filter(soft)) for picture in clean])
    tricks["blur"] = squares(blurred.astype(np.float64))
    for name, trick in tricks.items():
        board = np.moveaxis(trick.reshape(-1, 4, 4, 16, 16, 3), 2, 3).reshape(clean.shape)
        read = parse(np.clip(np.rint(board), 0, 255).astype(np.uint8), 4)
        for scene, seen in zip(made, read, strict=True):
            assert {seen.cells[cell] for cell in scene.occupied()} == {UNREADABLE}, name


@settings(max_examples=20)
@given(st.lists(scenes(grid=3), min_size=1, max_size=9), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_a_result_does_not_depend_on_the_batch(batch: list[Scene], noise: int, seed: int) -> None:
    """Fails where sums are rounded in an order that the batch decides; with noise or without."""
    rng = np.random.default_rng(seed)
    clean = np.stack([render(scene, 50) for scene in batch])
    pictures = np.clip(np.rint(clean + rng.normal(0, noise, clean.shape)), 0, 255).astype(np.uint8)
    together = parse(pictures, 3)
    assert together == [parse([picture], 3)[0] for picture in pictures]
    assert together[::-1] == parse(list(pictures[::-1]), 3)


def test_an_empty_batch_is_no_error() -> None:
    """Fails where a scorer with nothing to read is refused."""
    assert parse([], 4) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((64, 32, 3), np.uint8), r"picture 1 is uint8 \(64, 32, 3\), expected uint8 \(64, 64, 3\)"),
        (np.zeros((32, 32, 3), np.uint8), r"picture 1 is uint8 \(32, 32, 3\)"),
        (np.zeros((64, 64), np.uint8), r"picture 1 is uint8 \(64, 64\)"),
        (np.zeros((64, 64, 4), np.uint8), r"picture 1 is uint8 \(64, 64, 4\)"),
        (np.zeros((64, 64, 3), np.float32), r"picture 1 is float32 \(64, 64, 3\)"),
    ],
)
def test_pictures_of_another_kind_are_named(wrong: np.ndarray, message: str) -> None:
    """Fails where a picture of another size or type is read wrongly in place of being refused."""
    with pytest.raises(ValueError, match=message):
        parse([np.zeros((64, 64, 3), np.uint8), wrong], 4)


def test_cells_too_small_are_refused() -> None:
    """Fails where a picture is cut into cells that cannot show an object."""
    with pytest.raises(ValueError, match="7 pixels wide, expected at least 8"):
        parse([np.zeros((28, 28, 3), np.uint8)], 4)


def test_what_cannot_be_read_cannot_be_drawn() -> None:
    """Fails where an unreadable cell is drawn as some object."""
    with pytest.raises(ValueError, match="cannot be drawn"):
        render(Scene((None, UNREADABLE, None, None), "white"), 32)
    with pytest.raises(ValueError, match="cannot be drawn"):
        render(Scene((None,) * 4, UNREAD), 32)
