"""What agents are shown of sessions: observations and infos, for one session and for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editenv.session import Session


def observation(session: Session, images: int | None = None) -> dict[str, Any]:
    """What an agent sees now, in fresh arrays; `images` is how many pictures are shown of it, None for none."""
    seen = {
        "image": session.pictures[-1].copy(),
        "source": session.pictures[0].copy(),
        "instruction": session.instruction,
        "transcript": session.transcript,
        "turn": session.turn,
    }
    return seen if images is None else seen | {"images": _album([session], images)[0]}


def observations(sessions: Sequence[Session], images: int | None = None) -> dict[str, Any]:
    """The same for a batch, as Gymnasium batches these spaces: arrays [N, ...] and tuples of N."""
    seen = {
        "image": np.stack([session.pictures[-1] for session in sessions]),
        "source": np.stack([session.pictures[0] for session in sessions]),
        "instruction": tuple([session.instruction for session in sessions]),
        "transcript": tuple([session.transcript for session in sessions]),
        "turn": np.array([session.turn for session in sessions], dtype=np.int64),
    }
    return seen if images is None else seen | {"images": _album(sessions, images)}


def _album(sessions: Sequence[Session], room: int) -> NDArray[np.uint8]:
    """All pictures of each session so far, uint8 [N, room, H, W, 3], zero where not yet reached."""
    album = np.zeros((len(sessions), room, *sessions[0].pictures[0].shape), dtype=np.uint8)
    for row, session in enumerate(sessions):
        for place, picture in enumerate(session.pictures):
            album[row, place] = picture
    return album


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
    return known | {"speech": dict(session.message.detail)} if session.message.detail else known


def turn_info(session: Session) -> dict[str, Any]:
    """How the last turn went: scores, whether scored, why the session ended (None: it goes on), success.

    With deferred scoring `scores` is empty until the session ends; then `session_scores` holds those of all
    turns, and `scored` says whether each of them was scored.
    """
    scores = session.scores[-1]
    info: dict[str, Any] = {
        "scores": scores,
        "scored": scores.scored,
        "end_reason": session.ending.reason if session.ending else None,
        "is_success": session.is_success,
    }
    if session.pending is not None:
        info["session_scores"] = tuple(session.scores) if session.ending else None
        info["scored"] = all(scores.scored for scores in info["session_scores"] or ())
    return info


def batch_infos(count: int, infos: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Infos as Gymnasium's vector environments give them.

    Args:
        count: number of sub-environments, N.
        infos: info by row, one row or more; a key need not be in every row.

    Returns:
        One array [N] a key (bool, int64 or object) and, under `_key`, a mask [N] of the rows that have it.
    """
    batch: dict[str, Any] = {}
    for key in dict.fromkeys(key for info in infos.values() for key in info):
        found = {row: info[key] for row, info in infos.items() if key in info}
        mask = np.zeros(count, dtype=bool)
        mask[list(found)] = True
        first = next(iter(found.values()))
        if isinstance(first, dict):
            batch |= {key: batch_infos(count, found), f"_{key}": mask}
            continue
        kind = type(first) if type(first) in (bool, int) else object
        column: NDArray[Any] = np.full(count, None if kind is object else 0, dtype=kind)
        for row, value in found.items():
            column[row] = value  # one by one: numpy would take a list of tuples for a table
        batch |= {key: column, f"_{key}": mask}
    return batch
