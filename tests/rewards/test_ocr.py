"""The text reader reads drawn texts, and scores text_change by what it reads alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from editenv.build import make_env
from editenv.records import RecordSpec, RecordTurn
from editenv.rewards.ocr import OcrScorer, says, wanted_texts
from editenv.types import Scores, TurnResult, UserMessage
from tests.worlds.records.handmade import UNDERSTANDING


def drawn(*lines, size=(320, 200)):
    """A picture with lines of text."""
    image = Image.new("RGB", size, (250, 250, 240))
    for place, line in enumerate(lines):
        ImageDraw.Draw(image).text((20, 20 + 80 * place), line, (20, 20, 60), ImageFont.load_default(48))
    return np.array(image)


def turn(resolved, after, task="text_change"):
    spec = RecordSpec("x.png", ("do it",), (RecordTurn(task, resolved),))
    return TurnResult(spec, 0, spec.message(0), after, after, after)


@pytest.fixture(scope="module")
def reader():
    for package in ("rapidocr", "omegaconf"):  # It cannot do without the latter.
        pytest.importorskip(package)
    return OcrScorer(None)


def test_a_text_that_is_there_scores_one_and_another_zero(reader):
    replace = "Replace the text 'SHUT' on [sign] with 'OPEN 24'"
    right, wrong, both, none, other = reader.score(
        [
            turn(replace, drawn("OPEN 24")),
            turn(replace, drawn("SHUT")),
            turn(replace, drawn("OPEN 24", "SHUT")),
            turn(replace, drawn()),
            turn("Remove [cup]", drawn("OPEN 24"), "subject_remove"),
        ]
    )
    assert [score.instruction_following for score in (right, wrong, both, none)] == [1.0, 0.0, 0.0, 0.0]
    assert right.reward == 1.0 and right.content_consistency is None
    assert right.detail["read"] == ["OPEN 24"] and none.detail["read"] == []
    assert other == Scores()


def test_lines_are_read_as_one_text(reader):
    (score,) = reader.score([turn("Add text 'Fresh Bread' on the image", drawn("FRESH", "BREAD"))])
    assert score.instruction_following == 1.0


@pytest.mark.parametrize(
    ("lines", "new", "old", "expected"),
    [
        (["Café"], "CAFE\u0301", None, True),
        (["ＯＰＥＮ"], "open", None, True),  # noqa: RUF001
        (["茶馆"], "茶馆", "饭店", True),
        (["茶馆", "饭店"], "茶馆", "饭店", False),
        (["NOT OPEN"], "NOT OPEN", "OPEN", True),
        (["50%", "off!"], "50 % OFF", None, True),
        (["ope"], "open", None, False),
        ([], "open", None, False),
        (["?!"], "?!", None, True),
        ([], "?!", None, False),
    ],
)
def test_texts_are_compared_by_their_letters(lines, new, old, expected):
    assert says(lines, new, old) is expected


def test_what_is_wanted_is_taken_from_the_sentence():
    spec = RecordSpec("x.png", ("x",), (RecordTurn("text_change", UNDERSTANDING["formatted_instruction"][0]),))
    outcome = TurnResult(spec, 0, UserMessage("x", spec.turns[0]), *[drawn()] * 3)
    assert wanted_texts(outcome) == ("茶馆", "饭店")
    assert wanted_texts(turn("Paint something nice on it", drawn())) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"side": 0}, "side is 0"), ({"confidence": 2}, "confidence is 2"), ({"langage": "en"}, "no setting 'langage'")],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        make_env(scorer="ocr", scorer_settings=settings)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'editenv\[ocr\]'"):
        OcrScorer(None)
