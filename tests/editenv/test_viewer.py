"""Filmstrips have a fixed size and show the pictures themselves, enlarged."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.env import MICEEditEnv
from editenv.types import Image, Scores
from editenv.viewer import BAD, GOOD, MIDDLE, MISSING, filmstrip, wrap
from tests.fakes import FakeWorld, FlatScorer, ScriptUser, answer

COLOR = (12, 34, 56)


@dataclass
class Row:
    """A session by hand."""

    pictures: list[Image]
    transcript: tuple[str, ...] = ("paint it",)
    intents: list[str] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    title: str = "train 0:0"


def flat(color: tuple[int, int, int] = COLOR, size: int = 16) -> Image:
    return np.full((size, size, 3), color, dtype=np.uint8)


def played(scores: Scores, said: str = "paint it", intent: str = "") -> Row:
    return Row([flat(), flat()], (said,), [intent], [scores])


def count(strip: Image, color: tuple[int, int, int]) -> int:
    return int((strip == np.array(color, dtype=np.uint8)).all(-1).sum())


def test_size_is_the_same_through_a_whole_session() -> None:
    env = MICEEditEnv(FakeWorld(), ScriptUser(), FlatScorer(), render_mode="rgb_array")
    env.reset(seed=1)
    frames = [env.render()]
    for _ in range(3):
        env.step(answer(8, 9, "a very long intent " * 40))
        frames.append(env.render())
    shapes = {frame.shape for frame in frames if frame is not None}
    assert len(shapes) == 1
    height, width, _ = shapes.pop()
    assert height % 2 == width % 2 == 0
    assert all(not np.array_equal(a, b) for a, b in pairwise(frames))


def test_rows_and_columns_make_the_canvas_grow() -> None:
    one = filmstrip([Row([flat()])], max_turns=1)
    assert filmstrip([Row([flat()])] * 2, max_turns=1).shape[0] > 1.8 * one.shape[0]
    assert filmstrip([Row([flat()])], max_turns=3).shape[1] > 1.8 * one.shape[1]


def test_pixels_are_enlarged_sharply() -> None:
    picture = flat((1, 2, 3))
    picture[0, 0] = COLOR
    strip = filmstrip([Row([picture])], max_turns=1)
    side = int(count(strip, COLOR) ** 0.5)
    assert side * 16 >= 220
    assert count(strip, COLOR) == side * side
    assert count(strip, (1, 2, 3)) == 255 * side * side


@pytest.mark.parametrize(
    ("scores", "color"),
    [
        (Scores(1.0, 1.0, 1.0), GOOD),
        (Scores(0.0, 0.0, 0.0), BAD),
        (Scores(0.5, 0.5, 0.5), MIDDLE),
        (Scores(), MISSING),
        (Scores(error="timed out"), MIDDLE),
    ],
)
def test_scores_are_coloured(scores: Scores, color: tuple[int, int, int]) -> None:
    strip = filmstrip([played(scores)])
    areas = {each: count(strip, each) for each in (GOOD, BAD, MIDDLE, MISSING)}
    assert max(areas, key=lambda each: areas[each]) == color
    assert areas[color] > 2000


def test_instruction_and_intent_are_drawn() -> None:
    scores = Scores(1.0, 1.0, 1.0)
    plain = filmstrip([played(scores, "")])
    assert not np.array_equal(plain, filmstrip([played(scores, "paint")]))
    assert not np.array_equal(plain, filmstrip([played(scores, "", intent="paint")]))


def test_any_text_can_be_drawn() -> None:
    filmstrip([played(Scores(error="\n猫" * 400), "größer 猫 😀 \0\t" * 60, "x" * 1000)])


def test_no_sessions_and_too_long_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="no sessions"):
        filmstrip([])
    with pytest.raises(ValueError, match="a session has 2 turns, expected at most max_turns = 1"):
        filmstrip([Row([flat()] * 3)], max_turns=1)


def test_without_a_render_mode_there_is_no_picture() -> None:
    env = MICEEditEnv(FakeWorld(), ScriptUser(), FlatScorer())
    env.reset(seed=1)
    assert env.render() is None


@given(st.text(max_size=60), st.integers(1, 4), st.integers(3, 20))
def test_lines_fit_and_lose_nothing_but_what_the_ellipsis_says(text: str, most: int, width: int) -> None:
    lines = wrap(text, most, width, len)
    assert len(lines) <= most
    assert all(0 < len(line) <= width for line in lines)
    told, asked = "".join(lines).replace(" ", ""), "".join(text.split())
    assert told == asked or (told.endswith("…") and asked.startswith(told[:-1]))


def test_words_stay_whole_where_they_fit() -> None:
    assert wrap("make the star red", 3, 8, len) == ["make the", "star red"]
    assert wrap("make the star red", 1, 8, len) == ["make th…"]
    assert wrap("abcdefghij k", 3, 4, len) == ["abcd", "efgh", "ij k"]
    assert wrap("", 3, 4, len) == []


@pytest.mark.parametrize("shape", [(2000, 4), (4, 2000), (50, 100), (3000, 3000)])
def test_no_picture_makes_a_huge_filmstrip(shape: tuple[int, int]) -> None:
    strip = filmstrip([Row([np.zeros((*shape, 3), np.uint8)])], max_turns=3)
    assert strip.shape[0] * strip.shape[1] < 10_000_000


@pytest.mark.parametrize(
    ("one", "other"), [("把字换成茶馆", "删除左边的船"), ("ネコを消して", "空を青くして"), ("बिल्ली", "नीलापन")]
)
def test_other_scripts_are_drawn_or_marked(one: str, other: str) -> None:
    """Fails where letters without a font are all drawn as the same empty box."""
    scores = Scores(1.0, 1.0, 1.0)
    assert not np.array_equal(filmstrip([played(scores, one)]), filmstrip([played(scores, other)]))
