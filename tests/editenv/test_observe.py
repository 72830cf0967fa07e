"""Infos of many rows: masks where a row has a key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from editenv.observations import batch_infos, session_info
from editenv.session import Session, SessionEngine
from tests.fakes import FakeWorld, FlatScorer, ScriptUser


def opened(row: int, detail: dict[str, str] | None = None) -> Session:
    session = SessionEngine(FakeWorld(), ScriptUser(), FlatScorer()).open([(5, row)])[0]
    session.message = replace(session.message, detail=detail or {})
    return session


def test_a_key_that_some_rows_have_is_masked() -> None:
    """Fails where a user keeps something of one row's speech and nothing of another's."""
    sessions = {0: opened(0), 1: opened(1, {"wording": "template"}), 2: opened(2, {"model": "x"})}
    infos = batch_infos(4, {row: session_info(session) for row, session in sessions.items()})
    assert infos["_speech"].tolist() == [False, True, True, False]
    assert infos["speech"]["wording"].tolist() == [None, "template", None, None]
    assert infos["speech"]["_model"].tolist() == [False, False, True, False]
    assert infos["_session"].tolist() == [True, True, True, False]


def test_values_keep_their_kinds() -> None:
    infos = batch_infos(2, {1: {"scored": True, "index": 7, "pair": (1, 2), "nothing": None}})
    assert infos["scored"].dtype == np.bool_
    assert infos["index"].dtype == np.int64
    assert infos["pair"].tolist() == [None, (1, 2)]
    assert infos["nothing"].tolist() == [None, None]
