"""Advantages: how much better a turn, or a whole session, went than its group did; one signature for all."""

from editenv.agents.edit_r2.advantage.sessions import broadcast, fused, return_to_go
from editenv.agents.edit_r2.advantage.standard import SPREADS, Advantage, Parts, constant_groups
from editenv.agents.edit_r2.advantage.turns import per_turn, pooled

__all__ = [
    "ADVANTAGES",
    "SPREADS",
    "Advantage",
    "Parts",
    "broadcast",
    "constant_groups",
    "fused",
    "per_turn",
    "pooled",
    "return_to_go",
]

ADVANTAGES: dict[str, Advantage] = {
    "pooled": pooled,
    "turn": per_turn,
    "return_to_go": return_to_go,
    "broadcast": broadcast,
    "fused": fused,
}
