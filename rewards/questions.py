"""The questions a judge is asked, made from prompt files, and the strict reading of its answers."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from editenv.rewards.asked import Asked
from editenv.types import Image, TurnResult
from editenv.worlds.records.session import TASKS

FOLDER = Path(__file__).parent / "prompts"
AWARENESS = ("auto", "cm", "cu")
"""Which question asks for global awareness; "auto" asks about rules where the session has one."""

_NAMES = ("if", "cc", "ga_cm", "ga_cu", *(f"if_{task}" for task in (*TASKS, "undo", "leave", "other")))
_TAG = re.compile(r"<(answer(?:_\w+)?)>\s*(.*?)\s*</\1>", re.DOTALL)
_ALL_ELSE = "everything that none of these requests speaks of"
_BACKGROUND = "the background"


@dataclass(frozen=True)
class Prompts:
    """One version of all prompt files.

    Attributes:
        version: name of the folder and a hash of its texts, so that no edit goes unnoticed.
        texts: by file name, without ".md".
    """

    version: str
    texts: dict[str, Template]


@dataclass(frozen=True)
class Question:
    """One question about one turn.

    Attributes:
        score: name of the score that the answer gives.
        messages: for the chat endpoint.
        read: from the answer's text to the score; raises ValueError where it is no answer.
    """

    score: str
    messages: list[dict[str, Any]]
    read: Callable[[str], float]


def read_prompts(name: str) -> Prompts:
    """Prompts that come with the package, or those in a folder.

    Raises:
        ValueError: there is no such folder, or one of its files is missing.
    """
    folder = FOLDER / name if (FOLDER / name).is_dir() else Path(name)
    missing = [file for file in _NAMES if not (folder / f"{file}.md").is_file()]
    if missing:
        shipped = ", ".join(sorted(place.name for place in FOLDER.iterdir()))
        raise ValueError(
            f"prompts {name!r} lack {missing[0]}.md, expected {shipped} or a folder that has all"
        )
    texts = {file: (folder / f"{file}.md").read_text(encoding="utf-8").strip() for file in _NAMES}
    content = blake2b("\0".join(texts.values()).encode(), digest_size=4).hexdigest()
    return Prompts(f"{folder.name}:{content}", {key: Template(text) for key, text in texts.items()})


def questions(turn: TurnResult, meant: Asked, prompts: Prompts, awareness: str, side: int) -> list[Question]:
    """What is asked about a turn: IF, CC where something had to stay, and GA.

    Args:
        turn: with its pictures.
        meant: the turn in words.
        prompts: to use.
        awareness: one of AWARENESS.
        side: smaller pictures are enlarged by a whole factor until they are about as wide, in pixels.
    """
    show = partial(_messages, side=side)
    asked = [
        Question(
            "instruction_following",
            show(
                _filled(
                    prompts,
                    "if",
                    instruction=meant.instructions[-1],
                    resolved=meant.resolved[-1],
                    criteria=_criteria(meant, prompts),
                ),
                [turn.before, turn.after, *_goal(turn, meant)],
            ),
            _read_one,
        )
    ]
    items = _items(meant)
    if items:
        tags = [f"answer_{number}" for number in range(1, len(items) + 1)]
        text = _filled(
            prompts,
            "cc",
            instructions=_numbered(meant.instructions),
            items=_numbered(items),
            form=_form(tags),
        )
        asked.append(
            Question("content_consistency", show(text, [turn.source, turn.after]), partial(_read_share, tags))
        )
    kind = awareness if awareness != "auto" else "cm" if meant.ruled else "cu"
    turns = [f"answer_turn_{number}" for number in range(1, turn.turn + 2)]
    text = _filled(
        prompts,
        f"ga_{kind}",
        instructions=_numbered(meant.instructions),
        resolved=_numbered(meant.resolved),
        form=_form([*turns, "answer_final"]),
    )
    pictures = [turn.source, *turn.earlier, turn.after]
    return [*asked, Question("global_awareness", show(text, pictures), partial(_read_session, turns))]


def answers(text: str) -> dict[str, bool]:
    """The yes or no in each answer tag of a text; what a model thinks aloud before </think> does not count.

    Raises:
        ValueError: there is none, one comes twice, or one says something else.
    """
    found: dict[str, bool] = {}
    for tag, word in _TAG.findall(text.rpartition("</think>")[2]):
        if tag in found:
            raise ValueError(f"<{tag}> comes twice, expected it once")
        if word.lower() not in ("yes", "no"):
            raise ValueError(f"<{tag}> holds {word[:40]!r}, expected yes or no")
        found[tag] = word.lower() == "yes"
    if not found:
        raise ValueError("there is no <answer>, expected yes or no in one")
    return found


def _read_one(text: str) -> float:
    """1 or 0 for the one answer."""
    return float(_exactly(["answer"], text)["answer"])


def _read_share(tags: Sequence[str], text: str) -> float:
    """Share of answers that are yes."""
    found = _exactly(tags, text)
    return sum(found.values()) / len(found)


def _read_session(turns: Sequence[str], text: str) -> float:
    """1 when every turn is a yes; turns after the first no need no answer."""
    found = answers(text)
    final = found.pop("answer_final", None)
    judged = [found[tag] for tag in turns if tag in found]
    if list(found) != list(turns[: len(found)]) or (len(judged) < len(turns) and all(judged)):
        raise ValueError(f"turns {list(found)} are judged, expected {list(turns)}, or up to the first no")
    if final is None or final != all(judged):
        raise ValueError(f"<answer_final> is {final}, expected what follows from the turns: {all(judged)}")
    return float(final)


def _exactly(tags: Sequence[str], text: str) -> dict[str, bool]:
    found = answers(text)
    if set(found) != set(tags):
        raise ValueError(f"the answers are {sorted(found)}, expected {list(tags)}")
    return found


def _criteria(meant: Asked, prompts: Prompts) -> str:
    """What a yes means in this turn; tasks that no prompt knows share one."""
    name = "if_leave" if meant.impossible else f"if_{meant.task}"
    return prompts.texts.get(name, prompts.texts["if_other"]).template


def _goal(turn: TurnResult, meant: Asked) -> list[Image]:
    """The picture that an undo goes back to."""
    shown = [turn.source, *turn.earlier]
    return shown[-2:-1] if meant.task == "undo" else []


def _items(meant: Asked) -> list[str]:
    """What had to stay as it was."""
    if meant.unchanged is None:
        return [_ALL_ELSE]
    return [*meant.unchanged, *([_BACKGROUND] if meant.background else [])]


def _filled(prompts: Prompts, name: str, **words: str) -> str:
    return prompts.texts[name].substitute(words)


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _form(tags: Sequence[str]) -> str:
    return "\n".join(f"<{tag}>yes or no</{tag}>" for tag in tags)


def _messages(text: str, pictures: Sequence[Image], side: int) -> list[dict[str, Any]]:
    """One message of the user: the pictures in order, then the text."""
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(picture, side)}} for picture in pictures
    ]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def data_url(picture: Image, side: int) -> str:
    """The picture as a PNG in a data URL, repeated pixel by pixel until it is about `side` pixels wide."""
    from PIL import Image as PILImage

    factor = max(1, side // max(picture.shape[:2]))
    data = BytesIO()
    PILImage.fromarray(np.repeat(np.repeat(picture, factor, 0), factor, 1)).save(data, format="PNG")
    return f"data:image/png;base64,{b64encode(data.getvalue()).decode()}"
