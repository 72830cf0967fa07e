"""A vision-language model as judge, behind a server that speaks OpenAI's protocol.

From top to bottom: the scorer with its votes, the questions made from prompt files, and the strict reading of
answers.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np

from editenv.endpoint import ChatEndpoint, endpoint_settings
from editenv.records import TASKS
from editenv.rewards import require_whole
from editenv.rewards.judge_context import JudgeContext, judge_context
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.types import Image, Scores, TurnResult

FOLDER = Path(__file__).parent / "prompts"
AWARENESS = ("auto", "cm", "cu")
"""What the GA question asks about: rules (cm), referents (cu), or rules where the session has one (auto)."""

_PROMPT_FILES = ("if", "cc", "ga_cm", "ga_cu", *(f"if_{task}" for task in (*TASKS, "undo", "leave", "other")))
_RESEED = 1_000_003
"""Added to the seed of an answer that could not be read, so that the next one is another."""


VOTES: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda votes: sum(votes) / len(votes),
    "majority": lambda votes: float(sum(vote > 0.5 for vote in votes) * 2 > len(votes)),
}
"""From votes to a score, by name; a tie is no majority."""


@dataclass
class _Vote:
    """One vote on one question; `value` is None while missing, `done` once it is not asked for again."""

    question: Question
    seed: int
    value: float | None = None
    error: str | None = None
    done: bool = False


class JudgeScorer:
    """IF by task, CC and GA, after Edit-R2's MICE-Bench, which takes part of IF from an object detector.

    Every question is asked `votes` times with different seeds. A vote that cannot be read is asked for again
    up to `reasks` times; where a vote is missing in the end, that score is None and `error` says why: the
    turn is not scored, and no other turn is touched. `detail` keeps the votes.

    Pictures and words go to the server that `base_url` names. Every reported number should name `version`,
    which holds the model, the prompts with their hash, and the votes.

    Args:
        world: whose sessions are judged; records and the studio can be put into words.
        weights: of the reward.
        endpoint: `base_url`, `model` and the other settings of `editenv.endpoint.EndpointSettings`; the
            temperature is 0.6 where none is given, since votes would else be alike.
        votes: answers to each question.
        combine: a name in VOTES.
        prompts: a folder of prompt files that comes with the package, or the path of one.
        awareness: a name in AWARENESS.
        reasks: further questions for a vote that cannot be read.
        side: pictures smaller than this, in pixels, are enlarged by a whole factor.
        check: ask the server one short question now, with as many pictures as turns may show, so that a wrong address
            or limit is noticed at once, with a ConnectionError.
    """

    def __init__(
        self,
        world: Any,
        weights: RewardWeights | None = None,
        *,
        endpoint: Mapping[str, Any],
        votes: int = 4,
        combine: str = "mean",
        prompts: str = "mice-2",
        awareness: str = "auto",
        reasks: int = 2,
        side: int = 256,
        check: bool = True,
    ) -> None:
        for name, value, least in (("votes", votes, 1), ("reasks", reasks, 0), ("side", side, 1)):
            require_whole(name, value, least)
        for name, value, known in (("combine", combine, VOTES), ("awareness", awareness, AWARENESS)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
        self.weights = weights or RewardWeights()
        if isinstance(endpoint, Mapping):
            endpoint = {"temperature": 0.6, **endpoint}
        self.endpoint = ChatEndpoint(endpoint_settings(endpoint))
        self.prompts = read_prompts(prompts)
        model, temperature = self.endpoint.settings.model, self.endpoint.settings.temperature
        self.version = (
            f"judge 1 {model} {self.prompts.version} {votes} votes {combine} temperature {temperature} "
            f"awareness {awareness} side {side}"
        )
        self._votes, self._reasks, self.side, self._awareness = votes, reasks, side, awareness
        self._combine = VOTES[combine]
        if check:
            # Small pictures, as many as the last turn shows, and a seed: servers may refuse either.
            pictures = [np.full((8, 8, 3), 128, np.uint8)] * (1 + getattr(world, "max_turns", 0) or 1)
            self.endpoint.health(question_messages("Answer with the word yes.", pictures, side))

    def close(self) -> None:
        """Gives the endpoint's thread and connections back; the scorer can still be asked."""
        self.endpoint.close()

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns, in order; all questions of all turns are asked at once."""
        return self.poll([self.questions(turn, judge_context(turn)) for turn in turns])

    def questions(self, turn: TurnResult, meant: JudgeContext) -> list[Question]:
        """What is asked about a turn."""
        return judge_questions(turn, meant, self.prompts, self._awareness, self.side)

    def poll(self, questions: Sequence[Sequence[Question]]) -> list[Scores]:
        """What the votes on each turn's questions say; scores that no question is about are None."""
        votes = [[[_Vote(question, seed) for seed in range(self._votes)] for question in group] for group in questions]
        every = [vote for group in votes for poll in group for vote in poll]
        for attempt in range(1 + self._reasks):
            asked = [vote for vote in every if not vote.done]
            talks = [vote.question.messages for vote in asked]
            seeds = [vote.seed + attempt * _RESEED for vote in asked]
            checks = [vote.question.read for vote in asked]
            answers = self.endpoint.ask(talks, self.prompts.version, seeds, checks)
            for vote, answer in zip(asked, answers, strict=True):
                if answer.text is None:  # what the endpoint failed at is not asked again
                    vote.done, vote.error = True, str(answer.error)
                    continue
                try:
                    vote.value, vote.done, vote.error = vote.question.read(answer.text), True, None
                except ValueError as error:
                    vote.error = f"the answer cannot be read: {error}"
        return [self._scores(group) for group in votes]

    def _scores(self, polls: Sequence[Sequence[_Vote]]) -> Scores:
        """One turn's scores from the votes on each of its questions."""
        scores: dict[str, float | None] = {}
        votes: dict[str, list[float | None]] = {}
        errors = []
        for poll in polls:
            name = poll[0].question.score
            votes[name] = [vote.value for vote in poll]
            given = [vote.value for vote in poll if vote.value is not None]
            scores[name] = self._combine(given) if len(given) == len(poll) else None
            errors += [f"{name}: {vote.error}" for vote in poll if vote.error is not None][:1]
        error = f"judge: {'; '.join(errors)}" if errors else None
        found = Scores(**scores, detail={"votes": votes}, error=error)  # type: ignore[arg-type]
        return with_reward(found, self.weights)


