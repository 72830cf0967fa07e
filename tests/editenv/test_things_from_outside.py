"""What is named as "package.module:Name" and is no such thing: one sentence that names it, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from editenv.build import make_env

NUMBER, NOTHING = 3, None


def makes_none(*given: Any, **settings: Any) -> None:
    """Takes everything, makes nothing."""


class Raises:
    def __init__(self, *given: Any, **settings: Any) -> None:
        raise KeyError("oops")


class Mute:
    """A user who says no UserMessage."""

    version = "mute 1"

    def begin(self, spec: Any) -> str:
        return "add a star"

    def reply(self, outcome: Any) -> str:
        return "add a star"


class NoVersion:
    def __init__(self, *given: Any) -> None:
        pass

    def score(self, turns: Any) -> list[Any]:
        return []

    def begin(self, spec: Any) -> str:
        return ""

    reply = begin


HERE = __name__


@pytest.mark.parametrize("kind", ["scorer", "user", "world"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{HERE}:makes_none", "made a NoneType, which has no '"),
        (f"{HERE}:NoVersion", "has no '(version|name)'|has no setting 'suite'"),
        (f"{HERE}:Raises", "cannot be made: KeyError: 'oops'"),
        (f"{HERE}:NUMBER", "which is a int, expected a class or function"),
        (f"{HERE}:NOTHING", "which is a NoneType, expected a class or function"),
        (f"{HERE}:missing", "that can be imported"),
        ("json:dumps", "lacks the setting 'obj'|cannot be called with"),
        ("json", "is not known"),
        (":", "that can be imported"),
    ],
)
def test_no_world_user_or_scorer(kind: str, name: str, told: str) -> None:
    chosen: Any = {kind: name}
    with pytest.raises(ValueError, match=told):
        make_env(**chosen)


def test_a_user_who_answers_with_plain_text_is_told_what_is_expected() -> None:
    env = make_env(user=f"{HERE}:Mute")
    with pytest.raises(ValueError, match="user 'mute 1' answered a str, expected a UserMessage or Stop"):
        env.reset(seed=0)
