"""`editenv score`: scores recorded sessions again, with any scorer and without playing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from editenv.agents.evaluate import MODEL_SETTINGS, Evaluation, finished, print_evaluation, status, tell_kept
from editenv.agents.waves import RECORDS, CountsSince, kept_waves
from editenv.build import make_vector_env
from editenv.configs.schema import ScoreConfig
from editenv.records import FILE, SessionRecord, read_records
from editenv.session import Session, SessionEngine, Termination, score_all
from editenv.types import Scores, Stop, UserMessage
from editenv.worlds.studio.session import spec_from_json
from editenv.worlds.studio.suites import suite_names

_PLAYED = ("policy", "suite", "split", "seed", "sessions_file", *MODEL_SETTINGS, "policy_settings")
"""What the summary of the evaluation that played says of who played and what."""


def main(config: ScoreConfig) -> int:
    """`editenv score`; the exit status is 1 where more turns than `max_unscored` have no score."""
    evaluation = score(config)
    print_evaluation(evaluation, f"{config.records} by {evaluation.facts['versions']['scorer']}")
    return status(evaluation, config.max_unscored)


def score(config: ScoreConfig) -> Evaluation:
    """Writes the scores.jsonl and summary.json that an evaluation with this scorer would have written.

    The same call goes on where it was stopped.

    Raises:
        ValueError: the folder has no records, the scorer cannot judge them, or the user is not the one who spoke.
        OSError: `out` cannot be written.
    """
    folder = records_folder(config.records)
    with open(folder / FILE, "rb") as lines:
        count = sum(1 for _ in lines)
    if not count:
        raise ValueError(f"{folder / FILE} is empty, expected one session a line")
    engine = _engine(config, folder, next(read_records(folder)))
    deciding = {"sessions": count, "versions": engine.versions()}
    config = replace(config, records=str(folder))
    with kept_waves(Path(config.out), config, ("max_unscored", "batch"), deciding, records=False) as waves:
        counting, start = CountsSince(user=engine.user, scorer=engine.scorer), perf_counter()
        tell_kept(waves, count, "scoring")
        for first in range(len(waves.lines), count, config.batch):
            batch = range(first, min(first + config.batch, count))
            sessions = _scored(engine, list(read_records(folder, batch)), first)
            waves.add(sessions, perf_counter() - start, counting.take())
            start = perf_counter()
            print(f"scored {batch.stop} of {count} sessions", flush=True)
        engine.close()
        facts: dict[str, Any] = {"versions": waves.lines[0]["versions"], "records": config.records}
        facts |= {
            "scorer": {"kind": config.scorer.kind, **config.scorer.settings},
            "reward_weights": config.reward_weights,
        }
        with suppress(OSError, ValueError):
            played = json.loads((folder.parent / "summary.json").read_text(encoding="utf-8"))
            facts = {name: played[name] for name in _PLAYED if name in played} | facts
        return finished(Path(config.out), waves, facts)


def records_folder(records: str | None) -> Path:
    """Where the records lie: an evaluation's folder, the folder itself, or that of the file."""
    place = Path(records or "")
    for folder in (place / RECORDS, place, place.parent if place.name == FILE else place):
        if records and (folder / FILE).is_file():
            return folder
    raise ValueError(
        f"records is {records!r}, expected a folder with {FILE}, as record_to= and evaluate save_images=true write it"
    )


def _engine(config: ScoreConfig, folder: Path, record: SessionRecord) -> SessionEngine:
    """Who spoke and who judges, in the world that the records name; its sessions come from the records."""
    world = config.world or str(record.versions.get("world")).partition(" ")[0]
    judged = {"scorer": config.scorer.kind, "scorer_settings": config.scorer.settings}
    settings: dict[str, Any] = {"reward_weights": config.reward_weights or None, **judged}
    settings |= {"user": config.user.kind, "user_settings": config.user.settings}
    if world == "records":
        settings["sessions_file"] = str(folder / FILE)
    else:
        settings |= {"world": world, "size": len(record.pictures[0])}
        if world in ("studio", "studio-records"):
            suite = config.suite or next((one for one in suite_names() if one == record.spec.get("suite")), "mixed")
            grid = spec_from_json(record.spec).scene.grid
            settings |= {"world": "studio", "suite": suite, "grid": grid}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(no scorer is configured|a judge is missing)")
        engine = make_vector_env(num_envs=1, autoreset_mode="Disabled", **settings).engine
    if engine.scorer is None:
        raise ValueError(
            f"scorer {config.scorer.kind!r} judges no session of {folder}, expected another, such as judge"
        )
    return engine


def _scored(engine: SessionEngine, records: Sequence[SessionRecord], first: int) -> list[Session]:
    """The sessions of records, scored turn by turn, all of them side by side.

    After a turn without a score a session's later ones have none either: whether every turn so far was right, and what
    may differ from the source, is not known.
    """
    sessions = [_opened(engine, record, first + place) for place, record in enumerate(records)]
    for turn in range(max(len(record.intents) for record in records)):
        rows = [row for row, record in enumerate(records) if turn < len(record.intents)]
        results = {row: sessions[row].turn_result(records[row].pictures[turn + 1]) for row in rows}
        asked = [row for row in rows if all(scores.scored for scores in sessions[row].scores)]
        assert engine.scorer is not None
        scores = dict(
            zip(asked, score_all(engine.scorer, [results[row] for row in asked]) if asked else (), strict=True)
        )
        going = [row for row in rows if turn + 1 < len(records[row].intents)]
        replies = dict(zip(going, engine.replies([results[row] for row in going]), strict=True))
        for row in rows:
            session, record = sessions[row], records[row]
            failed = next((number for number, one in enumerate(session.scores) if not one.scored), 0)
            session.scores.append(scores.get(row) or Scores(error=f"not asked: turn {failed + 1} has no score"))
            session.pictures.append(record.pictures[turn + 1])
            session.intents.append(record.intents[turn])
            if row in replies:
                _hear(session, record, first + row, replies[row])
    return sessions


def _opened(engine: SessionEngine, record: SessionRecord, number: int) -> Session:
    """A recorded session at its first instruction."""
    if record.pictures[0].shape != engine.world.image_shape:
        came, expected = record.pictures[0].shape, engine.world.image_shape
        raise ValueError(f"session {number}: its pictures have shape {came}, expected the first one's {expected}")
    spec = engine.world.spec_from_json(record.spec)
    versions = {**record.versions, "scorer": engine.versions()["scorer"]}
    ending = Termination(record.reason, truncated=True) if record.reason else None
    message, source = engine.user.begin(spec), [record.pictures[0]]
    session = Session(spec, record.split, record.seed, record.index, versions, message, source, (), ending=ending)
    _hear(session, record, number, message)
    return session


def _hear(session: Session, record: SessionRecord, number: int, reply: UserMessage | Stop) -> None:
    """The next instruction: the record's words, with what the user means by them."""
    said = record.transcript[len(session.scores)]
    # A language model words what a goal user means, and never twice alike.
    worded = str(record.versions.get("user")).startswith("llm")
    if isinstance(reply, Stop) or (reply.text != said and not worded):
        now = "ends the session" if isinstance(reply, Stop) else f"says {reply.text!r}"
        raise ValueError(
            f"session {number}, turn {len(session.scores) + 1}: the record has {said!r}, but this user {now}; "
            f"expected the one who spoke ({record.versions.get('user')}), such as user=terse"
        )
    session.message, session.transcript = replace(reply, text=said), (*session.transcript, said)
