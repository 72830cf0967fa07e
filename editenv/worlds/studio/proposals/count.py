"""count_change: more or fewer of what is there, or some of what is not."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import CountChange
from editenv.worlds.studio.edits.count import MOST_COUNT
from editenv.worlds.studio.proposals.add import MOST_OBJECTS
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal, overlap
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES

_NAMED = 0.5
_NEW_KIND = 0.3


def propose_count(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Another number of objects of a kind, where there is room for them and no rule speaks against it."""
    scene = situation.scene
    shown = [thing for thing in scene.cells if thing is not None and thing.text is None]
    like = draws.pick(shown) if shown and not draws.chance(_NEW_KIND) else None
    shape = like.shape if like else draws.pick(SHAPES)
    color = (like.color if like else draws.pick(COLORS)) if draws.chance(_NAMED) else None
    material = (like.material if like else draws.pick(MATERIALS)) if draws.chance(_NAMED) else None
    there = len(CountChange(1, shape, color, material).cells(scene))
    most = min(MOST_COUNT, there + min(len(scene.empty()), MOST_OBJECTS - len(scene.occupied())))
    choices = [count for count in range(1, most + 1) if abs(count - there) in (1, 2)]
    if not choices:
        return None
    edit = CountChange(draws.pick(choices), shape, color, material)
    if any(overlap(edit.described, kind) for kind in situation.vague):
        return None
    named = edit.asked()
    agree = all(situation.ruled(name) in (None, value) for name, value in named.items())
    return Proposal(edit, "count_change") if edit.count < there or agree else None
