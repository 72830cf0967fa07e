"""How a judge errs, as data: rates by score and task, correlated votes, biases, failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from editenv.types import SCORE_NAMES
from editenv.worlds.records.session import TASKS
from editenv.yamlread import read_yaml

FOLDER = Path(__file__).parent / "error_models"


@dataclass(frozen=True)
class Rates:
    """Errors in judging one score; what is not given is 0.

    Attributes:
        miss: probability that a vote calls a right result wrong.
        false_alarm: probability that a vote calls a wrong result right.
        noise: standard deviation added to the score as a whole, for scores that are shares.
    """

    miss: float = 0.0
    false_alarm: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class ErrorModel:
    """All that is wrong with a judge.

    Attributes:
        name: for versions and reports.
        scores: rates by score and then by task; the task "" holds for all that are not named. Scores without
            rates are passed on as they are, so every score that an agent is paid for should have some.
        votes: how often each question is put; the score is the share of votes that say right.
        correlation: between a picture's votes, 0 (each errs for itself) to 1 (all err together).
        yes_bias: probability that a vote says right to a wrong result, whatever the task, on top of its rate.
        tint_full: shift of a picture's colours, as a share of the range, at which the tint's bias is full.
        tint_false_alarm: probability that a vote says right to a wrong result that is tinted in full.
        failure_rate: share of pictures at which the judge gives no answer.
        failure_flat: the same among pictures of one colour, on top.
    """

    name: str
    scores: Mapping[str, Mapping[str, Rates]] = field(default_factory=dict)
    votes: int = 4
    correlation: float = 0.0
    yes_bias: float = 0.0
    tint_full: float = 0.1
    tint_false_alarm: float = 0.0
    failure_rate: float = 0.0
    failure_flat: float = 0.0

    def rates(self, score: str, task: str) -> Rates | None:
        """Rates of a score in a task; None where the score is passed on."""
        by_task = self.scores.get(score)
        return None if by_task is None else by_task.get(task, by_task[""])

    def to_json(self) -> dict[str, Any]:
        """The whole model as JSON values."""
        return asdict(self)


def open_error_model(model: str | Mapping[str, Any]) -> ErrorModel:
    """The error model that a name, the path of a YAML file, or a mapping of the same form describes.

    Raises:
        ValueError: there is none of that name, or a key or value is not as expected.
    """
    if not isinstance(model, str):
        return _error_model("own", model)
    path = FOLDER / f"{model}.yaml" if (FOLDER / f"{model}.yaml").is_file() else Path(model)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise ValueError(f"error model {model!r} is not known, expected {shipped}, a YAML file or a mapping")
    try:
        return _error_model(path.stem, read_yaml(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"error model {model!r}: {error}") from error


def _error_model(name: str, data: Mapping[str, Any]) -> ErrorModel:
    _known("error model", data, ("votes", "correlation", "yes_bias", "scores", "tint", "failures"))
    votes = data.get("votes", 4)
    if type(votes) is not int or votes < 1:
        raise ValueError(f"votes is {votes!r}, expected a whole number of 1 or more")
    tint, failures = data.get("tint", {}), data.get("failures", {})
    _known("tint", tint, ("full", "false_alarm"))
    _known("failures", failures, ("rate", "flat"))
    full = _share("tint.full", tint.get("full", 0.1))
    if not full:
        raise ValueError("tint.full is 0, expected more")
    _known("scores", data.get("scores", {}), SCORE_NAMES)
    return ErrorModel(
        name=name,
        scores={score: _by_task(score, rates) for score, rates in data.get("scores", {}).items()},
        votes=votes,
        correlation=_share("correlation", data.get("correlation", 0.0)),
        yes_bias=_share("yes_bias", data.get("yes_bias", 0.0)),
        tint_full=full,
        tint_false_alarm=_share("tint.false_alarm", tint.get("false_alarm", 0.0)),
        failure_rate=_share("failures.rate", failures.get("rate", 0.0)),
        failure_flat=_share("failures.flat", failures.get("flat", 0.0)),
    )


def _by_task(score: str, data: Mapping[str, Any]) -> dict[str, Rates]:
    """Rates for all tasks under "", and those of tasks that have their own."""
    _known(score, data, ("miss", "false_alarm", "noise", "tasks"))
    tasks = data.get("tasks", {})
    _known(f"{score}.tasks", tasks, TASKS)
    general = {name: value for name, value in data.items() if name != "tasks"}
    return {"": _rates(score, general)} | {
        task: _rates(f"{score}.{task}", own) for task, own in tasks.items()
    }


def _rates(place: str, data: Mapping[str, Any]) -> Rates:
    _known(place, data, ("miss", "false_alarm", "noise"))
    return Rates(**{name: _share(f"{place}.{name}", value) for name, value in data.items()})


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}, expected a number from 0 to 1")
    return float(value)


def _known(place: str, data: Any, names: tuple[str, ...]) -> None:
    """Refuses what is no mapping of these names."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{place} is {data!r}, expected a table of {', '.join(names)}")
    for name in data:
        if name not in names:
            raise ValueError(f"{place} has no {name!r}, expected some of {', '.join(names)}")
