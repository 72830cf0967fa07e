"""Where turns go that failed sessions would waste: what may be set, and what fits together."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.agents.edit_r2.filter import FILTERS
from editenv.registry import lookup

_PLAY_ON = ("none", "resample")


@dataclass(frozen=True)
class SpendSettings:
    """How the turns of an iteration are spent; their number never changes.

    Attributes:
        filter: a name in FILTERS, which says when a session has failed; with "resample" the turns after a
            failure are further tries of turns that other sessions of the group have reached cleanly.
        filter_threshold: for filter=threshold.
        stop_failed: whether a failed session stops and its spec is begun anew in the turns that it leaves.
        first_rollouts: sessions a spec in a first stage, after which the others go to specs whose sessions
            went differently; 0 for one stage.

    Raises:
        ValueError: settings that do not fit together.
    """

    filter: str = "first_failure"
    filter_threshold: float = 0.5
    stop_failed: bool = False
    first_rollouts: int = 0

    def __post_init__(self) -> None:
        lookup("filter", self.filter, FILTERS)
        if self.stop_failed and self.filter in _PLAY_ON:
            raise ValueError(
                f"stop_failed is True with filter {self.filter!r}, under which failed sessions are not given "
                f"up; expected {' or '.join(name for name in FILTERS if name not in _PLAY_ON)}"
            )

    @property
    def branches(self) -> bool:
        """Whether failed sessions try turns of their siblings."""
        return self.filter == "resample"

    @property
    def unusual(self) -> list[str]:
        """The settings that make an iteration more than whole sessions side by side, as they are written."""
        written = {
            "filter=resample": self.branches,
            "stop_failed=true": self.stop_failed,
            f"first_rollouts={self.first_rollouts}": self.first_rollouts > 0,
        }
        return [words for words, on in written.items() if on]


def check_surroundings(spending: SpendSettings, specs: int, processes: int, deferred: bool) -> None:
    """Refuses where sessions are spread, or judged, in a way that decisions within an iteration cannot bear.

    Args:
        spending: the settings.
        specs: an iteration.
        processes: that play them.
        deferred: whether scores come after a session's last turn only.

    Raises:
        ValueError: scores come too late, a group whose rows need each other would be divided between
            processes, or a process would have nothing to play in a stage.
    """
    if deferred and (spending.branches or spending.stop_failed):
        raise ValueError(
            f"scoring is 'deferred' with {spending.unusual[0]}, expected 'immediate': a failure has to be "
            "known before the next turn"
        )
    if specs % processes and spending.branches:
        raise ValueError(
            f"specs is {specs} on {processes} processes with {spending.unusual[0]}, expected a multiple: "
            "groups must not be divided"
        )
    if processes > 1 and spending.branches and spending.first_rollouts:
        raise ValueError(
            f"filter is 'resample' with {spending.unusual[-1]} on {processes} processes, expected one of the "
            "two: the second stage divides groups, whose tries need each other's states"
        )
    if spending.first_rollouts and specs < processes:
        raise ValueError(
            f"specs is {specs} on {processes} processes with {spending.unusual[-1]}, expected as many or "
            "more: each has to have rows in both stages"
        )
