"""Forms of intents: how what a turn asks for is written down between the words and the picture.

To add a form, write a class with the members of `IntentForm` in a file of its own, name it in FORMS, and put
a file of its name into `configs/intent_form`. Words that are new to the studio go into `language.FORM_WORDS`.
"""

from __future__ import annotations

from typing import Protocol

from editenv.registry import lookup
from editenv.worlds.studio.intents.free import FreeForm
from editenv.worlds.studio.intents.rules import RulesForm
from editenv.worlds.studio.intents.structured import StructuredForm
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Target

__all__ = ["FORMS", "IntentForm", "intent_form"]


class IntentForm(Protocol):
    """A way to write a turn's intent, and to carry it out."""

    tokens: int
    """Most tokens that intents of the form take, the stop token included; 0 where the caller's own number
    is enough."""

    def write(self, turn: StudioTurn, grid: int) -> str:
        """What an agent should write in a turn.

        Args:
            turn: what the user says, with what is meant by it.
            grid: cells a side.

        Raises:
            ValueError: the form has no words for what the turn means.
        """

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """The scene that an intent asks for, None where it cannot be carried out; never raises.

        Args:
            text: an intent in this form; case, punctuation and spaces do not matter.
            scene: what the picture shows now.
            grid: cells a side.
        """

    def name(self, target: Target, grid: int) -> str:
        """How an intent names an object."""


FORMS: dict[str, IntentForm] = {"free": FreeForm(), "rules": RulesForm(), "structured": StructuredForm()}
"""Forms by name."""


def intent_form(name: str) -> IntentForm:
    """The form of a name.

    Raises:
        ValueError: there is none.
    """
    return lookup("intent_form", name, FORMS)
