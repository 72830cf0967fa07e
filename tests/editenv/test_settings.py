"""Settings declared once: bounds and choices are held in all parts, and help says what is expected."""

from dataclasses import dataclass, field

import pytest

from editenv.settings import check_settings, describe, setting


@dataclass
class Part:
    rate: float = setting(0.1, "learning rate", gt=0, le=1)


@dataclass
class Whole:
    schedule: str = setting("constant", "of the rate", choices=("constant", "linear"))
    turns: list[int] = setting(help="turns each", ge=1, default_factory=lambda: [3])
    limit: int | None = setting(None, "most of them", ge=1)
    part: Part = field(default_factory=Part)


def test_defaults_fit():
    check_settings(Whole())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Whole(schedule="linaer"), "schedule 'linaer' is not known, did you mean 'linear'"),
        (Whole(turns=[2, 0]), "turns is 0, expected 1 or more"),
        (Whole(limit=0), "limit is 0, expected 1 or more"),
        (Whole(part=Part(rate=2)), "part.rate is 2, expected above 0 and 1 or less"),
        (Whole(part=Part(rate=float("nan"))), "part.rate is nan, expected above 0 and 1 or less"),
    ],
)
def test_what_does_not_fit_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        check_settings(settings)


def test_every_setting_is_described_once_under_its_full_name():
    described = {one.name: (one.default, one.help, one.expected) for one in describe(Whole)}
    assert described == {
        "schedule": ("constant", "of the rate", "one of constant, linear"),
        "turns": ([3], "turns each", "1 or more"),
        "limit": (None, "most of them", "1 or more"),
        "part.rate": (0.1, "learning rate", "above 0 and 1 or less"),
    }
