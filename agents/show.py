"""Shows a session as text and as a filmstrip: a seeded one, played now, or one of a training's records."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from editenv.agents.episodes import as_text, is_scored, run_episodes, write_filmstrip
from editenv.agents.evaluate import NO_JUDGE, agent_name, build_envs, build_policy
from editenv.configs.schema import ShowConfig
from editenv.session import Session
from editenv.viewer import Shown


def show(config: ShowConfig) -> Shown:
    """`editenv show`: prints a session turn by turn and writes filmstrip.png.

    It is session number `session` of the seed, played now, or a rollout that a run recorded.

    Raises:
        ValueError: a setting is not in its range, or the run has no such record.
    """
    if config.session < 0:
        raise ValueError(f"session is {config.session}, expected 0 or more")
    if config.run is not None:
        if not Path(config.run).is_dir():
            raise ValueError(f"run is {config.run!r}, which is no folder, expected that of a training")
        return _recorded(config, config.run)
    if config.iteration is not None:
        raise ValueError(
            f"iteration is {config.iteration}, but no run is named: editenv show RUN iteration=20"
        )
    return _played(config)


def _played(config: ShowConfig) -> Session:
    envs = build_envs(config, 1)
    (session,) = run_episodes(envs, build_policy(config, envs), [config.session], config.seed)
    print(f"{agent_name(config)} plays {as_text(session)}")
    if not is_scored([session]):
        print(NO_JUDGE)
    _draw(session, config)
    return session


def _recorded(config: ShowConfig, run: str) -> Shown:
    from editenv.agents.training_records import read_rollout, record_table, recorded_iterations
    from editenv.records import FILE, read_record

    if config.iteration is None and (Path(run) / FILE).is_file():
        record = read_record(run, config.session)
    elif config.iteration is None:
        known = ", ".join(map(str, recorded_iterations(Path(run)))) or "none"
        raise ValueError(f"iteration is not given; {run} has records of: {known}")
    else:
        record = read_rollout(Path(run), config.iteration, config.session, config.rollout)
    Console().print(record_table(record))
    _draw(record, config)
    return record


def _draw(shown: Shown, config: ShowConfig) -> None:
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_filmstrip([shown], folder / "filmstrip.png")
    print(f"picture: {folder / 'filmstrip.png'}")
