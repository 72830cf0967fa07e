r"""A task of one's own: "make every object blue". One file holds all of it; a suite names it.

    cd examples && editenv evaluate policy=oracle suite=own_task.yaml sessions=8 out=runs/own_task

own_task.yaml lists `own_task:RepaintAll` under `tasks`. The exact scorer judges the task, every policy can
play it, `MICEEditTools-v0` offers it as an operation, and `policy=reader` and intents understand it.
"""

from dataclasses import dataclass
from typing import ClassVar

from editenv.worlds.studio.dialogue import Request
from editenv.worlds.studio.edit import Edit, with_new_looks
from editenv.worlds.studio.scene import COLORS, Scene


@dataclass(frozen=True, slots=True)
class RepaintAll(Edit):
    """Give all objects one colour."""

    task: ClassVar[str] = "repaint_all"
    covered_by_rules: ClassVar[bool] = False  # rules speak of one edited object
    simple: ClassVar[bool] = False
    needs_attribute: ClassVar[str | None] = "color"
    sentences: ClassVar = {
        "repaint_all": {
            "intent": "make every object {value}",
            "train": ["make every object {value}", "paint them all {value}"],
            "test": ["please paint every object {value}"],
        }
    }

    value: str

    def apply(self, scene: Scene) -> Scene:
        """Every object with the colour; a right result."""
        return with_new_looks(scene, scene.occupied(), {"color": self.value}) or scene

    def accepts(self, before, after, free):
        """Is the picture after it right? What the edit does not touch is judged by consistency."""
        return before != after and after.cells == self.apply(before).cells

    def touched(self, before):
        """Elements that may change."""
        return frozenset(before.occupied())

    def gives(self):
        """A rule such as "no more blue" covers the edit, since it gives objects a colour."""
        return {"color": self.value}

    def slots(self, looks, grid):
        """Words for {value} in its sentences."""
        return {"value": self.value}

    @classmethod
    def sample(cls, state, rng, refer):
        """A colour that not every object has."""
        shown = {obj.color for obj in state.scene.cells if obj is not None}
        return Request(cls(rng.pick([c for c in COLORS if shown != {c}])))

    @classmethod
    def read(cls, slots, context):
        """From the words in the slots of a sentence to the edits that they may mean."""
        return [cls(slots["value"])] if slots["value"] in COLORS else []

    @classmethod
    def operate(cls, operation, scene, earlier):
        """The operation of `MICEEditTools-v0`."""
        color = operation.looks.get("color")
        return cls(color).apply(scene) if color else None
