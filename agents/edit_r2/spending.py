"""Where turns go that failed sessions would waste: what may be set, and what fits together."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.agents.edit_r2.filter import FILTERS
from editenv.registry import lookup


@dataclass(frozen=True)
class SpendSettings:
    """How the turns of an iteration are spent; their number never changes.

    Attributes:
        filter: a name in FILTERS, which says when a session has failed; with "resample" the turns after a
            failure are further tries of turns that other sessions of the group have reached cleanly.
        filter_threshold: for filter=threshold.

    Raises:
        ValueError: the filter is not known.
    """

    filter: str = "first_failure"
    filter_threshold: float = 0.5

    def __post_init__(self) -> None:
        lookup("filter", self.filter, FILTERS)

    @property
    def branches(self) -> bool:
        """Whether failed sessions try turns of their siblings."""
        return self.filter == "resample"


def check_surroundings(spending: SpendSettings, specs: int, processes: int, deferred: bool) -> None:
    """Refuses branches where sessions are spread, or judged, in a way that they cannot bear.

    Args:
        spending: the settings.
        specs: an iteration.
        processes: that play them.
        deferred: whether scores come after a session's last turn only.

    Raises:
        ValueError: scores come too late, or a group whose rows need each other would be divided between
            processes.
    """
    if deferred and spending.branches:
        raise ValueError(
            "scoring is 'deferred' with filter=resample, expected 'immediate': a failure has to be known "
            "before the next turn"
        )
    if specs % processes and spending.branches:
        raise ValueError(
            f"specs is {specs} on {processes} processes with filter=resample, expected a multiple: groups "
            "must not be divided"
        )
