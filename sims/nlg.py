"""From a goal user's act to words: sentences of the studio's speech acts, spoken in a persona."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from editenv.sims.persona import DialogueAct, Persona
from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.language import all_phrasings
from editenv.worlds.studio.realize import realize
from editenv.worlds.studio.references import POINTING, REFERENCES, plain_target
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rules import AttributeRule, Revoke, Rule
from editenv.worlds.studio.scene import UNREADABLE, SceneObject
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.tasks import ColorAlter, Edit, MaterialAlter, SubjectAdd, SubjectReplace, Target

_PLACED = 0.15  # chance that an object is named by its place though its looks would do
_ITS = 0.3  # chance of "its colour" where "it" would do


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to ask for.

    Attributes:
        dialogue: what can be pointed back to, with the rules that will be in force.
        edit: what is wanted; objects are meant by their cells (`Target(cell)`), words for them are found
            here.
        dialogue_act: why, a `persona.DialogueAct`.
        refer: whether the user would point back rather than name things.
        states: the rule to be stated with it.
        drops: rules to be dropped with it.
    """

    dialogue: DialogueState
    edit: Edit
    dialogue_act: DialogueAct
    refer: bool
    states: AttributeRule | None = None
    drops: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """One persona speaking in one turn.

    Attributes:
        persona: whose manner of speaking.
        split: whose sentences.
        rng: of this turn.
    """

    persona: Persona
    split: str
    rng: Rng

    def verbalize(self, act: Act) -> tuple[dict[str, Any], str, str]:
        """The act in words.

        Returns:
            The fields of a StudioTurn; the request's sentence alone, without rules and pleasantries; and the
            frame: all of the text but the sentence, whose place is "{edit}".
        """
        turn = realize(act.dialogue, self._request(act), self.rng, self._sentences)
        frame = self._surrounded(self._with_rules("{edit}", act), act.dialogue_act)
        said = {field.name: getattr(turn, field.name) for field in fields(StudioTurn)}
        said |= {"text": frame.replace("{edit}", turn.text), "changes": tuple(Revoke(rule) for rule in act.drops)}
        return said, turn.text, frame

    def _request(self, act: Act) -> Request:
        """The edit with words for its object, the speech act that says it, and how it points at something."""
        edit: Any = act.edit
        if isinstance(edit, SubjectAdd):
            vague = self._vaguely(edit, act)
            there = act.refer and is_pointed_at(edit, act.dialogue)
            return Request(vague, "subject_add_there", "there") if there else Request(vague, edit.task)
        if not hasattr(edit, "target"):
            return Request(edit, edit.task)
        target, reference = self._object(edit.target.cell, act)
        edit = replace(edit, target=target)
        if isinstance(edit, SubjectReplace):
            return Request(self._vaguely(edit, act), edit.task, reference)
        if isinstance(edit, ColorAlter | MaterialAlter):
            if act.refer and reference is None and is_the_same(edit, act.dialogue):
                return Request(edit, "same", "same")
            if act.dialogue.demanded(edit.attribute):
                return Request(replace(edit, value=None), "alter_open", reference)
            if reference == "it" and self.rng.chance(_ITS):
                return Request(edit, "alter_its", "its")
        return Request(edit, edit.task, reference)

    def _object(self, cell: int, act: Act) -> tuple[Target, str | None]:
        """How the object of a cell is spoken of, and the kind of reference where it is pointed back to."""
        dialogue = act.dialogue
        thing = dialogue.scene.cells[cell]
        if act.refer and is_pointed_at(act.edit, dialogue) and dialogue.focus is not None:
            added = isinstance(dialogue.last, SubjectAdd) and self.rng.chance(0.5)
            return dialogue.focus, "just_added" if added else "it"
        if thing is None or thing is UNREADABLE:
            return Target(cell, placed=True), None
        if act.refer:
            ways = [way for way in POINTING if any(c == cell for c, _ in REFERENCES[way].points(dialogue))]
            if ways:
                way = self.rng.pick(ways)
                return plain_target(dialogue, cell) or Target(cell, thing.shape, placed=True), way
        clear = [option for option in _descriptions(cell, thing) if dialogue.unique(option)]
        if not clear or self.rng.chance(_PLACED):
            return Target(cell, thing.shape, placed=True), None
        return clear[-1] if self.rng.chance(self.persona.fullness) else clear[0], None

    def _vaguely(self, edit: SubjectAdd | SubjectReplace, act: Act) -> SubjectAdd | SubjectReplace:
        """The edit less what a rule in force says already, and less what a vague person forgets to say."""
        vagueness = self.persona.vagueness if act.dialogue_act == "ask" else 0.0
        unsaid: dict[str, Any] = {
            name: None for name in ("color", "material") if act.dialogue.demanded(name) or self.rng.chance(vagueness)
        }
        return replace(edit, **unsaid)

    def _with_rules(self, text: str, act: Act) -> str:
        """The sentence with the rules that are stated or dropped along with it, in this order of the text."""
        grid = act.dialogue.grid
        if act.states:
            pattern = self.rng.pick(self._sentences(act.states.act))
            text = pattern.format(**act.states.slots(grid) | {"edit": text})
        for rule in act.drops:
            text = self.rng.pick(self._sentences("revoke")).format(**rule.slots(grid) | {"edit": text})
        return text

    def _sentences(self, act: str) -> list[str]:
        """The sentences of a speech act that the persona would choose from."""
        polite = self.rng.chance(self.persona.politeness)
        all_of_them = all_phrasings(act, self.split)
        fitting = [s for s in all_of_them if ("please" in s) == polite] or all_of_them
        if self.persona.length == "any":
            return fitting
        lengths = [len(sentence.split()) for sentence in fitting]
        wanted = min(lengths) if self.persona.length == "short" else max(lengths)
        return [s for s, length in zip(fitting, lengths, strict=True) if length == wanted]

    def _surrounded(self, text: str, dialogue_act: DialogueAct) -> str:
        """The sentence with words around it that ask for nothing."""
        before, after = self.persona.before.get(dialogue_act, ()), self.persona.after
        if before and (dialogue_act != "ask" or self.rng.chance(self.persona.chattiness)):
            text = f"{self.rng.pick(before)} {text}"
        if after and self.rng.chance(self.persona.chattiness):
            text = f"{text} {self.rng.pick(after)}"
        return text


def is_pointed_at(edit: Edit, dialogue: DialogueState) -> bool:
    """Could the edit's object, or its place, be pointed back to?"""
    if isinstance(edit, SubjectAdd):
        return edit.cell == dialogue.vacated
    target, focus = getattr(edit, "target", None), dialogue.focus
    return target is not None and focus is not None and target.cell == focus.cell and dialogue.unique(focus)


def is_the_same(edit: Edit, dialogue: DialogueState) -> bool:
    """Is it what was done to another object in the last turn?"""
    last = dialogue.last
    if not isinstance(edit, ColorAlter | MaterialAlter) or not isinstance(last, type(edit)):
        return False
    return edit.value == last.value and edit.target.cell != last.target.cell


def _descriptions(cell: int, thing: SceneObject) -> list[Target]:
    """Ways to describe an object by its looks, the shortest first; a sign's text stands for its material."""
    more: dict[str, Any] = {"material": thing.material} if thing.text is None else {"text": thing.text}
    return [
        Target(cell, thing.shape),
        Target(cell, thing.shape, color=thing.color),
        Target(cell, thing.shape, **more),
        Target(cell, thing.shape, color=thing.color, **more),
    ]
