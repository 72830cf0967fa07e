"""What agents are shown of sessions: observations and infos, for one session and for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editenv.session import Session


def observation(session: Session, images: int | None = None) -> dict[str, Any]:
    """What an agent sees now, in fresh arrays.

    Args:
        session: the session.
        images: how many pictures `images` has room for; None leaves it out.
    """
    seen = {
        "image": session.pictures[-1].copy(),
        "source": session.pictures[0].copy(),
        "instruction": session.instruction,
        "transcript": session.transcript,
        "turn": session.turn,
    }
    if images is not None:
        seen["images"] = _album([session], images)[0]
    return seen


def observations(sessions: Sequence[Session], images: int | None = None) -> dict[str, Any]:
    """The same for a batch, as Gymnasium batches these spaces: arrays [N, ...] and tuples of N."""
    seen = {
        "image": np.stack([session.pictures[-1] for session in sessions]),
        "source": np.stack([session.pictures[0] for session in sessions]),
        "instruction": tuple([session.instruction for session in sessions]),
        "transcript": tuple([session.transcript for session in sessions]),
        "turn": np.array([session.turn for session in sessions], dtype=np.int64),
    }
    if images is not None:
        seen["images"] = _album(sessions, images)
    return seen


def session_info(session: Session) -> dict[str, Any]:
    """Which session this is: id, split, seed, index, versions of world, user and scorer.

    Under "speech" stands what the user wants kept about what they said last, where there is something.
    """
    known = {
        "session": session.spec.id,
        "split": session.split,
        "seed": session.seed,
        "index": session.index,
        "versions": dict(session.versions),
    }
    return known | {"speech": dict(session.speech.detail)} if session.speech.detail else known


def turn_info(session: Session) -> dict[str, Any]:
    """How the last turn went: scores, whether it was scored, why the session ended (None: it goes on).

    With deferred scoring `scores` is empty until the session ends; then `session_scores` holds those of all
    turns, and `scored` says whether each of them was scored.
    """
    scores = session.scores[-1]
    info = {
        "scores": scores,
        "scored": scores.scored,
        "end_reason": session.ending.reason if session.ending else None,
    }
    if session.tickets is not None:
        info["session_scores"] = tuple(session.scores) if session.ending else None
        info["scored"] = all(scores.scored for scores in info["session_scores"] or ())
    return info


def batch_infos(count: int, infos: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Infos with equal keys as Gymnasium's vector environments give them.

    Args:
        count: number of sub-environments, N.
        infos: info by row, one row or more.

    Returns:
        One array [N] a key (bool, int64 or object) and, under `_key`, a mask [N] of the rows that have it.
    """
    rows = list(infos)
    mask = np.zeros(count, dtype=bool)
    mask[rows] = True
    batch: dict[str, Any] = {}
    for key, example in infos[rows[0]].items():
        if isinstance(example, dict):
            batch[key] = batch_infos(count, {row: info[key] for row, info in infos.items()})
        else:
            batch[key] = _column(count, {row: info[key] for row, info in infos.items()}, type(example))
        batch[f"_{key}"] = mask.copy()
    return batch


def _column(count: int, values: Mapping[int, Any], kind: type) -> NDArray[Any]:
    """One info key's values as an array [N], empty where a row has none."""
    if kind in (bool, int):
        column = np.zeros(count, dtype=kind)
    else:
        column = np.full(count, None, dtype=object)
    for row, value in values.items():
        column[row] = value
    return column


def _album(sessions: Sequence[Session], room: int) -> NDArray[np.uint8]:
    """All pictures of each session so far, uint8 [N, room, H, W, 3], zero where not yet reached."""
    album = np.zeros((len(sessions), room, *sessions[0].pictures[0].shape), dtype=np.uint8)
    for row, session in enumerate(sessions):
        for place, picture in enumerate(session.pictures):
            album[row, place] = picture
    return album
