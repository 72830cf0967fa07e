"""Settings of the commands that measure users and suites, with no agent of one's own."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.configs.command import CommandConfig


@dataclass(kw_only=True)
class UsersConfig(CommandConfig):
    """Settings of `editenv users`.

    Attributes:
        split: "train", "validation" or "test".
        sessions: how many of each suite and persona, from session 0 on.
        suites: which suites' instructions are read; None for all.
        personas: whose speaking is measured.
        num_envs: sessions side by side.
    """

    split: str
    sessions: int
    suites: list[str] | None
    personas: list[str]
    num_envs: int


@dataclass(kw_only=True)
class SuitesConfig(CommandConfig):
    """Settings of `editenv suites`.

    Attributes:
        split: "train", "validation" or "test".
        sessions: how many of each suite, from session 0 on.
        suites: which suites; None for all.
        num_envs: sessions side by side.
        filmstrip: sessions of each suite that are drawn.
    """

    split: str
    sessions: int
    suites: list[str] | None
    num_envs: int
    filmstrip: int
