"""`editenv records check PATH [--json]`: prints what a sessions file holds and what of it cannot be used."""

from __future__ import annotations

import json
from collections.abc import Sequence

from editenv.worlds.records.check import check_sessions_file, table

USAGE = "records check PATH [--json]"


def records(words: Sequence[str]) -> int:
    """Runs the command.

    Args:
        words: what is typed after `editenv records`.

    Returns:
        The exit status: 0, or 1 where a record cannot be used.

    Raises:
        ValueError: the words are no such command, or PATH is no file.
    """
    options = [word for word in words if word.startswith("-")]
    action, *paths = [word for word in words if word not in options] or [""]
    if action != "check":
        raise ValueError(f"records is asked for {action!r}, expected `editenv {USAGE}`")
    if set(options) - {"--json"} or len(paths) != 1:
        raise ValueError(f"records check got {' '.join(words[1:])!r}, expected `editenv {USAGE}`")
    report = check_sessions_file(paths[0])
    found = report.to_json()
    print(json.dumps(found) if options else table(found))
    return 0 if report.usable else 1
