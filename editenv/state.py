"""A session as bytes and back, without pickle: a checksum, one line of JSON, and the raw pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from editenv.records import SessionJson, scores_of, session_json
from editenv.session import Session, SessionEngine, Termination, check_session, readonly, score_all
from editenv.spaces import text_problem
from editenv.strict import Strict, check, check_length, read_object
from editenv.types import SCORE_NAMES, SPLITS, Stop

MAGIC = b"editenv state 1\n"
_DIGEST = 16


class _End(Strict):
    reason: str
    truncated: bool


class _Head(SessionJson):
    """What a state holds beside its pictures."""

    shape: list[int]
    transcript: list[str]
    ending: _End | None


def dump_session(session: Session) -> bytes:
    """The session as bytes: everything `load_session` needs beside an engine of the same kind.

    Deferred scores are waited for, so that a state never lacks any.
    """
    session.resolve()
    end = session.ending
    head = session_json(session) | {
        "shape": list(session.pictures[0].shape),
        "transcript": list(session.transcript),
        "ending": None if end is None else {"reason": end.reason, "truncated": end.truncated},
    }
    body = json.dumps(head, allow_nan=False).encode() + b"\n" + b"".join(p.tobytes() for p in session.pictures)
    return MAGIC + blake2b(body, digest_size=_DIGEST).digest() + body


def load_session(state: bytes, engine: SessionEngine) -> Session:
    """The session that `dump_session` wrote, in fresh objects, so that one state can be continued many times.

    What the user meant is no JSON value; it is asked of the user again, who is stateless and says the same.

    Raises:
        ValueError: the bytes are damaged, or come from other versions of world, user or scorer.
    """
    try:
        if not isinstance(state, bytes) or not state.startswith(MAGIC):
            raise ValueError(f"it does not begin with {MAGIC!r}")
        digest, body = state[len(MAGIC) : len(MAGIC) + _DIGEST], state[len(MAGIC) + _DIGEST :]
        if blake2b(body, digest_size=_DIGEST).digest() != digest:
            raise ValueError("its checksum is wrong, the bytes are damaged")
        line, _, raw = body.partition(b"\n")
        head = check(_Head, read_object(line))
        for name, here in (("versions", engine.versions()), ("shape", list(engine.world.image_shape))):
            if getattr(head, name) != here:
                raise ValueError(f"its {name} is {getattr(head, name)}, this environment has {here}")
        return _retraced(_session(head, raw, engine), engine)
    # With a right checksum the content may still be anything, and so may what world and user make of it.
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"state cannot be restored: {kind}{error}") from error


def _session(head: _Head, raw: bytes, engine: SessionEngine) -> Session:
    """The session with everything but what the user meant: its message is still the first one."""
    size = int(np.prod(engine.world.image_shape))
    if not raw or len(raw) % size:
        raise ValueError(f"it holds {len(raw)} bytes of pictures, expected a multiple of {size}")
    stored = np.frombuffer(raw, dtype=np.uint8).reshape(-1, *engine.world.image_shape)
    pictures = [readonly(picture.copy()) for picture in stored]
    if head.split not in SPLITS:
        raise ValueError(f"key 'split' is {head.split!r}, expected one of {', '.join(SPLITS)}")
    turns, most = len(pictures) - 1, engine.world.max_turns
    if turns > most or (turns == most and head.ending is None):
        raise ValueError(f"it goes on after {turns} turns, expected an end after {most} at the latest")
    for name in ("intents", "scores"):
        check_length(name, getattr(head, name), turns)
    for name in ("seed", "index"):
        check_session(getattr(head, name), f"key {name!r}")
    spec = engine.world.spec_from_json(head.spec)
    if json.loads(json.dumps(spec.to_json())) != head.spec:
        raise ValueError("key 'spec' is not what the world writes of this session")
    for turn in range(spec.turn_count if engine.user.version.startswith("replay") else 0):
        if problem := text_problem(spec.message(turn).text, engine.max_length):
            raise ValueError(f"the instruction of turn {turn} is {problem}")
    if not np.array_equal(engine.world.picture(spec), pictures[0]):
        raise ValueError("its first picture is not that of its session")
    return Session(
        spec=spec,
        split=head.split,
        seed=head.seed,
        index=head.index,
        versions=engine.versions(),
        message=engine.user.begin(spec),
        pictures=pictures,
        transcript=tuple(head.transcript),
        intents=head.intents,
        scores=[scores_of(line) for line in head.scores],
        ending=Termination(head.ending.reason, head.ending.truncated) if head.ending else None,
        pending=None if engine.queue is None else [],
    )


def _retraced(session: Session, engine: SessionEngine) -> Session:
    """Walks through the session's turns again: user and pure scorer have to say the same."""
    said, scorer = session.transcript, engine.scorer
    spoken, details = [session.message.text], [session.message.detail]
    walked = replace(session, pictures=session.pictures[:1], transcript=said[:1], intents=[], scores=[], ending=None)
    for turn, after in enumerate(session.pictures[1:]):
        result, kept = walked.turn_result(after), session.scores[turn]
        walked.pictures.append(after)
        if scorer is not None and getattr(scorer, "pure", False):
            (again,) = score_all(scorer, [result])
            for name in (*SCORE_NAMES, "error"):
                if getattr(again, name) != getattr(kept, name):
                    raise ValueError(f"turn {turn} has another {name} than the scorer gives it")
            kept = replace(again, reward=kept.reward)  # with the scorer's detail
        walked.scores.append(kept)
        if session.ending is None or turn + 1 < len(said):
            (reply,) = engine.replies([result])
            if isinstance(reply, Stop):
                raise ValueError(f"after turn {turn} the user now says goodbye, the state goes on")
            walked.message = reply
            walked.transcript = (*walked.transcript, reply.text)
            spoken.append(reply.text)
            details.append(reply.detail)
    if tuple(spoken) != said or any(text_problem(text, engine.max_length) for text in spoken):
        raise ValueError(f"the user now says {spoken}, the state has {list(said)}")
    session.message, session.details, session.scores = walked.message, tuple(details), walked.scores
    return session
