"""What a run does when something outside of it breaks: it says so, skips that, and keeps what it has."""

import math
import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch.nn import Parameter

from editenv.agents.resume import TrainingAborted, mark_complete, note_first
from editenv.session import Session

SAVE_ERRORS = (OSError, RuntimeError, SafetensorError)
"""What a full disk raises: Python, torch's writer and safetensors each have a kind of their own."""
_MOST_SKIPPED = 10


def warn_of_unscored(iteration: int, sessions: Sequence[Session], which: str = "") -> None:
    """Says how many finished sessions the scorer failed in, what it said first, and which rewards are no numbers.

    `which` is said before "sessions" and "turns", such as "held-out ".
    """
    counts = "in no mean" if which else "in no loss"
    judged = [scores for session in sessions for scores in session.scores]
    errors = [scores.error for scores in judged if scores.error is not None]
    if errors:
        warnings.warn(
            f"iteration {iteration}: {len(errors)} of {len(sessions)} {which}sessions ended unscored, and "
            f"their last turns count {counts} ({errors[0]})",
            stacklevel=2,
        )
    strange = [scores.reward for scores in judged if not math.isfinite(scores.reward)]
    if strange:
        warnings.warn(
            f"iteration {iteration}: {len(strange)} of {len(judged)} {which}turns were paid {strange[0]}, "
            f"and count {counts}",
            stacklevel=2,
        )


def skip_if_full(what: str, write: Callable[[], Any]) -> None:
    """Writes, or warns that it could not be written: a full disk does not end a run."""
    try:
        write()
    except SAVE_ERRORS as error:
        warnings.warn(f"{what} could not be written: {type(error).__name__}: {error}", stacklevel=3)


class NonFiniteGradientGuard:
    """Leaves out updates whose gradient is not finite; ten in a row end the run."""

    def __init__(self) -> None:
        self.skipped = 0

    def check(self, norms: dict[str, float], parameters: Iterable[Parameter]) -> bool:
        """Whether the update may be made; else it drops all gradients, so that no weight moves."""
        if all(math.isfinite(norm) for norm in norms.values()):
            self.skipped = 0
            return True
        self.skipped += 1
        for parameter in parameters:
            parameter.grad = None
        shown = ", ".join(f"{name} {norm}" for name, norm in norms.items())
        if self.skipped >= _MOST_SKIPPED:
            raise TrainingAborted(f"{self.skipped} updates in a row had no finite gradient ({shown})")
        warnings.warn(f"an update was left out: its gradient norms are {shown}", stacklevel=2)
        return False


def mark_or_drop(folder: Path, values: dict[str, Any], failed: Exception | None) -> None:
    """Marks a checkpoint as whole, or removes one whose writing `failed` and says that the run goes on.

    `values` are what the mark keeps.
    """
    try:
        if failed is None:
            mark_complete(folder, values)
            return note_first(folder)
    except OSError as error:
        failed = error
    if not folder.is_symlink() and not isinstance(failed, FileExistsError):
        shutil.rmtree(folder, ignore_errors=True)
    warnings.warn(
        f"{folder} could not be saved ({type(failed).__name__}: {failed}); the one before it is kept and the "
        "run goes on",
        stacklevel=2,
    )