# Questions, made from prompt files.


class Prompts(NamedTuple):
    """One version of all prompt files."""

    version: str  # name of the folder and a hash of its texts, so that every edit changes it
    texts: Mapping[str, Template]  # by file name, without ".md"


class Question(NamedTuple):
    """One question about one turn."""

    score: str  # name of the score that the answer gives
    messages: list[dict[str, Any]]  # for the chat endpoint
    read: Callable[[str], float]  # from the answer's text to the score; raises ValueError where it is no answer


def read_prompts(name: str) -> Prompts:
    """Prompts that come with the package, or those in a folder that has all files."""
    folder = FOLDER / name if (FOLDER / name).is_dir() else Path(name)
    missing = [file for file in _PROMPT_FILES if not (folder / f"{file}.md").is_file()]
    if missing:
        shipped = ", ".join(sorted(place.name for place in FOLDER.iterdir()))
        raise ValueError(f"prompts {name!r} lack {missing[0]}.md, expected {shipped} or a folder that has all")
    texts = {file: (folder / f"{file}.md").read_text(encoding="utf-8").strip() for file in _PROMPT_FILES}
    content = blake2b("\0".join(texts.values()).encode(), digest_size=4).hexdigest()
    return Prompts(f"{folder.name}:{content}", {key: Template(text) for key, text in texts.items()})


