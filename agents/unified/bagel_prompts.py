"""What BAGEL is told and asked, read from a YAML file, and what its answers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

SHIPPED = Path(__file__).parent / "prompts" / "bagel.yaml"
QUESTIONS = ("none", "cm", "cu")
_END = "</think>"


@dataclass(frozen=True)
class Prompts:
    """Texts of a prompts file; `{history}`, `{instruction}`, `{number}` and `{text}` are filled in."""

    think: str  # before a question whose answer is thought about
    plan: str  # before an image that is thought about
    round: str  # one earlier round
    questions: dict[str, str]  # by the name in QUESTIONS

    @classmethod
    def read(cls, path: Path) -> Prompts:
        """Of a file; ValueError where it is not as expected."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"prompts is {str(path)!r}, which cannot be read: {error}") from error

    @classmethod
    def parse(cls, text: str, where: str) -> Prompts:
        """Of a file's text; `where` is said in errors."""
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{where} is no YAML: {error}") from error
        names = ("think", "plan", "round", "questions")
        if not isinstance(found, dict) or set(found) != set(names):
            raise ValueError(
                f"{where} has {found if not isinstance(found, dict) else sorted(found)}, expected {names}"
            )
        asked = found["questions"]
        if not isinstance(asked, dict) or set(asked) != set(QUESTIONS):
            raise ValueError(f"{where}: questions is {asked!r}, expected a mapping of {', '.join(QUESTIONS)}")
        for name, value in ({name: found[name] for name in names[:3]} | asked).items():
            if not isinstance(value, str):
                raise ValueError(f"{where}: {name} is {value!r}, expected text")
        for name, value in asked.items():
            if "{instruction}" not in value:
                raise ValueError(f"{where}: question {name} has no {{instruction}}, where the user's words go")
        return cls(**found)

    def ask(self, question: str, transcript: Sequence[str]) -> str:
        """The question after a transcript, whose last element is this round's instruction."""
        *before, now = [text.strip() for text in transcript]
        rounds = [_filled(self.round, {"number": str(k), "text": text}) for k, text in enumerate(before, start=1)]
        return _filled(self.questions[question], {"history": "\n".join(rounds) or "(none)", "instruction": now})


def _filled(template: str, values: dict[str, str]) -> str:
    """A template with each {name} replaced once, whatever braces the values hold."""
    for name, marker in ((name, f"\0{name}\0") for name in values):
        template = template.replace(f"{{{name}}}", marker)
    for name, value in values.items():
        template = template.replace(f"\0{name}\0", value.replace("\0", ""))
    return template


def parse_answer(answer: str) -> tuple[str | None, str | None]:
    """What follows the first closing think tag of an answer, or None and why there is nothing.

    Reasons are those of Edit-R2's code: "empty_output", "no_think_end_tag", "empty_after_think".
    """
    if not answer.strip():
        return None, "empty_output"
    _, tag, rest = answer.partition(_END)
    if not tag:
        return None, "no_think_end_tag"
    return (rest.strip(), None) if rest.strip() else (None, "empty_after_think")
