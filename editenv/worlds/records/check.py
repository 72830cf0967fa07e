"""`editenv records check PATH [--json]`: what a sessions file holds, and what of it cannot be used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from editenv.records import TASKS, Line, at_line, pictures_folder, scan_lines
from editenv.worlds.records.pictures import load_picture
from editenv.worlds.records.sentences import contradictions, pronouns, stated_rule, take_apart
from editenv.worlds.records.world import open_sessions

USAGE = "records check PATH [--json]"


@dataclass(slots=True)
class Report:
    """What a check found. Findings are JSON objects; each has the key "line", counted from 1."""

    path: str  # of the file
    sessions: int = 0  # records that can be used
    turns: int = 0  # of the records that could be read
    tasks: dict[str, int] = field(default_factory=dict)  # turns of each task type
    with_meaning: int = 0  # records with the key "editenv", which are scored exactly
    rules: int = 0  # records whose user states a lasting rule
    references: int = 0  # turns in which the user's words point back
    # "line", "turn" and "sentence" of what follows no known pattern
    unparsed_sentences: list[dict[str, Any]] = field(default_factory=list)
    # "line", "turn", "kind" (a word of KINDS) and "text"
    contradictions: list[dict[str, Any]] = field(default_factory=list)
    # "line" and "first", of records that stand in the file twice
    repeated: list[dict[str, Any]] = field(default_factory=list)
    # "line" (None where the file as a whole is meant) and "error", of what cannot be used
    errors: list[dict[str, Any]] = field(default_factory=list)


def check_sessions_file(path: str | Path) -> Report:
    """Reads every line, decodes every picture, and takes every sentence apart; ValueError if there is no such file."""
    path, report, lines = Path(path), Report(str(path)), list[Line]()
    for number, line in enumerate(scan_lines(path), start=1):
        if isinstance(line, ValueError):
            report.errors.append({"line": number, "error": str(line)})
        else:
            lines.append(line)
    folder = pictures_folder(path, lines)
    seen: dict[str, int] = {}
    for line in lines:
        first = seen.setdefault(line.record.id, line.number)
        if first != line.number:
            report.repeated.append({"line": line.number, "first": first})
        report.turns += line.record.turn_count
        try:
            _read_words(report, path, line)
            with at_line(path, line.number, "image"):
                load_picture(folder, line.record.image)
            report.sessions += 1
        except ValueError as error:
            report.errors.append({"line": line.number, "error": str(error)})
    report.errors.sort(key=lambda finding: finding["line"])
    if not report.errors:
        try:
            open_sessions(path)  # also compares lines with each other
        except ValueError as error:
            report.errors.append({"line": None, "error": str(error)})
            report.sessions = 0
    counts = Counter(turn.task_type for line in lines for turn in line.record.turns)
    report.tasks = {task: counts[task] for task in TASKS}
    return report


def _read_words(report: Report, path: Path, line: Line) -> None:
    """Counts what a line's exact meaning or, where it has none, its sentences say."""
    if line.extra is not None:
        from editenv.worlds.records.scenes import read_meaning  # photographs need not load the studio

        report.with_meaning += 1
        _, spec = read_meaning(path, line)
        report.rules += any(turn.rules for turn in spec.turns)
        report.references += sum(turn.reference is not None for turn in spec.turns)
        return
    record, where = line.record, {"line": line.number}
    report.rules += any(map(stated_rule, record.instruction))
    report.references += sum(bool(pronouns(said)) for said in record.instruction)
    report.unparsed_sentences += [
        where | {"turn": number, "sentence": turn.formatted_instruction}
        for number, turn in enumerate(record.turns)
        if take_apart(turn.formatted_instruction) is None
    ]
    report.contradictions += [where | asdict(found) for found in contradictions(record)]


_FINDINGS = {
    "unparsed_sentences": ("sentence",),
    "contradictions": ("kind", "text"),
    "repeated": ("first",),
    "errors": ("error",),
}
_WIDEST = 160


def table(report: Mapping[str, Any]) -> str:
    """A report's JSON values as lines for a reader."""
    width = max(map(len, TASKS))
    lines = [
        report["path"],
        f"  {report['sessions']} sessions that can be used, {report['turns']} turns",
        f"  {report['with_meaning']} with exact meaning, {report['rules']} state a rule, "
        f"{report['references']} turns point back",
        *(f"  {task:<{width}}  {count:>6}" for task, count in report["tasks"].items()),
    ]
    for name, columns in _FINDINGS.items():
        lines += ["", f"{name.replace('_', ' ')}: {len(report[name])}"]
        for finding in report[name]:
            where = "file" if finding["line"] is None else f"line {finding['line']}"
            where += f", turn {finding['turn']}" if "turn" in finding else ""
            text = "  ".join(f"as line {finding[c]}" if c == "first" else str(finding[c]) for c in columns)
            text = " ".join(text.split())
            if len(text) > _WIDEST and name != "errors":
                text = f"{text[: _WIDEST - 3]}..."
            lines.append(f"  {where}: {text}")
    return "\n".join(lines)


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
    print(json.dumps(asdict(report)) if options else table(asdict(report)))
    return 1 if report.errors else 0
