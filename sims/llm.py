"""The goal user in a language model's words: it never decides what is asked for, only how that is said."""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import warn

from editenv.endpoint import Answer, ChatEndpoint, endpoint_settings
from editenv.sims.goal import GoalTurn, GoalUser
from editenv.sims.wording import wording_problem
from editenv.types import Stop, TurnResult, UserMessage
from editenv.worlds.studio.session import StudioSpec

MOST_REMEMBERED = 2000
"""Messages that a user remembers, the latest; older ones would be worded anew if asked for again."""

_Wanted = tuple[GoalTurn, StudioSpec, int]  # what is meant, in which session and turn

_FIRST, _, _REST = (Path(__file__).parent / "prompts" / "wording.md").read_text(encoding="utf-8").partition("\n")
PROMPT_VERSION, PROMPT = _FIRST.removeprefix("version:").strip(), _REST.strip()
"""What a model is told, with {summary} for the persona's; answers to another version are not used."""

EXAMPLES = (
    ("turn the striped cross yellow", "could you make the striped cross yellow for me"),
    ("put a plain square in row 1 column 1", "i would like a plain square in row 1 column 1"),
    ("delete it", "could you take it away"),
    ("delete the dotted circle", "i want you to take the dotted circle away"),
)
"""Sentences and wordings that it is shown."""


class LLMUser(GoalUser):
    """A goal user whose instructions are worded by a model behind an OpenAI-compatible endpoint.

    What is wanted, when it is asked for again and when it is enough is the goal user's. The model gets the template's
    sentence and the persona; its words are taken where `wording_problem` finds nothing wrong with them, else the
    template's are. Rules are always stated and dropped in the template's words, for one that is stated wrongly would
    spoil all turns after it. Each message says under `detail` who worded it, and why it was not the model. A sentence
    that was worded once in a turn is said the same when that turn is asked for again, so that sessions can be
    continued from a state; MOST_REMEMBERED of them are remembered, for more and for other processes `endpoint.cache`
    keeps answers. A server that gives no answer is warned of once. `max_length`, characters that a message may have,
    is set by the environment.

    Args:
        endpoint: fields of `EndpointSettings` by name; `timeout` is 30 and `max_tokens` 60 where not given.
        persona, patience: as for GoalUser.
    """

    def __init__(
        self, endpoint: Mapping[str, Any], persona: str | Mapping[str, Any] = "plain", patience: int | None = None
    ) -> None:
        super().__init__(persona, patience)
        if isinstance(endpoint, Mapping):
            endpoint = {"timeout": 30.0, "max_tokens": 60, **endpoint}
        self.endpoint = ChatEndpoint(endpoint_settings(endpoint))
        self.version = f"llm {PROMPT_VERSION} {self.endpoint.settings.model}, {self.version}"
        self.max_length: int | None = None
        self._worded: OrderedDict[tuple[str, int, str], UserMessage] = OrderedDict()
        self._wordings = self._fallbacks = self._failures = 0

    def counts(self) -> dict[str, float]:
        """Wordings asked for, how many fell back to the template, and in how many of those no answer came."""
        return {
            "wordings": self._wordings,
            "wording_fallbacks": self._fallbacks,
            "wording_failures": self._failures,
            "endpoint_calls": self.endpoint.calls,
        }

    def close(self) -> None:
        """Gives the endpoint's thread and connections back; the user can still be asked."""
        self.endpoint.close()

    def beginnings(self, specs: Sequence[StudioSpec]) -> list[UserMessage]:
        """The first requests of sessions, worded together."""
        return self._messages([(self.first_turn(spec), spec, 0) for spec in specs])

    def replies(self, outcomes: Sequence[TurnResult]) -> list[UserMessage | Stop]:
        """The replies to turns, worded together."""
        turns = [self.next_turn(outcome) for outcome in outcomes]
        wanted = [
            (turn, outcome.spec, outcome.turn + 1)
            for turn, outcome in zip(turns, outcomes, strict=True)
            if not isinstance(turn, Stop)
        ]
        messages = iter(self._messages(wanted))
        return [turn if isinstance(turn, Stop) else next(messages) for turn in turns]

    def message(self, turn: GoalTurn, spec: StudioSpec, number: int) -> UserMessage:
        """A turn in the model's words, or in the template's where those will not do."""
        return self._messages([(turn, spec, number)])[0]

    def _messages(self, wanted: Sequence[_Wanted]) -> list[UserMessage]:
        """What is meant in some turns; all that was not worded before is asked for in one call."""
        keys = [(spec.id, number, turn.text) for turn, spec, number in wanted]
        new = {key: one for key, one in zip(keys, wanted, strict=True) if key not in self._worded}
        shown = [("system", PROMPT.replace("{summary}", self.persona.summary))]
        for asked, worded in EXAMPLES:
            shown += [("user", asked), ("assistant", worded)]
        talks = [
            [{"role": role, "content": content} for role, content in (*shown, ("user", turn.sentence))]
            for turn, _, _ in new.values()
        ]
        # Session numbers may be as large as 2^63, seeds of most servers may not.
        seeds = [(spec.index * 1000 + number) % 2**31 for _, spec, number in new.values()]
        answers = self.endpoint.ask(talks, PROMPT_VERSION, seeds)
        for (key, (turn, _, _)), answer in zip(new.items(), answers, strict=True):
            self._worded[key] = self._checked(turn, answer)
        known = [self._worded[key] for key in keys]
        for key in keys:
            self._worded.move_to_end(key)
        while len(self._worded) > MOST_REMEMBERED:
            self._worded.popitem(last=False)
        return [
            replace(message, meaning=replace(turn, text=message.text))
            for message, (turn, _, _) in zip(known, wanted, strict=True)
        ]

    def _checked(self, turn: GoalTurn, answer: Answer) -> UserMessage:
        """The model's words, or the template's where there is something wrong with those."""
        self._wordings += 1
        words, problem = "", answer.error
        if answer.text is None:
            self._failures += 1
            if self._failures == 1:
                warn(
                    f"user 'llm': no answer from {self.endpoint.settings.model!r} ({answer.error}); the "
                    "template's sentence is said instead, counts() says how often",
                    stacklevel=2,
                )
        else:
            words = cleaned(answer.text)
            problem = wording_problem(words, turn.sentence, turn.edit.task, turn.reference)
        text = turn.frame.replace("{edit}", words)
        if problem is None and self.max_length is not None and len(text) > self.max_length:
            problem = f"it makes {len(text)} characters, expected {self.max_length} or fewer"
        if problem is not None:
            text = turn.text
        self._fallbacks += problem is not None
        worded_by = "template" if problem else self.endpoint.settings.model
        found = {"worded_by": worded_by, "template": turn.text, "refused": problem}
        return UserMessage(text, detail=turn.detail() | found)


def cleaned(answer: str) -> str:
    """The sentence in a model's answer, lines kept.

    Thinking before </think>, a JSON object around one text, quotation marks and further space are taken off.
    """
    answer = answer.rpartition("</think>")[2].strip()
    fenced = answer.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if fenced.startswith(("{", '"')):
        try:
            found = json.loads(fenced)
        except (ValueError, RecursionError):
            found = None
        values = list(found.values()) if isinstance(found, dict) else [found]
        if len(values) == 1 and isinstance(values[0], str):
            answer = values[0]
    lines = [" ".join(line.split()) for line in answer.strip().strip("\"'`*").splitlines()]
    return "\n".join(line for line in lines if line)
