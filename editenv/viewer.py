"""Filmstrips: one row a session, one picture a turn, with what was said, meant and scored under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Protocol

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from editenv.types import SCORE_NAMES, Image, Scores

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


def as_text(session: Shown) -> str:
    """The session for a reader: what was said, meant and scored in each turn."""
    lines = [session.title]
    for turn, said in enumerate(session.transcript):
        lines += [f"turn {turn + 1}", f"  user:   {said}"]
        if turn < len(session.scores):
            scores = session.scores[turn]
            values = {name: getattr(scores, name) for name in SCORE_NAMES}
            known = [f"{name} {value:.2f}" for name, value in values.items() if value is not None]
            told = ", ".join([*known, f"reward {scores.reward:.2f}"]) if known else "none"
            told = told if scores.error is None else f"none, {scores.error}"
            lines += [f"  intent: {session.intents[turn] or '-'}", f"  scores: {told}"]
    ending = getattr(session, "ending", None)
    return "\n".join([*lines, f"end: {ending.reason if ending else 'it goes on'}"])


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
    columns = (longest if max_turns is None else max_turns) + 1
    if longest >= columns:
        raise ValueError(f"a session has {longest} turns, expected at most max_turns = {max_turns}")
    height, width = sessions[0].pictures[0].shape[:2]
    longer = max(height, width)
    if longer > MOST_PICTURE:
        size = (max(1, width * MOST_PICTURE // longer), max(1, height * MOST_PICTURE // longer))
    else:
        scale = max(1, -(-LEAST_PICTURE // longer))
        size = (width * scale, height * scale)
    # Texts need room beside narrow pictures too.
    room = (max(size[0], LEAST_PICTURE), size[1])
    texts = (INSTRUCTION_LINES + INTENT_LINES) * LINE + CHIP_HEIGHT + 4 * PAD + PAD // 2
    card = (room[0] + 2 * PAD, HEAD_HEIGHT + room[1] + texts)
    row_height = TITLE_HEIGHT + card[1] + MARGIN
    wide = 2 * MARGIN + columns * card[0] + (columns - 1) * GAP
    tall = MARGIN // 2 + len(sessions) * row_height
    # Even sides, because most video formats take no others.
    canvas = PILImage.new("RGB", (wide + wide % 2, tall + tall % 2), PAPER)
    pen = _Pen(canvas)
    for row, session in enumerate(sessions):
        top = MARGIN // 2 + row * row_height
        pen.lines((MARGIN + 2, top + 8), session.title, 1, SOFT, canvas.width - 2 * MARGIN, SMALL)
        for column in range(columns):
            left, upper = MARGIN + column * (card[0] + GAP), top + TITLE_HEIGHT
            reached = column < len(session.pictures)
            box = (left, upper, left + card[0], upper + card[1])
            pen.draw.rounded_rectangle(box, radius=8, fill=CARD if reached else PAPER, outline=EDGE)
            corner = (left + PAD, upper + PAD // 2)
            if reached:
                pen.picture((corner[0], corner[1] + HEAD_HEIGHT), session.pictures[column], size)
            if column:
                _draw_turn(pen, corner, session, column - 1, room)
            else:
                pen.lines((corner[0], corner[1] + 4), "source", 1, FAINT, room[0], SMALL)
                below = corner[1] + HEAD_HEIGHT + room[1] + PAD
                for place, (label, _, meaning) in enumerate(CHIPS):
                    pen.lines((corner[0], below + place * LINE), f"{label}: {meaning}", 1, FAINT, room[0], SMALL)
    return np.array(canvas)


def _draw_turn(pen: _Pen, corner: tuple[int, int], session: Shown, turn: int, room: tuple[int, int]) -> None:
    """One turn's heading, instruction, intent and scores, as far as there are any."""
    left, top = corner
    if turn >= len(session.transcript):
        return
    pen.lines((left, top + 4), f"turn {turn + 1}", 1, FAINT, room[0], SMALL)
    top += HEAD_HEIGHT + room[1] + PAD
    pen.lines((left, top), session.transcript[turn], INSTRUCTION_LINES, INK, room[0])
    if turn >= len(session.scores):
        return
    top += INSTRUCTION_LINES * LINE + PAD
    intent, scores = session.intents[turn], session.scores[turn]
    pen.lines((left, top), f"intent: {intent}" if intent else "", INTENT_LINES, SOFT, room[0])
    reward = f"reward {scores.reward:.2f}"
    pen.write((left + room[0] - _length(reward, SMALL), corner[1] + 4), reward, SOFT, SMALL)
    top += INTENT_LINES * LINE + PAD
    if scores.error is not None:
        pen.chip((left, top), room[0], f"unscored: {scores.error}", MIDDLE)
        return
    each = (room[0] - (len(CHIPS) - 1) * 6) // len(CHIPS)
    for place, (label, name, _) in enumerate(CHIPS):
        value: float | None = getattr(scores, name)
        written, color = "n/a", MISSING
        if value is not None:
            written = f"{value:.2f}".rstrip("0").rstrip(".")
            color = GOOD if value >= 1 else BAD if value <= 0 else MIDDLE
        pen.chip((left + place * (each + 6), top), each, f"{label} {written}", color)


