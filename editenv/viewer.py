"""Filmstrips: one row a session, one picture a turn, with what was said, meant and scored under it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from editenv.textlines import wrap
from editenv.types import Image, Scores

if TYPE_CHECKING:
    from PIL.Image import Image as PILImageType
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]

PAPER, CARD, EDGE = (243, 244, 246), (255, 255, 255), (209, 213, 219)
INK, SOFT, FAINT = (17, 24, 39), (75, 85, 99), (156, 163, 175)
GOOD, MIDDLE, BAD, MISSING = (22, 130, 70), (202, 138, 4), (200, 40, 40), (156, 163, 175)

MARGIN, GAP, PAD = 16, 12, 10
TEXT, SMALL, LINE = 15, 13, 19
INSTRUCTION_LINES, INTENT_LINES = 3, 3
TITLE_HEIGHT, HEAD_HEIGHT, CHIP_HEIGHT = 30, 26, 24
LEAST_PICTURE = 220

CHIPS = (
    ("IF", "instruction_following", "instruction followed"),
    ("CC", "content_consistency", "the rest as in the source"),
    ("GA", "global_awareness", "every turn and rule kept"),
)


class Shown(Protocol):
    """What a row is drawn from; `Session` and `SessionRecord` both have it."""

    @property
    def title(self) -> str:
        """The session's name for a reader."""

    @property
    def pictures(self) -> Sequence[Image]:
        """The source, then the picture after each turn, uint8 [H, W, 3]."""

    @property
    def transcript(self) -> Sequence[str]:
        """What the user said, in order; may be one longer than there are turns."""

    @property
    def intents(self) -> Sequence[str]:
        """One entry a finished turn."""

    @property
    def scores(self) -> Sequence[Scores]:
        """One entry a finished turn."""


def filmstrip(sessions: Sequence[Shown], max_turns: int | None = None) -> Image:
    """Draws sessions one under another.

    Args:
        sessions: at least one; all with pictures of one shape.
        max_turns: turns there is room for; the canvas depends on it, on the number of sessions and on the
            shape of their pictures alone. None makes room for the longest session.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: there are no sessions, or one is longer than max_turns.
    """
    if not sessions:
        raise ValueError("filmstrip got no sessions, expected one or more")
    longest = max(len(session.pictures) for session in sessions) - 1
    if max_turns is None:
        max_turns = longest
    if longest > max_turns:
        raise ValueError(f"a session has {longest} turns, expected at most max_turns = {max_turns}")
    return np.array(_draw(sessions, max_turns + 1))


def _draw(sessions: Sequence[Shown], columns: int) -> Image:
    """The whole canvas."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    height, width = sessions[0].pictures[0].shape[:2]
    scale = max(1, -(-LEAST_PICTURE // width))
    card = (width * scale + 2 * PAD, _card_height(height * scale))
    row_height = TITLE_HEIGHT + card[1] + MARGIN
    wide, tall = (
        2 * MARGIN + columns * card[0] + (columns - 1) * GAP,
        MARGIN // 2 + len(sessions) * row_height,
    )
    # Even sides, because most video formats take no others.
    canvas = PILImage.new("RGB", (wide + wide % 2, tall + tall % 2), PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, session in enumerate(sessions):
        top = MARGIN // 2 + row * row_height
        _text(draw, (MARGIN + 2, top + 8), session.title, SMALL, SOFT, canvas.width - 2 * MARGIN)
        for column in range(columns):
            corner = (MARGIN + column * (card[0] + GAP), top + TITLE_HEIGHT)
            box = (*corner, corner[0] + card[0], corner[1] + card[1])
            reached = column < len(session.pictures)
            draw.rounded_rectangle(box, radius=8, fill=CARD if reached else PAPER, outline=EDGE)
            inner = (corner[0] + PAD, corner[1] + PAD // 2)
            if reached:
                _picture(canvas, inner, session.pictures[column], scale)
            if column:
                _turn(draw, inner, session, column - 1, (width * scale, height * scale))
            else:
                _legend(draw, inner, (width * scale, height * scale))
    return canvas


def _card_height(picture: int) -> int:
    """Height of a card around a picture of that height."""
    return (
        HEAD_HEIGHT + picture + (INSTRUCTION_LINES + INTENT_LINES) * LINE + CHIP_HEIGHT + 4 * PAD + PAD // 2
    )


def _picture(canvas: PILImageType, corner: tuple[int, int], picture: Image, scale: int) -> None:
    """The enlarged picture below its card's heading, pixels kept sharp."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    left, top = corner[0], corner[1] + HEAD_HEIGHT
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    canvas.paste(PILImage.fromarray(picture).resize(size, PILImage.Resampling.NEAREST), (left, top))
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=EDGE)


