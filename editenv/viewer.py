"""Filmstrips: one row a session, one picture a turn, with what was said, meant and scored under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from editenv.types import SCORE_NAMES, Image, Scores

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
LEAST_PICTURE, MOST_PICTURE = 220, 1024
"""Pictures are enlarged until the longer side has so many pixels, and shrunk to at most so many."""

FALLBACK_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "NotoSansJP-Regular.otf", "wqy-microhei.ttc"),
    *("msyh.ttc", "msgothic.ttc", "PingFang.ttc", "NotoSansDevanagari-Regular.ttf", "Nirmala.ttf"),
    *("NotoSansArabic-Regular.ttf", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf"),
)
"""Looked for among the machine's fonts, for letters that Pillow's own font lacks."""

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
        ...

    @property
    def pictures(self) -> Sequence[Image]:
        """The source, then the picture after each turn, uint8 [H, W, 3]."""
        ...

    @property
    def transcript(self) -> Sequence[str]:
        """What the user said, in order; may be one longer than there are turns."""
        ...

    @property
    def intents(self) -> Sequence[str]:
        """One entry a finished turn."""
        ...

    @property
    def scores(self) -> Sequence[Scores]:
        """One entry a finished turn."""
        ...


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


def as_text(session: Shown) -> str:
    """The session for a reader: what was said, meant and scored in each turn."""
    lines = [session.title]
    for turn, said in enumerate(session.transcript):
        lines += [f"turn {turn + 1}", f"  user:   {said}"]
        if turn < len(session.scores):
            lines.append(f"  intent: {session.intents[turn] or '-'}")
            lines.append(f"  scores: {_scores_as_text(session.scores[turn])}")
    ending = getattr(session, "ending", None)
    return "\n".join([*lines, f"end: {ending.reason if ending else 'it goes on'}"])


def _scores_as_text(scores: Scores) -> str:
    if scores.error is not None:
        return f"none, {scores.error}"
    values = {name: getattr(scores, name) for name in SCORE_NAMES}
    known = [f"{name} {value:.2f}" for name, value in values.items() if value is not None]
    return ", ".join([*known, f"reward {scores.reward:.2f}"]) if known else "none"


def _draw(sessions: Sequence[Shown], columns: int) -> PILImageType:
    """The whole canvas."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    size = _shown_size(sessions[0].pictures[0])
    # Texts need room beside narrow pictures too.
    room = (max(size[0], LEAST_PICTURE), size[1])
    card = (room[0] + 2 * PAD, _card_height(room[1]))
    row_height = TITLE_HEIGHT + card[1] + MARGIN
    wide = 2 * MARGIN + columns * card[0] + (columns - 1) * GAP
    tall = MARGIN // 2 + len(sessions) * row_height
    # Even sides, because most video formats take no others.
    canvas = PILImage.new("RGB", (wide + wide % 2, tall + tall % 2), PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, session in enumerate(sessions):
        top = MARGIN // 2 + row * row_height
        _lines(draw, (MARGIN + 2, top + 8), session.title, 1, SOFT, canvas.width - 2 * MARGIN, SMALL)
        for column in range(columns):
            corner = (MARGIN + column * (card[0] + GAP), top + TITLE_HEIGHT)
            box = (*corner, corner[0] + card[0], corner[1] + card[1])
            reached = column < len(session.pictures)
            draw.rounded_rectangle(box, radius=8, fill=CARD if reached else PAPER, outline=EDGE)
            inner = (corner[0] + PAD, corner[1] + PAD // 2)
            if reached:
                _picture(canvas, inner, session.pictures[column], size)
            if column:
                _turn(draw, inner, session, column - 1, room)
            else:
                _legend(draw, inner, room)
    return canvas


def _shown_size(picture: Image) -> tuple[int, int]:
    """Width and height that a picture is drawn at."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer > MOST_PICTURE:
        return max(1, width * MOST_PICTURE // longer), max(1, height * MOST_PICTURE // longer)
    scale = max(1, -(-LEAST_PICTURE // longer))
    return width * scale, height * scale


def _card_height(picture: int) -> int:
    """Height of a card around a picture of that height."""
    return HEAD_HEIGHT + picture + (INSTRUCTION_LINES + INTENT_LINES) * LINE + CHIP_HEIGHT + 4 * PAD + PAD // 2


def _picture(canvas: PILImageType, corner: tuple[int, int], picture: Image, size: tuple[int, int]) -> None:
    """The picture below its card's heading; enlarged ones keep their pixels sharp."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    left, top = corner[0], corner[1] + HEAD_HEIGHT
    resampling = PILImage.Resampling.NEAREST if size[0] >= picture.shape[1] else PILImage.Resampling.BOX
    canvas.paste(PILImage.fromarray(picture).resize(size, resampling), (left, top))
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=EDGE)


def _turn(draw: ImageDraw, corner: tuple[int, int], session: Shown, turn: int, room: tuple[int, int]) -> None:
    """One turn's heading, instruction, intent and scores, as far as there are any."""
    left, top = corner
    if turn >= len(session.transcript):
        return
    _lines(draw, (left, top + 4), f"turn {turn + 1}", 1, FAINT, room[0], SMALL)
    top += HEAD_HEIGHT + room[1] + PAD
    _lines(draw, (left, top), session.transcript[turn], INSTRUCTION_LINES, INK, room[0])
    if turn >= len(session.scores):
        return
    top += INSTRUCTION_LINES * LINE + PAD
    intent = session.intents[turn]
    _lines(draw, (left, top), f"intent: {intent}" if intent else "", INTENT_LINES, SOFT, room[0])
    _chips(draw, (left, top + INTENT_LINES * LINE + PAD), session.scores[turn], room[0])
    reward = f"reward {session.scores[turn].reward:.2f}"
    _write(draw, (left + room[0] - _length(reward, SMALL), corner[1] + 4), reward, SOFT, SMALL)


def _legend(draw: ImageDraw, corner: tuple[int, int], room: tuple[int, int]) -> None:
    """The source's heading, and what the scores' short names mean."""
    _lines(draw, (corner[0], corner[1] + 4), "source", 1, FAINT, room[0], SMALL)
    top = corner[1] + HEAD_HEIGHT + room[1] + PAD
    for place, (label, _, meaning) in enumerate(CHIPS):
        _lines(draw, (corner[0], top + place * LINE), f"{label}: {meaning}", 1, FAINT, room[0], SMALL)


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
    for line in wrap(_drawable(text, SMALL), 1, width - 8, partial(_length, size=SMALL)):
        left = corner[0] + (width - _length(line, SMALL)) / 2
        _write(draw, (left, corner[1] + CHIP_HEIGHT / 2), line, (255, 255, 255), SMALL, anchor="lm")


def _lines(
    draw: ImageDraw, corner: tuple[float, float], text: str, most: int, color: Color, width: float, size: int = TEXT
) -> None:
    """A text in at most `most` lines."""
    for place, line in enumerate(wrap(_drawable(text, size), most, width, partial(_length, size=size))):
        _write(draw, (corner[0], corner[1] + place * LINE), line, color, size)


def _write(
    draw: ImageDraw, corner: tuple[float, float], line: str, color: Color, size: int, anchor: str = "la"
) -> None:
    """One line, each stretch of it in the first font that has its letters."""
    left = corner[0]
    for font, piece in _pieces(line, size):
        draw.text((left, corner[1]), piece, fill=color, font=font, anchor=anchor)
        left += font.getlength(piece)


def _length(line: str, size: int) -> float:
    """Width of a line in pixels."""
    return sum(font.getlength(piece) for font, piece in _pieces(line, size))


def _pieces(line: str, size: int) -> list[tuple[FreeTypeFont, str]]:
    """The line cut where the font changes."""
    fonts = _fonts(size)
    if line.isascii() or len(fonts) == 1:
        return [(fonts[0], line)]
    pieces: list[tuple[FreeTypeFont, str]] = []
    for letter in line:
        font = fonts[_font_of(letter, size) or 0]
        if pieces and pieces[-1][0] is font:
            pieces[-1] = (font, pieces[-1][1] + letter)
        else:
            pieces.append((font, letter))
    return pieces


def _drawable(text: str, size: int) -> str:
    """The text, letters that no font here has as their code points, such as [732B]."""
    if text.isascii():
        return text
    return "".join(
        letter if letter.isspace() or _font_of(letter, size) is not None else f"[{ord(letter):04X}]" for letter in text
    )


@lru_cache(maxsize=4096)
def _font_of(letter: str, size: int) -> int | None:
    """The place among `_fonts` of the first one that has the letter; None where none has it."""
    for place, font in enumerate(_fonts(size)):
        # The code point that no font has shows the glyph for missing letters.
        glyph, missing = (np.asarray(font.getmask(one)) for one in (letter, chr(0x10FFFF)))
        if not np.array_equal(glyph, missing):
            return place
    return None


@lru_cache
def _fonts(size: int) -> tuple[FreeTypeFont, ...]:
    """Pillow's own font, which is there on every machine, then those of FALLBACK_FONTS that are found."""
    from PIL import ImageFont

    own = ImageFont.load_default(size)
    if not isinstance(own, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType, which filmstrips need for their texts")
    found = [own]
    for name in FALLBACK_FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return tuple(found)


_ELLIPSIS = "…"


def wrap(text: str, most: int, width: float, measure: Callable[[str], float]) -> list[str]:
    """Breaks a text at blanks, and inside of words that are too long.

    Args:
        text: any text; every run of white space counts as one blank.
        most: how many lines there may be; a longer text ends in an ellipsis.
        width: room in a line, in the unit of `measure`.
        measure: width of a piece of text.

    Returns:
        The lines; none for an empty text.
    """
    words = text.split()
    lines: list[str] = []
    while words and len(lines) < most:
        line, words = _fill(words, width, measure)
        lines.append(line)
    if words:
        lines[-1] = _shorten(lines[-1], width, measure)
    return lines


def _fill(words: list[str], width: float, measure: Callable[[str], float]) -> tuple[str, list[str]]:
    """The longest line that the first words make, and the words left over."""
    line = words[0]
    if measure(line) > width:
        size = next((n for n in range(2, len(line)) if measure(line[:n]) > width), len(line)) - 1
        return line[:size], [line[size:], *words[1:]] if line[size:] else words[1:]
    for count in range(1, len(words)):
        longer = f"{line} {words[count]}"
        if measure(longer) > width:
            return line, words[count:]
        line = longer
    return line, []


def _shorten(line: str, width: float, measure: Callable[[str], float]) -> str:
    """The line with an ellipsis at its end, cut until it fits."""
    while line and measure(line + _ELLIPSIS) > width:
        line = line[:-1]
    return line.rstrip() + _ELLIPSIS
