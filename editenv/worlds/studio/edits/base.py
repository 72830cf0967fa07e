"""What every editing task offers, and how an instruction points at an object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from editenv.worlds.studio.noun_phrases import known_object, place
from editenv.worlds.studio.scene import UNREADABLE, Scene, SceneObject

Looks = dict[str, str | None]
"""Colour and material that an edited object shall get; None where nothing is asked."""

SPARSE = {"sparse": True}
"""Metadata of a field that JSON leaves out while it has its default: older sessions keep their ids."""

BACKGROUND = -1
"""Stands for the background where elements of a picture are named by cell numbers."""


@dataclass(frozen=True, slots=True)
class Target:
    """The object an instruction speaks of: where it should stand, and what the words say of its looks.

    Attributes:
        cell: where it stands if all went as asked so far.
        shape, color, material: what is said or known of it; None where nothing is.
        placed: True when the words name its place too.
        text: what is said or known of a sign's text.
    """

    cell: int
    shape: str | None = None
    color: str | None = None
    material: str | None = None
    placed: bool = False
    text: str | None = field(default=None, metadata=SPARSE)

    def words(self, grid: int) -> str:
        """The object in words: "the striped red circle", "the star in row 2 column 3"."""
        looks = known_object(self.shape, self.color, self.material, self.text)
        return f"{looks} in {place(self.cell, grid)}" if self.placed else looks

    def fits(self, thing: SceneObject | None) -> bool:
        """True when an object looks as described; what cannot be read fits no description."""
        return (
            thing is not None
            and thing is not UNREADABLE
            and self.shape in (None, thing.shape)
            and self.color in (None, thing.color)
            and self.material in (None, thing.material)
            and self.text in (None, thing.text)
        )

    def find(self, scene: Scene) -> int | None:
        """The cell of the object meant in a scene, None when it is not there or two fit equally well."""
        if self.fits(scene.cells[self.cell]):
            return self.cell
        if self.placed:
            # "the object in row 2 column 3" may mean what nobody can read: it says nothing of its looks.
            return self.cell if self == Target(self.cell, placed=True) and self._hidden(scene) else None
        places = [cell for cell, thing in enumerate(scene.cells) if self.fits(thing)]
        return places[0] if len(places) == 1 else None

    def _hidden(self, scene: Scene) -> bool:
        return scene.cells[self.cell] is UNREADABLE


class Edit(Protocol):
    """One editing task with its arguments; a frozen dataclass of JSON values (and perhaps a Target)."""

    task: ClassVar[str]
    covered_by_rules: ClassVar[bool]
    """Do rules about edited objects cover this task? Not removals and backgrounds (MICE-Bench)."""

    def apply(self, scene: Scene) -> Scene:
        """One right result where no rule is in force and the object meant is there."""

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        """Is this edit, and its object, as asked? What else changed is judged by consistency.

        Args:
            before: what the picture before shows.
            after: what the picture after shows.
            free: attributes that a rule in force speaks of, which may differ from what was there.
        """

    def touched(self, before: Scene) -> frozenset[int]:
        """Elements (cells, BACKGROUND) that this edit may change."""

    def edited_cell(self, before: Scene, after: Scene | None = None) -> int | None:
        """Where the edited object stands afterwards; None when there is none or it cannot be told.

        Args:
            before: what the picture before shows.
            after: what the picture after shows; without it, where `apply` would leave the object.
        """

    def asked(self) -> Looks:
        """The looks that the instruction itself asks for."""

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        """Words for the slots of this task's sentences, given the looks (the instruction's or a rule's)."""


def same_but(before: SceneObject | None, after: SceneObject | None, free: Iterable[str]) -> bool:
    """True when two objects agree in every attribute that is not free; the unreadable agree with nothing."""
    if before is None or after is None or UNREADABLE in (before, after):
        return False
    old, new = before.attributes(), after.attributes()
    return all(new.get(name) == value for name, value in old.items() if name not in free)
