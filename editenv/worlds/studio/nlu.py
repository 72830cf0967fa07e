"""What instructions and intents mean: the one inverse of the sentence templates in phrases.yaml.

    text -> match templates -> SpeechAct (act, words in its slots) -> where the session stands -> Edit, Statement

Three readers share it: `apply_intent` carries out canonical intents (an exact image editor), `meanings` reads what
users say (the observation oracle), and `read_rule` reads rules that intents list. What the slots of an act mean say
`Edit.read` and `Statement.read`. A slot other than {edit} holds at most LONGEST_PHRASE words and a turn at most
MOST_STATEMENTS statements about rules, so reading takes time linear in the text's length.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from editenv.worlds.studio.dialogue import NAMING, Context, DialogueState
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.noun_phrases import INTENT_SLOTS, RELATIONS, read_looks
from editenv.worlds.studio.phrases import (
    LEAVE_ALONE,
    MARKS,
    THEN,
    all_phrasings,
    intent_patterns,
    plain_words,
    speech_acts,
    template_regex,
    tokens,
)
from editenv.worlds.studio.rule import Except, Rule, Statement
from editenv.worlds.studio.rules import statement_of_act
from editenv.worlds.studio.scene import BACKGROUNDS, Scene
from editenv.worlds.studio.tasks import edits_of_act

LONGEST_PHRASE = 40
MOST_STATEMENTS = 4
_MOST_MARKS = 6  # marks inside of one sentence, such as the comma of "in row 1 column 2 , add a star"

_PHRASE = rf"[a-z\d]+(?: [a-z\d,]+){{0,{LONGEST_PHRASE - 1}}}?"
_SAID_SLOTS: dict[str, str] = defaultdict(lambda: _PHRASE) | {
    "place": INTENT_SLOTS["place"],
    "relation": f"(?:{'|'.join(RELATIONS.values())}) {_PHRASE}",
    "new": f"an? {_PHRASE}",
    "attribute": INTENT_SLOTS["attribute"],
    "value": "[a-z]+",
}
"""Slots of what users say: a phrase may also point back, in any words."""


@dataclass(frozen=True, slots=True)
class SpeechAct:
    """One sentence taken apart: the name of an act in phrases.yaml, and the words in each of its slots."""

    act: str
    slots: Mapping[str, str]


def edits_of(act: SpeechAct, context: Context) -> list[Edit]:
    """All edits that an act may mean and that can be done: none where it makes no sense, several where ambiguous."""
    found = [edit for kind in edits_of_act(act.act) for edit in kind.read(act.slots, context)]
    last = context.state.last
    if act.act == "same" and hasattr(last, "target"):
        targets = context.objects(act.slots["old"])
        found = [replace(last, target=target) for target in targets]  # type: ignore[type-var,misc]
    possible = []
    for edit in found:
        try:
            edit.apply(context.state.scene)
        except ValueError:
            continue
        possible.append(edit)
    return possible


# What users say.

Meaning = tuple[tuple[Statement, ...], Edit]  # what a turn says about rules, and what is to be done


def meanings(text: str, state: DialogueState) -> list[Meaning]:
    """All that an instruction may mean where the session stands, without doubles; one where it is clear."""
    for run in readings(text):
        found: dict[Meaning, None] = {}
        for *spoken, asked in run:
            stated: list[tuple[Statement, ...]] = [()]
            for act in spoken:
                kind = statement_of_act(act.act)
                stated = [
                    (*before, statement)
                    for before in stated
                    for statement in (kind.read(act.slots, Context(state.stating(*before))) if kind else ())
                ]
            for statements in stated:
                for edit in edits_of(asked, Context(state.stating(*statements))):
                    if _excepts_rightly(statements, edit, state):
                        found[statements, edit] = None
        # What is said about rules may not be passed over as if it asked for nothing.
        if found or any(len(acts) > 1 for acts in run):
            return list(found)
    return []


def _excepts_rightly(statements: tuple[Statement, ...], edit: Edit, state: DialogueState) -> bool:
    """Is every exception made for a rule that the edit is against, and enough to let it pass?"""
    rules = [statement.rule for statement in statements if isinstance(statement, Except)]
    against = all(state.contradicts_rule(edit, rule) for rule in rules)
    return not rules or (against and not state.stating(*statements).impossible(edit))


def readings(text: str) -> Iterator[list[tuple[SpeechAct, ...]]]:
    """Ways to read a text as speech acts: what is said about rules in order, then what is asked.

    Words that ask for nothing may stand around the sentence, set off by marks, so all readings of every run of clauses
    that can be read are given, those of the longest run first.
    """
    asked, before, behind = _sentences_in([word for word in tokens(text) if word != '"'])
    runs: dict[tuple[int, int], list[tuple[SpeechAct, ...]]] = defaultdict(list)
    for start, end, act in asked:
        for first, said in _chains(before, start):
            for last, added in _chains(behind, end):
                if len(said) + len(added) <= MOST_STATEMENTS:
                    runs[first, last].append((*reversed(said), *added, act))
    for run in sorted(runs, key=lambda run: (run[0] - run[1], run[0])):
        yield runs[run]


_Steps = dict[int, list[tuple[int, SpeechAct]]]
"""By a place in the text: where a statement about rules that begins or ends there leads to, and its act."""


def _sentences_in(words: list[str]) -> tuple[list[tuple[int, int, SpeechAct]], _Steps, _Steps]:
    """Acts that ask for an edit (start, end, act); statements before edits by end, behind them by start."""
    templates = _templates(len(speech_acts()))

    def match(side: str, start: int, end: int) -> list[SpeechAct]:
        said = " ".join(words[start:end])
        known = (*templates.get((side, ""), ()), *templates.get((side, said.partition(" ")[0]), ()))
        found = ((act, pattern.fullmatch(said)) for act, pattern in known)
        return [SpeechAct(act, match.groupdict()) for act, match in found if match]

    marks = [place for place, word in enumerate(words) if word in MARKS]
    starts, ends = [0, *(place + 1 for place in marks)], [*marks, len(words)]
    asked: list[tuple[int, int, SpeechAct]] = []
    before: _Steps = defaultdict(list)
    behind: _Steps = defaultdict(list)
    for first, start in enumerate(starts):
        near = slice(first + 1, first + _MOST_MARKS + 2)
        for end in (ends[first], *ends[near]):
            asked += [(start, end, act) for act in match("asks", start, end)]
        for end in starts[near]:
            before[end] += [(start, act) for act in match("before", start, end)]
        for end in ends[near]:
            behind[ends[first]] += [(end, act) for act in match("behind", ends[first], end)]
    return asked, before, behind


def _chains(steps: _Steps, place: int, most: int = MOST_STATEMENTS) -> Iterator[tuple[int, tuple[SpeechAct, ...]]]:
    """Statements that follow each other without a gap from a place on, with the place that they reach."""
    yield place, ()
    for reached, act in steps.get(place, ()) if most else ():
        yield from ((last, (act, *more)) for last, more in _chains(steps, reached, most - 1))


@lru_cache(maxsize=1)
def _templates(acts: int) -> dict[tuple[str, str], list[tuple[str, re.Pattern[str]]]]:
    """Sentences of all splits by place ("asks", "before" {edit} or "behind" it) and first word, "" for a slot.

    `acts` is how many speech acts there are; those that only name an object are left out.
    """
    found: dict[tuple[str, str], list[tuple[str, re.Pattern[str]]]] = defaultdict(list)
    for act in (act for act in speech_acts() if act not in NAMING):
        for pattern in dict.fromkeys((*all_phrasings(act, "train"), *all_phrasings(act, "test"))):
            side = "behind" if pattern.startswith("{edit}") else "before" if "{edit}" in pattern else "asks"
            said = pattern.replace("{edit}", "").strip()
            first = "" if said.startswith("{") else tokens(said)[0]
            found[side, first].append((act, template_regex(said, _SAID_SLOTS)))
    return dict(found)


# Canonical intents.


def apply_intent(text: str, scene: Scene, grid: int) -> Scene | None:
    """The scene that a canonical intent asks for, such as "move the red star to row 2 column 3 and make it striped".

    Case, punctuation and spaces do not matter. What stands in a named cell gives way to an object that is added or
    moved there. None, and never an error, where the text is no such sentence, names a cell outside of the grid, speaks
    of an object that is not there or of which there are several, lacks room, or asks for what cannot be drawn, such as
    a striped sign.
    """
    said = plain_words(text)
    return scene if said == LEAVE_ALONE else apply_acts([intent_act(part) for part in said.split(THEN)], scene, grid)


def apply_acts(acts: Sequence[SpeechAct | None], scene: Scene, grid: int) -> Scene | None:
    """The scene with what all acts ask for, each read on the scene as it was; None as in `apply_intent`."""
    result = scene
    for act in acts:
        edit, looks = parse_act(act, scene, grid)
        if edit is None:
            return None
        cell, edited = edit.edited_cell(scene) if looks else None, edit.apply(scene)
        thing = None if cell is None else edited.cells[cell]
        if cell is not None and thing is not None:
            edited = edited.put(cell, thing.with_looks(looks))
        if not edited.known():
            return None
        for cell, thing in enumerate(edited.cells):
            if thing != scene.cells[cell]:
                result = result.put(cell, thing)
        if edited.background != scene.background:
            result = replace(result, background=edited.background)
    return result


def intent_act(said: str) -> SpeechAct | None:
    """The act of a canonical sentence (plain words) about an edit or a rule; None where it is no such sentence."""
    for act, pattern in _intent_templates(len(speech_acts())):
        if match := pattern.fullmatch(said):
            return SpeechAct(act, match.groupdict())
    return None


def parse_act(act: SpeechAct | None, scene: Scene, grid: int) -> tuple[Edit | None, dict[str, str]]:
    """What a canonical act means on a scene, None where it cannot be carried out or is ambiguous.

    Rules that are worked into its sentence give the edited object further looks.
    """
    if act is None:
        return None, {}
    name, slots, looks = act.act, dict(act.slots), read_looks(act.slots.get("looks", ""))
    if name in ("color_alter", "material_alter") and looks:
        attribute = next(iter(looks))
        name, slots["value"] = f"{attribute}_alter", looks.pop(attribute)
    found = edits_of(SpeechAct(name, slots), Context(DialogueState(scene, grid), literal=True))
    return (found[0] if len(found) == 1 else None), looks


def read_rule(said: str, grid: int) -> Rule | None:
    """The rule that a canonical sentence (plain words) states; None where it is no such sentence."""
    act = intent_act(said)
    kind = act and statement_of_act(act.act)
    if act is None or kind is None:
        return None
    context = Context(DialogueState(Scene((None,) * grid**2, BACKGROUNDS[0]), grid), literal=True)
    return next((rule for rule in kind.read(act.slots, context) if isinstance(rule, Rule)), None)


@lru_cache(maxsize=1)
def _intent_templates(acts: int) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (act, template_regex(pattern, INTENT_SLOTS)) for act in speech_acts() for pattern in intent_patterns(act)
    )
