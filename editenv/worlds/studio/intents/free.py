"""The published form: one self-contained instruction with every rule worked in."""

from __future__ import annotations

from editenv.worlds.studio.read import read_intent
from editenv.worlds.studio.scene import Scene
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import Target


class FreeForm:
    """As in "make the circle red": whoever writes applies the rules, whoever paints needs to know none."""

    tokens = 0

    def write(self, turn: StudioTurn, grid: int) -> str:
        """The turn's canonical intent."""
        return turn.intent

    def read(self, text: str, scene: Scene, grid: int) -> Scene | None:
        """See `read_intent`."""
        return read_intent(text, scene, grid)

    def name(self, target: Target, grid: int) -> str:
        """As sentences do: "the red circle"."""
        return target.words(grid)
