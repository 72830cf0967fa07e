"""A goal user's choice in words: sentences of the studio's speech acts, spoken in a persona."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from editenv.sims.choice import Choice, is_pointed_at, is_the_same
from editenv.sims.mind import GoalTurn
from editenv.sims.persona import Persona
from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.language import all_phrasings
from editenv.worlds.studio.realize import realize
from editenv.worlds.studio.references import POINTING, REFERENCES, plain_target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rules import Revoke
from editenv.worlds.studio.scene import UNREADABLE, SceneObject
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import ColorAlter, MaterialAlter, SubjectAdd, SubjectReplace, Target

_PLACED = 0.15
_ITS = 0.3


@dataclass(frozen=True, slots=True)
class Voice:
    """One persona speaking in one turn.

    Attributes:
        persona: whose manner of speaking.
        split: whose sentences.
        draws: of this turn.
    """

    persona: Persona
    split: str
    draws: Rng

    def realize(self, choice: Choice) -> GoalTurn:
        """The choice as an instruction and its meaning."""
        situation = choice.mind.situation
        turn = realize(situation, self._proposal(choice), self.draws, self._sentences)
        frame = self._surrounded(self._with_rules("{edit}", choice), choice.mood)
        said = {field.name: getattr(turn, field.name) for field in fields(StudioTurn)}
        said |= {
            "text": frame.replace("{edit}", turn.text),
            "changes": tuple(Revoke(rule) for rule in choice.drops),
        }
        return GoalTurn(
            **said,
            mind=choice.mind,
            sentence=turn.text,
            frame=frame,
            mood=choice.mood,
            states=choice.states is not None,
            drops=bool(choice.drops),
        )

    def _proposal(self, choice: Choice) -> Request:
        """The edit with words for its object, the speech act that says it, and how it points at something."""
        situation, edit = choice.mind.situation, choice.edit
        if isinstance(edit, SubjectAdd):
            vague = self._vaguely(edit, choice)
            there = choice.refer and is_pointed_at(edit, situation)
            return Request(vague, "subject_add_there", "there") if there else Request(vague, edit.task)
        if not hasattr(edit, "target"):
            return Request(edit, edit.task)
        target, reference = self._object(edit.target.cell, choice)
        edit = replace(edit, target=target)  # type: ignore[type-var]
        if isinstance(edit, SubjectReplace):
            return Request(self._vaguely(edit, choice), edit.task, reference)
        if isinstance(edit, ColorAlter | MaterialAlter):
            if choice.refer and reference is None and is_the_same(edit, situation):
                return Request(edit, "same", "same")
            if situation.ruled(edit.attribute):
                return Request(replace(edit, value=None), "alter_open", reference)
            if reference == "it" and self.draws.chance(_ITS):
                return Request(edit, "alter_its", "its")
        return Request(edit, edit.task, reference)

    def _object(self, cell: int, choice: Choice) -> tuple[Target, str | None]:
        """How the object of a cell is spoken of."""
        situation, thing = choice.mind.situation, choice.mind.situation.scene.cells[cell]
        if choice.refer and is_pointed_at(choice.edit, situation) and situation.focus is not None:
            added = isinstance(situation.last, SubjectAdd) and self.draws.chance(0.5)
            return situation.focus, "just_added" if added else "it"
        if thing is None or thing is UNREADABLE:
            return Target(cell, placed=True), None
        way = self._pointing(cell, situation) if choice.refer else None
        if way is not None:
            return plain_target(situation, cell) or Target(cell, thing.shape, placed=True), way
        clear = [option for option in _options(cell, thing) if situation.unique(option)]
        if not clear or self.draws.chance(_PLACED):
            return Target(cell, thing.shape, placed=True), None
        return clear[-1] if self.draws.chance(self.persona.fullness) else clear[0], None

    def _pointing(self, cell: int, situation: DialogueState) -> str | None:
        """A way to point at the object of a cell, of those that the picture or the transcript offers."""
        ways = [way for way in POINTING if any(c == cell for c, _ in REFERENCES[way].points(situation))]
        return self.draws.pick(ways) if ways else None

    def _vaguely(self, edit: SubjectAdd | SubjectReplace, choice: Choice) -> SubjectAdd | SubjectReplace:
        """The edit less what a rule in force says already, and less what a vague person forgets to say."""
        vagueness = self.persona.vagueness if choice.mood == "ask" else 0.0
        unsaid: dict[str, Any] = {
            name: None
            for name in ("color", "material")
            if choice.mind.situation.ruled(name) or self.draws.chance(vagueness)
        }
        return replace(edit, **unsaid)

    def _with_rules(self, text: str, choice: Choice) -> str:
        """The sentence with the rules that are stated or dropped along with it, in this order of the text."""
        grid = choice.mind.situation.grid
        if choice.states:
            pattern = self.draws.pick(self._sentences(choice.states.act))
            text = pattern.format(**choice.states.slots(grid) | {"edit": text})
        for rule in choice.drops:
            text = self.draws.pick(self._sentences("revoke")).format(**rule.slots(grid) | {"edit": text})
        return text

    def _sentences(self, act: str) -> list[str]:
        """The sentences of a speech act that the persona would choose from."""
        polite = self.draws.chance(self.persona.politeness)
        all_of_them = all_phrasings(act, self.split)
        fitting = [s for s in all_of_them if ("please" in s) == polite] or all_of_them
        if self.persona.length == "any":
            return fitting
        lengths = [len(sentence.split()) for sentence in fitting]
        wanted = min(lengths) if self.persona.length == "short" else max(lengths)
        return [s for s, length in zip(fitting, lengths, strict=True) if length == wanted]

    def _surrounded(self, text: str, mood: str) -> str:
        """The sentence with words around it that ask for nothing."""
        before, after = self.persona.before.get(mood, ()), self.persona.after
        if before and (mood != "ask" or self.draws.chance(self.persona.chattiness)):
            text = f"{self.draws.pick(before)} {text}"
        if after and self.draws.chance(self.persona.chattiness):
            text = f"{text} {self.draws.pick(after)}"
        return text


def _options(cell: int, thing: SceneObject) -> list[Target]:
    """Ways to describe an object by its looks, the shortest first."""
    if thing.text is not None:
        return [
            Target(cell, thing.shape),
            Target(cell, thing.shape, color=thing.color),
            Target(cell, thing.shape, text=thing.text),
            Target(cell, thing.shape, color=thing.color, text=thing.text),
        ]
    return [
        Target(cell, thing.shape),
        Target(cell, thing.shape, color=thing.color),
        Target(cell, thing.shape, material=thing.material),
        Target(cell, thing.shape, color=thing.color, material=thing.material),
    ]
