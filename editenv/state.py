"""A session as bytes and back, without pickle: a checksum, one line of JSON, and the raw pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from editenv.jsonread import check_keys, read_list, read_object, read_value, scores_from_json
from editenv.session import Session, SessionEngine, frozen
from editenv.spaces import text_problem
from editenv.termination import Termination
from editenv.types import SPLITS, Image, Stop

MAGIC = b"editenv state 1\n"
_DIGEST = 16
_KEYS = ("versions", "shape", "split", "seed", "index", "spec", "transcript", "intents", "scores", "ending")


def dump_session(session: Session) -> bytes:
    """The session as bytes: everything `load_session` needs beside a engine of the same kind.

    Deferred scores are waited for, so that a state never lacks any.
    """
    session.settle()
    end = session.ending
    head = {
        "versions": dict(session.versions),
        "shape": list(session.pictures[0].shape),
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "spec": session.spec.to_json(),
        "transcript": list(session.transcript),
        "intents": session.intents,
        "scores": [scores.to_json() for scores in session.scores],
        "ending": None if end is None else {"reason": end.reason, "truncated": end.truncated},
    }
    body = (
        json.dumps(head, allow_nan=False).encode() + b"\n" + b"".join(p.tobytes() for p in session.pictures)
    )
    return MAGIC + blake2b(body, digest_size=_DIGEST).digest() + body


def load_session(state: bytes, engine: SessionEngine) -> Session:
    """The session that `dump_session` wrote, in fresh objects, so that one state can be continued many times.

    What the user meant is no JSON value; it is asked of the user again, who is stateless and says the same.

    Raises:
        ValueError: the bytes are damaged, or come from other versions of world, user or scorer.
    """
    try:
        head, raw = _unpack(state)
        check_keys(head, _KEYS)
        for name, here in (("versions", engine.versions()), ("shape", list(engine.world.image_shape))):
            if head[name] != here:
                raise ValueError(f"its {name} is {head[name]}, this environment has {here}")
        pictures = _pictures(raw, engine.world.image_shape)
        return _retrace(_last_known(head, pictures, engine), engine, len(pictures) - 1)
    except ValueError as error:
        raise ValueError(f"state cannot be restored: {error}") from error


def _unpack(state: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON head and the raw pictures."""
    if not isinstance(state, bytes) or not state.startswith(MAGIC):
        raise ValueError(f"it does not begin with {MAGIC!r}")
    digest, body = state[len(MAGIC) : len(MAGIC) + _DIGEST], state[len(MAGIC) + _DIGEST :]
    if blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise ValueError("its checksum is wrong, the bytes are damaged")
    line, _, raw = body.partition(b"\n")
    return read_object(line), raw


def _pictures(raw: bytes, shape: tuple[int, ...]) -> list[Image]:
    """The pictures, read-only uint8 [H, W, 3], one or more."""
    size = int(np.prod(shape))
    if not raw or len(raw) % size:
        raise ValueError(f"it holds {len(raw)} bytes of pictures, expected a multiple of {size}")
    return [frozen(picture.copy()) for picture in np.frombuffer(raw, dtype=np.uint8).reshape(-1, *shape)]


def _last_known(head: dict[str, Any], pictures: list[Image], engine: SessionEngine) -> Session:
    """The session with everything but what the user meant: its speech is still the first one."""
    split = read_value(head, "split", str)
    if split not in SPLITS:
        raise ValueError(f"key 'split' is {split!r}, expected one of {', '.join(SPLITS)}")
    end = head["ending"] and read_value(head, "ending", dict)
    spec = engine.world.spec_from_json(read_value(head, "spec", dict))
    turns = len(pictures) - 1
    return Session(
        spec=spec,
        split=split,
        seed=read_value(head, "seed", int),
        index=read_value(head, "index", int),
        versions=engine.versions(),
        message=engine.user.begin(spec),
        pictures=pictures,
        transcript=tuple(read_list(head, "transcript", str)),
        intents=read_list(head, "intents", str, turns),
        scores=[scores_from_json(data) for data in read_list(head, "scores", dict, turns)],
        ending=Termination(read_value(end, "reason", str), read_value(end, "truncated", bool))
        if end
        else None,
        tickets=None if engine.queue is None else [],
    )


def _retrace(session: Session, engine: SessionEngine, turns: int) -> Session:
    """Walks through the session's turns with the user and checks that they say what they said before."""
    scores, pictures, said = session.scores, session.pictures, session.transcript
    spoken, details = [session.message.text], [session.message.detail]
    walked = replace(session, pictures=pictures[:1], transcript=said[:1], intents=[], scores=[], ending=None)
    for turn in range(turns if session.ending is None else len(said) - 1):
        (reply,) = engine.replies([walked.outcome(pictures[turn + 1])])
        if isinstance(reply, Stop):
            raise ValueError(f"after turn {turn} the user now says goodbye, the state goes on")
        walked.pictures.append(pictures[turn + 1])
        walked.scores.append(scores[turn])
        walked.message = reply
        walked.transcript = (*walked.transcript, reply.text)
        spoken.append(reply.text)
        details.append(reply.detail)
    if tuple(spoken) != said or any(text_problem(text, engine.max_length) for text in spoken):
        raise ValueError(f"the user now says {spoken}, the state has {list(said)}")
    session.message, session.details = walked.message, tuple(details)
    return session