def _turn(draw: ImageDraw, corner: tuple[int, int], session: Shown, turn: int, size: tuple[int, int]) -> None:
    """One turn's heading, instruction, intent and scores, as far as there are any."""
    left, top = corner
    if turn >= len(session.transcript):
        return
    _text(draw, (left, top + 4), f"turn {turn + 1}", SMALL, FAINT, size[0])
    top += HEAD_HEIGHT + size[1] + PAD
    _lines(draw, (left, top), session.transcript[turn], INSTRUCTION_LINES, INK, size[0])
    if turn >= len(session.scores):
        return
    top += INSTRUCTION_LINES * LINE + PAD
    intent = session.intents[turn]
    _lines(draw, (left, top), f"intent: {intent}" if intent else "", INTENT_LINES, SOFT, size[0])
    _chips(draw, (left, top + INTENT_LINES * LINE + PAD), session.scores[turn], size[0])
    reward = f"reward {session.scores[turn].reward:.2f}"
    edge = left + size[0] - _font(SMALL).getlength(reward)
    draw.text((edge, corner[1] + 4), reward, fill=SOFT, font=_font(SMALL))


def _legend(draw: ImageDraw, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """The source's heading, and what the scores' short names mean."""
    _text(draw, (corner[0], corner[1] + 4), "source", SMALL, FAINT, size[0])
    top = corner[1] + HEAD_HEIGHT + size[1] + PAD
    for place, (label, _, meaning) in enumerate(CHIPS):
        _text(draw, (corner[0], top + place * LINE), f"{label}: {meaning}", SMALL, FAINT, size[0])


def _chips(draw: ImageDraw, corner: tuple[int, int], scores: Scores, width: int) -> None:
    """The scores as coloured fields, or one field that says why there are none."""
    if scores.error is not None:
        _chip(draw, corner, width, f"unscored: {scores.error}", MIDDLE)
        return
    each = (width - (len(CHIPS) - 1) * 6) // len(CHIPS)
    for place, (label, name, _) in enumerate(CHIPS):
        value: float | None = getattr(scores, name)
        written = "n/a" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
        _chip(draw, (corner[0] + place * (each + 6), corner[1]), each, f"{label} {written}", _color(value))


def _color(value: float | None) -> Color:
    """Green for 1, red for 0, amber between, grey for none."""
    if value is None:
        return MISSING
    return GOOD if value >= 1 else BAD if value <= 0 else MIDDLE


def _chip(draw: ImageDraw, corner: tuple[int, int], width: int, text: str, color: Color) -> None:
    """A coloured field with a text in its middle."""
    draw.rounded_rectangle((*corner, corner[0] + width, corner[1] + CHIP_HEIGHT), radius=5, fill=color)
    line = wrap(text, 1, width - 8, _font(SMALL).getlength)
    if line:
        middle = (corner[0] + width / 2, corner[1] + CHIP_HEIGHT / 2)
        draw.text(middle, line[0], fill=(255, 255, 255), font=_font(SMALL), anchor="mm")


def _lines(draw: ImageDraw, corner: tuple[int, int], text: str, most: int, color: Color, width: int) -> None:
    """A text in at most `most` lines."""
    for place, line in enumerate(wrap(text, most, width, _font(TEXT).getlength)):
        draw.text((corner[0], corner[1] + place * LINE), line, fill=color, font=_font(TEXT))


def _text(draw: ImageDraw, corner: tuple[int, int], text: str, size: int, color: Color, width: int) -> None:
    """A text in one line."""
    for line in wrap(text, 1, width, _font(size).getlength):
        draw.text(corner, line, fill=color, font=_font(size))


@lru_cache
def _font(size: int) -> FreeTypeFont:
    """Pillow's own font, which is there on every machine."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    if isinstance(font, ImageFont.FreeTypeFont):
        return font
    raise RuntimeError("this Pillow was built without FreeType, which filmstrips need for their texts")
