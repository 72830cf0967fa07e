"""Infos of many rows: the same whichever way they are put together, masks where a row has a key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from editenv.observations import batch_infos, session_info, session_infos
from editenv.session import Session, SessionEngine
from tests.fakes import FakeWorld, FlatScorer, ScriptUser


def opened(row: int, detail: dict[str, str] | None = None) -> Session:
    session = SessionEngine(FakeWorld(), ScriptUser(), FlatScorer()).open([(5, row)])[0]
    session.message = replace(session.message, detail=detail or {})
    return session


def test_infos_by_column_are_infos_by_row() -> None:
    sessions = {row: opened(row) for row in (0, 2, 3)}
    by_row = batch_infos(5, {row: session_info(session) for row, session in sessions.items()})
    assert data_equivalence(session_infos(5, sessions), by_row, exact=True)
    assert by_row["_index"].tolist() == [True, False, True, True, False]


def test_a_key_that_some_rows_have_is_masked() -> None:
    """Fails where a user keeps something of one row's speech and nothing of another's."""
    sessions = {0: opened(0), 1: opened(1, {"wording": "template"}), 2: opened(2, {"model": "x"})}
    infos = session_infos(3, sessions)
    assert infos["_speech"].tolist() == [False, True, True]
    assert infos["speech"]["wording"].tolist() == [None, "template", None]
    assert infos["speech"]["_model"].tolist() == [False, False, True]
    assert infos["_session"].all()


def test_values_keep_their_kinds() -> None:
    infos = batch_infos(2, {1: {"scored": True, "index": 7, "pair": (1, 2), "nothing": None}})
    assert infos["scored"].dtype == np.bool_
    assert infos["index"].dtype == np.int64
    assert infos["pair"].tolist() == [None, (1, 2)]
    assert infos["nothing"].tolist() == [None, None]
