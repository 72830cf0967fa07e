"""Breaking text into lines of a given width."""

from __future__ import annotations

from collections.abc import Callable

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