def judge_questions(
    turn: TurnResult, meant: JudgeContext, prompts: Prompts, awareness: str, side: int
) -> list[Question]:
    """What is asked about a turn: IF, CC where something had to stay, and GA.

    Args:
        turn: with its pictures.
        meant: the turn in words.
        prompts: to use.
        awareness: one of AWARENESS.
        side: smaller pictures are enlarged by a whole factor until they are about as wide, in pixels.
    """
    said = _numbered(map(_quoted, meant.instructions))
    resolved = _numbered(map(_quoted, meant.resolved))
    # IF: what a yes means depends on the task; an undo is also shown the picture that it goes back to.
    texts = prompts.texts
    criteria = texts.get("if_leave" if meant.impossible else f"if_{meant.task}", texts["if_other"])
    text = texts["if"].substitute(
        instruction=_quoted(meant.instructions[-1]), resolved=_quoted(meant.resolved[-1]), criteria=criteria.template
    )
    goal = [turn.source, *turn.earlier][-2:-1] if meant.task == "undo" else []
    messages = question_messages(text, [turn.before, turn.after, *goal], side)
    questions = [Question("instruction_following", messages, partial(_read_share, ["answer"]))]
    # CC: one answer for each thing that had to stay.
    if meant.unchanged is None:
        items = ["everything that none of these requests speaks of"]
    else:
        items = [*map(_quoted, meant.unchanged), *(["the background"] if meant.background else [])]
    if items:
        tags = [f"answer_{number}" for number in range(1, len(items) + 1)]
        text = texts["cc"].substitute(instructions=said, items=_numbered(items), form=_form(tags))
        messages = question_messages(text, [turn.source, turn.after], side)
        questions.append(Question("content_consistency", messages, partial(_read_share, tags)))
    # GA: one answer for each turn so far, and a last one that follows from them.
    kind = awareness if awareness != "auto" else "cm" if meant.ruled else "cu"
    tags = [f"answer_turn_{number}" for number in range(1, turn.turn + 2)]
    form = _form([*tags, "answer_final"])
    text = texts[f"ga_{kind}"].substitute(instructions=said, resolved=resolved, form=form)
    messages = question_messages(text, [turn.source, *turn.earlier, turn.after], side)
    return [*questions, Question("global_awareness", messages, partial(_read_session, tags))]


def _quoted(words: str) -> str:
    """Foreign words as data: the prompts say what the tags mean, and no text can close them."""
    return f"<words>{escape(words, quote=False)}</words>"


def _numbered(lines: Iterable[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _form(tags: Sequence[str]) -> str:
    return "\n".join(f"<{tag}>yes or no</{tag}>" for tag in tags)


def question_messages(text: str, pictures: Sequence[Image], side: int) -> list[dict[str, Any]]:
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


# Answers.

_TAG = re.compile(r"<(/?)(answer(?:_\w+)?)>")


def read_answers(text: str) -> dict[str, bool]:
    """The yes or no in each answer tag of a text; what a model writes before </think> does not count.

    Each opening tag is read up to the next closing tag of its name; one that is never closed is skipped.
    Takes time linear in the text's length.

    Raises:
        ValueError: there is none, one comes twice, or one says something else.
    """
    text = text.rpartition("</think>")[2]
    tags = list(_TAG.finditer(text))
    last_closing = {tag[2]: tag.start() for tag in tags if tag[1]}
    found: dict[str, bool] = {}
    opening: re.Match[str] | None = None
    for tag in tags:
        if opening is None:
            if not tag[1] and last_closing.get(tag[2], -1) >= tag.end():
                opening = tag
        elif tag[1] and tag[2] == opening[2]:
            name, word = opening[2], text[opening.end() : tag.start()].strip()
            if name in found:
                raise ValueError(f"<{name}> comes twice, expected it once")
            if word.lower() not in ("yes", "no"):
                raise ValueError(f"<{name}> holds {word[:40]!r}, expected yes or no")
            found[name], opening = word.lower() == "yes", None
    if not found:
        raise ValueError("there is no <answer>, expected yes or no in one")
    return found


def _read_share(tags: Sequence[str], text: str) -> float:
    """Share of the answers that are yes; exactly these tags have to be there."""
    found = read_answers(text)
    if set(found) != set(tags):
        raise ValueError(f"the answers are {sorted(found)}, expected {list(tags)}")
    return sum(found.values()) / len(found)


def _read_session(tags: Sequence[str], text: str) -> float:
    """1 when every turn is a yes, else 0; turns after the first no need no answer."""
    found = read_answers(text)
    final = found.pop("answer_final", None)
    judged = [found[tag] for tag in tags if tag in found]
    if list(found) != list(tags[: len(found)]) or (len(judged) < len(tags) and all(judged)):
        raise ValueError(f"turns {list(found)} are judged, expected {list(tags)}, or up to the first no")
    if final is None or final != all(judged):
        raise ValueError(f"<answer_final> is {final}, expected what follows from the turns: {all(judged)}")
    return float(final)
