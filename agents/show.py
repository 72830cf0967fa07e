"""`editenv show`: a session as text and as a filmstrip, played now or from records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from editenv.agents.episodes import run_episodes, session_line, shares, unscored_turns, write_filmstrip
from editenv.agents.evaluate import NO_JUDGE, agent_name, build_envs, build_policy, print_failures
from editenv.agents.waves import RECORDS, CountsSince
from editenv.configs.schema import ShowConfig
from editenv.records import FILE, SessionRecord, read_record
from editenv.viewer import Shown, as_text


def show(config: ShowConfig) -> Shown:
    """Prints a session turn by turn and writes filmstrip.png.

    It is session number `session` of the seed, played now, or one that a run recorded.

    Raises:
        ValueError: a setting is not in its range, or the run has no such record.
    """
    shown: Shown
    if config.run is not None:
        shown = _recorded(config, Path(config.run))
    elif config.iteration is not None:
        raise ValueError(f"iteration is {config.iteration}, but no run is named: editenv show RUN iteration=20")
    else:
        envs = build_envs(config, 1)
        policy = build_policy(config, envs)
        (played,) = run_episodes(envs, policy, [config.session], config.seed)
        shown = played
        print(f"{agent_name(config)} plays {as_text(shown)}")
        if shown.versions["scorer"] is None:
            print(NO_JUDGE)
        for turn, detail in enumerate(played.details, start=1):
            if detail.get("refused"):
                print(f"turn {turn}, the template's words in place of the model's: {detail['refused']}")
        facts: dict[str, Any] = {"unscored": unscored_turns([session_line(played)])}
        counted = CountsSince(policy=policy, user=envs.engine.user, scorer=envs.engine.scorer).take()
        facts |= shares(counted.get("policy", {}))
        print_failures(facts | {f"{who}_counts": shares(counts) for who, counts in counted.items()})
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_filmstrip([shown], folder / "filmstrip.png")
    print(f"picture: {folder / 'filmstrip.png'}")
    return shown


def _recorded(config: ShowConfig, run: Path) -> SessionRecord:
    """Prints and returns a session that a training or an evaluation recorded, or one of a folder of records."""
    from editenv.agents.training_records import read_rollout, record_table, recorded_iterations

    if not run.is_dir():
        raise ValueError(f"run is {config.run!r}, which is no folder, expected that of a training or an evaluation")
    places = [place for place in (run, run / RECORDS) if (place / FILE).is_file()]
    if config.iteration is not None:
        record = read_rollout(run, config.iteration, config.session, config.rollout)
    elif places:
        record = read_record(places[0], config.session)
    else:
        known = ", ".join(map(str, recorded_iterations(run))) or "none"
        raise ValueError(f"iteration is not given; {run} has records of: {known}")
    Console().print(record_table(record))
    return record
