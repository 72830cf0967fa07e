"""background_change: any other background."""

from __future__ import annotations

from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.edits import BackgroundChange
from editenv.worlds.studio.proposals.situation import DialogueState, Proposal
from editenv.worlds.studio.scene import BACKGROUNDS


def propose_background(situation: DialogueState, draws: Draws, refer: bool) -> Proposal | None:
    """Another background."""
    others = [name for name in BACKGROUNDS if name != situation.scene.background]
    return Proposal(BackgroundChange(draws.pick(others)), "background_change")
