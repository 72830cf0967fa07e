"""Plays one seeded session and shows it, as text and as a filmstrip."""

from __future__ import annotations

from pathlib import Path

from editenv.agents.evaluate import NO_JUDGE, agent_name, build_envs, build_policy
from editenv.agents.play import play
from editenv.agents.played import as_text, is_scored, write_filmstrip
from editenv.configs.schema import ShowConfig
from editenv.session import Session


def show(config: ShowConfig) -> Session:
    """`editenv show`: plays session number `session` of the seed, prints it and writes filmstrip.png.

    Raises:
        ValueError: a setting is not in its range.
    """
    if config.session < 0:
        raise ValueError(f"session is {config.session}, expected 0 or more")
    envs = build_envs(config, 1)
    (session,) = play(envs, build_policy(config, envs), [config.session], config.seed)
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_filmstrip([session], folder / "filmstrip.png")
    print(f"{agent_name(config)} plays {as_text(session)}")
    if not is_scored([session]):
        print(NO_JUDGE)
    print(f"picture: {folder / 'filmstrip.png'}")
    return session
