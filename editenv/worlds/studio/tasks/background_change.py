"""background_change: another background behind the same objects."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from editenv.worlds.studio.dialogue import Context, DialogueState, Request
from editenv.worlds.studio.edit import BACKGROUND, Edit, Looks, Operation
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.scene import BACKGROUNDS, Scene


@dataclass(frozen=True, slots=True)
class BackgroundChange(Edit):
    """Change the background to `background`."""

    task: ClassVar[str] = "background_change"
    operation_words: ClassVar[str] = "{task}: {background}"
    covered_by_rules: ClassVar[bool] = False

    background: str

    def apply(self, scene: Scene) -> Scene:
        return replace(scene, background=self.background)

    def accepts(self, before: Scene, after: Scene, free: frozenset[str]) -> bool:
        return before.background != self.background == after.background

    def touched(self, before: Scene) -> frozenset[int]:
        return frozenset((BACKGROUND,))

    def slots(self, looks: Looks, grid: int) -> dict[str, str]:
        return {"value": self.background}

    @classmethod
    def read(cls, slots: Mapping[str, str], context: Context) -> list[Edit]:
        return [cls(slots["value"])] if slots["value"] in BACKGROUNDS else []

    @classmethod
    def sample(cls, state: DialogueState, rng: Rng, refer: bool) -> Request | None:
        return Request(cls(rng.pick([name for name in BACKGROUNDS if name != state.scene.background])))

    @classmethod
    def operate(cls, operation: Operation, scene: Scene, earlier: Scene | None) -> Scene | None:
        return replace(scene, background=operation.background)
