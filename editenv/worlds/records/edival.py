"""EdiVal-Bench's instructions as records: its CSV has a row a turn, each with all turns up to it."""

from __future__ import annotations

import ast
import csv
import io
import json
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from editenv.files import atomic_write
from editenv.records import RecordSpec, at_line, record_from_json

PICTURES = "input_images_resize_512/{}_input_raw.jpg"
"""Where the published pictures lie, by `image_index`."""

_SO_FAR = {"task_type": "task_type", "instructions": "instruction", "format_instructions": "formatted_instruction"}
_THIS_TURN = ("bg_consistency", "unchanged_objects", "available_objects", "all_objects")
COLUMNS = ("image_index", "turns", *_SO_FAR, *_THIS_TURN)
"""The columns of the CSV; values that are no single number are written as Python writes lists and texts."""

_LONGEST_VALUE = 100_000


def read_edival(path: str | Path, pictures: str = PICTURES) -> list[RecordSpec]:
    """The sessions of EdiVal-Bench's CSV, in the order of their first rows.

    Args:
        path: of the CSV, such as oai_instruction_generation_output.csv.
        pictures: path of a session's picture, with {} for its `image_index`.

    Returns:
        One record a session; instructions as they stand, the quotation marks around some of them included.

    Raises:
        ValueError: there is no such file, a column is missing, a value cannot be read, or rows of a session
            are missing or differ in the turns they share; names line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"table is {str(path)!r}, which is no file, expected EdiVal-Bench's CSV")
    sessions: dict[str, dict[str, Any]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            for column in COLUMNS:
                if column not in (rows.fieldnames or ()):
                    raise ValueError(f"column {column!r} is missing, expected {', '.join(COLUMNS)}")
            for row in rows:
                with at_line(path, rows.line_num):
                    _add_row(sessions, row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no readable CSV: {error}") from error
    records = []
    for index, session in sessions.items():
        try:
            records.append(record_from_json(session | {"image": pictures.format(index)}))
        except ValueError as error:
            raise ValueError(f"{path}, image_index {index!r}: {error}") from error
    return records


def write_records(records: Iterable[RecordSpec], path: str | Path) -> None:
    """Writes records as JSON Lines; renamed into place, so that no reader meets half a file."""
    text = "".join(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
    atomic_write(Path(path), lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def _add_row(sessions: dict[str, dict[str, Any]], row: dict[str, str]) -> None:
    """Adds a row's turn to its session."""
    if None in row or None in row.values():
        raise ValueError("the row has more or fewer cells than the line of column names")
    empty: dict[str, Any] = {key: [] for key in (*_SO_FAR.values(), *_THIS_TURN)}
    session = sessions.setdefault(row["image_index"], empty | {"turns": 0})
    session["turns"] += 1
    if row["turns"] != str(session["turns"]):
        raise ValueError(f"column 'turns' is {row['turns']!r}, expected '{session['turns']}'")
    for column, key in _SO_FAR.items():
        values = _literal(row, column)
        if not isinstance(values, list) or len(values) != session["turns"] or values[:-1] != session[key]:
            raise ValueError(f"column {column!r} is {row[column]:.80}, expected one more than {session[key]}")
        session[key] = values
    for column in _THIS_TURN:
        session[column].append(_literal(row, column))


def _literal(row: dict[str, str], column: str) -> Any:
    """The value of a column, a list with a comma between its entries, which arrays of NumPy are written without.

    Python would take ['red car' 'tree'] for one text.
    """
    text, found = row[column] or "", list[str]()
    if len(text) > _LONGEST_VALUE:
        raise ValueError(f"column {column!r} has {len(text)} characters, expected {_LONGEST_VALUE} at most")
    try:
        for token in tokenize.generate_tokens(io.StringIO(f"({text})").readline):
            if token.string.strip():
                if found and found[-1] not in ("(", "[", ",", "-") and token.string not in (")", "]", ","):
                    found.append(",")
                found.append(token.string)
        return ast.literal_eval(" ".join(found))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"column {column!r} is {text:.80}, expected a list, True or False") from error
