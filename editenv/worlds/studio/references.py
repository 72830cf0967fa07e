"""Ways to point at an object."""

from editenv.worlds.studio.proposals.references import (
    POINTING,
    REFERENCES,
    plain_target,
    pointing_slots,
    solvable_from_text,
)

__all__ = ["POINTING", "REFERENCES", "plain_target", "pointing_slots", "solvable_from_text"]