class _Pen:
    """Draws pictures and texts on a canvas."""

    def __init__(self, canvas: PILImage.Image) -> None:
        self.canvas, self.draw = canvas, ImageDraw.Draw(canvas)

    def picture(self, corner: tuple[int, int], picture: Image, size: tuple[int, int]) -> None:
        """A framed picture; enlarged ones keep their pixels sharp."""
        sampling = PILImage.Resampling
        how = sampling.NEAREST if size[0] >= picture.shape[1] else sampling.BOX
        self.canvas.paste(PILImage.fromarray(picture).resize(size, how), corner)
        left, top = corner
        self.draw.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=EDGE)

    def chip(self, corner: tuple[int, int], width: int, text: str, color: Color) -> None:
        """A coloured field with a text in its middle."""
        left, top = corner
        self.draw.rounded_rectangle((left, top, left + width, top + CHIP_HEIGHT), radius=5, fill=color)
        for line in wrap(_drawable(text, SMALL), 1, width - 8, partial(_length, size=SMALL)):
            start = left + (width - _length(line, SMALL)) / 2
            self.write((start, top + CHIP_HEIGHT / 2), line, (255, 255, 255), SMALL, anchor="lm")

    def lines(
        self, corner: tuple[int, int], text: str, most: int, color: Color, width: float, size: int = TEXT
    ) -> None:
        """A text in at most `most` lines."""
        for place, line in enumerate(wrap(_drawable(text, size), most, width, partial(_length, size=size))):
            self.write((corner[0], corner[1] + place * LINE), line, color, size)

    def write(self, corner: tuple[float, float], line: str, color: Color, size: int, anchor: str = "la") -> None:
        """One line, each stretch of it in the first font that has its letters."""
        left = corner[0]
        for font, piece in _pieces(line, size):
            self.draw.text((left, corner[1]), piece, fill=color, font=font, anchor=anchor)
            left += font.getlength(piece)


def _length(line: str, size: int) -> float:
    """Width of a line in pixels."""
    return sum(font.getlength(piece) for font, piece in _pieces(line, size))


def _pieces(line: str, size: int) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
    """The line cut where the font changes."""
    fonts, start = _fonts(size), 0
    places = [0 if letter.isascii() else _font_of(letter, size) or 0 for letter in line]
    for end in range(1, len(line) + 1):
        if end == len(line) or places[end] != places[start]:
            yield fonts[places[start]], line[start:end]
            start = end


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
def _fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    """Pillow's own font, which is there on every machine, then those of FALLBACK_FONTS that are found."""
    own = ImageFont.load_default(size)
    if not isinstance(own, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType, which filmstrips need for their texts")
    found = [own]
    for name in FALLBACK_FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return tuple(found)


def wrap(text: str, most: int, width: float, measure: Callable[[str], float]) -> list[str]:
    """Breaks a text at blanks, and inside of words that are too long.

    Args:
        text: any text; every run of white space counts as one blank.
        most: how many lines there may be; a longer text ends in an ellipsis.
        width: room in a line, in the unit of `measure`.
        measure: width of a piece of text.
    """
    words, lines = text.split()[::-1], list[str]()
    while words and len(lines) < most:
        line = words.pop()
        if measure(line) > width:
            size = next((n for n in range(2, len(line)) if measure(line[:n]) > width), len(line)) - 1
            if line[size:]:
                words.append(line[size:])
            line = line[:size]
        else:
            while words and measure(f"{line} {words[-1]}") <= width:
                line = f"{line} {words.pop()}"
        lines.append(line)
    if words:
        line = lines[-1]
        while line and measure(f"{line}…") > width:
            line = line[:-1]
        lines[-1] = f"{line.rstrip()}…"
    return lines
