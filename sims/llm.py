"""The goal user in a language model's words: it never decides what is asked for, only how that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

from editenv.endpoint import Answer, ChatEndpoint, endpoint_settings
from editenv.sims.goal import GoalUser, kept
from editenv.sims.mind import GoalTurn
from editenv.sims.persona import Persona
from editenv.sims.wording import wording_problem
from editenv.types import Stop, TurnResult, UserMessage
from editenv.worlds.studio.session import StudioSpec

Meant = tuple[GoalTurn, StudioSpec, int]
"""What is meant, in which session and turn."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is told before it is asked.

    Attributes:
        version: of the text; answers to another version are not used.
        text: with {summary} for the persona's.
    """

    version: str
    text: str


@lru_cache(maxsize=1)
def load_prompt() -> Prompt:
    """The prompt file: its version in the first line, then the text."""
    content = files(__package__).joinpath("prompts", "wording.md").read_text(encoding="utf-8")
    head, _, text = content.partition("\n")
    return Prompt(head.removeprefix("version:").strip(), text.strip())


class SpokenUser(GoalUser):
    """A goal user whose instructions are worded by a model behind an OpenAI-compatible endpoint.

    What is wanted, when it is asked for again and when it is enough is the goal user's. The model gets the
    template's sentence and the persona; its words are taken where `wording_problem` finds nothing wrong with
    them, else the template speaks. Rules are always stated and dropped in the template's words, for one that
    is stated wrongly would spoil all turns after it. Each speech says under `detail` who worded it, and why
    it was not the model. A sentence that was worded once in a turn is said the same when that turn is
    asked for again, so that sessions can be continued from a state; for other processes `endpoint.cache`
    keeps answers.

    Args:
        endpoint: fields of `EndpointSettings`, JSON values by name.
        persona, patience: as for GoalUser.

    Raises:
        ValueError: a setting is not known, missing or not in its range.
    """

    def __init__(
        self,
        endpoint: Mapping[str, Any],
        persona: str | Mapping[str, Any] = "plain",
        patience: int | None = None,
    ) -> None:
        super().__init__(persona, patience)
        self.prompt = load_prompt()
        self.endpoint = ChatEndpoint(endpoint_settings(endpoint))
        self.version = f"llm {self.prompt.version} {self.endpoint.settings.model}, {self.version}"
        self._worded: dict[tuple[str, int, str], UserMessage] = {}
        self._wordings = self._fallbacks = self._failures = 0

    def counts(self) -> dict[str, float]:
        """Wordings asked for, how many fell back to the template, and in how many of those no answer came."""
        return {
            "wordings": self._wordings,
            "wording_fallbacks": self._fallbacks,
            "wording_failures": self._failures,
            "endpoint_calls": self.endpoint.calls,
        }

    def beginnings(self, specs: Sequence[StudioSpec]) -> list[UserMessage]:
        """The first wishes of sessions, asked for together."""
        return self._all_said([(self.first_wish(spec), spec, 0) for spec in specs])

    def replies(self, outcomes: Sequence[TurnResult]) -> list[UserMessage | Stop]:
        """The replies to turns, asked for together."""
        wishes = [self.next_wish(outcome) for outcome in outcomes]
        meant = [
            (wish, outcome.spec, outcome.turn + 1)
            for wish, outcome in zip(wishes, outcomes, strict=True)
            if not isinstance(wish, Stop)
        ]
        said = iter(self._all_said(meant))
        return [wish if isinstance(wish, Stop) else next(said) for wish in wishes]

    def said(self, meant: GoalTurn, spec: StudioSpec, turn: int) -> UserMessage:
        """What is meant in the model's words, or in the template's where those will not do."""
        return self._all_said([(meant, spec, turn)])[0]

    def _all_said(self, meant: Sequence[Meant]) -> list[UserMessage]:
        """What is meant in some turns, worded in one call where it was not yet."""
        new = {_key(*one): one for one in meant if _key(*one) not in self._worded}
        talks = [conversation(self.prompt, self.persona, wish.sentence) for wish, _, _ in new.values()]
        seeds = [spec.index * 1000 + turn for _, spec, turn in new.values()]
        answers = self.endpoint.ask(talks, self.prompt.version, seeds)
        for (key, (wish, _, _)), answer in zip(new.items(), answers, strict=True):
            self._worded[key] = self._checked(wish, answer)
        known = [self._worded[_key(*one)] for one in meant]
        return [
            replace(speech, meaning=replace(wish, text=speech.text))
            for speech, (wish, _, _) in zip(known, meant, strict=True)
        ]

    def _checked(self, meant: GoalTurn, answer: Answer) -> UserMessage:
        """The model's words, or the template's where there is something wrong with those."""
        self._wordings += 1
        words, problem = "", answer.error
        if answer.text is None:
            self._failures += 1
        else:
            words = cleaned(answer.text)
            problem = wording_problem(words, meant.sentence, meant.edit.task, meant.reference)
        self._fallbacks += problem is not None
        text = meant.text if problem else meant.frame.replace("{edit}", words)
        worded_by = "template" if problem else self.endpoint.settings.model
        found = {"worded_by": worded_by, "template": meant.text, "refused": problem}
        return UserMessage(text, detail=kept(meant) | found)


def _key(meant: GoalTurn, spec: StudioSpec, turn: int) -> tuple[str, int, str]:
    return spec.id, turn, meant.text


def conversation(prompt: Prompt, persona: Persona, sentence: str) -> list[dict[str, Any]]:
    """The question for a wording, as chat messages with examples of what is wanted."""
    examples = (
        ("turn the striped cross yellow", "could you make the striped cross yellow for me"),
        ("put a plain square in row 1 column 1", "i would like a plain square in row 1 column 1"),
        ("delete it", "could you take it away"),
        ("delete the dotted circle", "i want you to take the dotted circle away"),
    )
    shown = [
        {"role": role, "content": content}
        for pair in examples
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]
    told = {"role": "system", "content": prompt.text.replace("{summary}", persona.summary)}
    return [told, *shown, {"role": "user", "content": sentence}]


def cleaned(answer: str) -> str:
    """A model's answer less quotation marks and space around it, with single spaces in it, lines kept."""
    lines = [" ".join(line.split()) for line in answer.strip().strip("\"'`*").splitlines()]
    return "\n".join(line for line in lines if line)
