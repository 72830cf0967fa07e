"""Where a session stands."""

from editenv.worlds.studio.proposals.conflicts import is_contrary as contradicts_rule
from editenv.worlds.studio.proposals.situation import DialogueState
from editenv.worlds.studio.proposals.situation import Proposal as Request

__all__ = ["DialogueState", "Request", "contradicts_rule"]
