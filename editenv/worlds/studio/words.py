"""Cells and objects in words."""

from __future__ import annotations


def place(cell: int, grid: int) -> str:
    """A cell, counted from 1 at the top left: "row 2 column 3"."""
    return f"row {cell // grid + 1} column {cell % grid + 1}"


def known_object(shape: str | None, color: str | None, material: str | None) -> str:
    """An object that is there, as far as its looks are known: "the striped red circle", "the star"."""
    return " ".join(("the", *(word for word in (material, color, shape or "object") if word)))


def new_object(shape: str, color: str | None, material: str | None) -> str:
    """An object to come, with its article: "an orange star"."""
    words = " ".join(word for word in (material, color, shape) if word)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
