"""The user who wants a scene (an agenda-based user): asks for what the picture lacks.

From top to bottom: the user; their goal and state, updated from what pictures show; the scene diff, that is what is
left to do; the agenda, which picks the next act; and the words for it, spoken in a persona.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import Any

from editenv.sims.persona import DialogueAct, Persona, load_persona, persona_from_table, persona_names
from editenv.types import SPLITS, Stop, TurnResult, UserMessage
from editenv.worlds.studio.dialogue import POINTING, REFERENCES, DialogueState, Request, descriptions, plain_target
from editenv.worlds.studio.edit import BACKGROUND, Edit
from editenv.worlds.studio.language import realize
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.phrases import all_phrasings
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Revoke, Rule, check_edit, right_result
from editenv.worlds.studio.rules import AttributeRule
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, UNREADABLE, Scene, SceneObject
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.tasks import BackgroundChange, PositionChange, SubjectAdd, SubjectReplace
from editenv.worlds.studio.tasks.attribute_alter import AttributeAlter
from editenv.worlds.studio.tasks.undo import cell_edits
from editenv.worlds.studio.world import scene_is_held_out

MOST_CHANGES = 3  # changes of mind a session; a user who never stops changing theirs would never be done
WORTH_A_RULE = 2  # edits that a rule must make shorter to be stated

_SALT = 20_605  # keeps a user's random draws apart from those that made the session
_LOOKS = ("shape", "color", "material", "text")
_ABSENT = len(_LOOKS) + 1  # distance between an object and no object: more than that between any two objects
_PLACED = 0.15  # chance that an object is named by its place though its looks would do
_ITS = 0.3  # chance of "its colour" where "it" would do


class GoalUser:
    """Wants the scene that a session leads to, and reacts to what the pictures show.

    They ask again when an edit failed, have damage repaired, point back, state rules that spare them words and drop
    those that stand in the way, change their mind if that is their persona, and give up when their patience is out.
    They never see the agent's intent or its scores. The object holds no memory: the user's state is part of the
    meaning of what they said last, and what is drawn at random follows from session and turn.

    Args:
        persona: a name in `personas/`, the path of a YAML file, or a persona's whole table as JSON values.
        patience: in place of the persona's.

    Raises:
        ValueError: there is no such persona, or it is not complete.
    """

    reads_scores = False

    def __init__(self, persona: str | Mapping[str, Any] = "plain", patience: int | None = None) -> None:
        given = load_persona(persona) if isinstance(persona, str) else persona_from_table(persona)
        self.persona: Persona = given.model_copy(update={} if patience is None else {"patience": patience})
        name = given.name
        if not isinstance(persona, str) or persona not in persona_names():
            name += f":{blake2b(repr(given).encode(), digest_size=4).hexdigest()}"
        self.version = f"goal 2 {name}" + (f" patience {patience}" if patience is not None else "")

    def begin(self, spec: StudioSpec) -> UserMessage:
        """The first request; ValueError where the session is of another world."""
        return self.message(self.first_turn(spec), spec, 0)

    def reply(self, outcome: TurnResult) -> UserMessage | Stop:
        """What is still to be done, "done" where nothing is, "gave_up" where patience is out."""
        turn = self.next_turn(outcome)
        return turn if isinstance(turn, Stop) else self.message(turn, outcome.spec, outcome.turn + 1)

    def first_turn(self, spec: StudioSpec) -> GoalTurn:
        """What `begin` says, with its meaning, in the template's words; raises what `begin` raises."""
        if not isinstance(spec, StudioSpec):
            raise ValueError(
                f"session {spec.id} has no scene to wish for, which this user needs: expected one of a suite"
            )
        target, rules = goal_of(spec)
        first = self._decide(spec, 0, UserState(DialogueState(spec.scene, spec.scene.grid), target, rules))
        assert first is not None, "a goal always differs from the start scene"
        return first

    def next_turn(self, outcome: TurnResult) -> GoalTurn | Stop:
        """What `reply` says, with its meaning, in the template's words."""
        said: GoalTurn = outcome.message.meaning
        (shown,) = parse([outcome.after], outcome.spec.scene.grid)
        state = update_state(said, shown)
        if state.frustration > self.persona.patience:
            return Stop("gave_up")
        return self._decide(outcome.spec, outcome.turn + 1, state, said) or Stop("done")

    def message(self, turn: GoalTurn, spec: StudioSpec, number: int) -> UserMessage:
        """A turn in the words of its template; other kinds of user find other words."""
        return UserMessage(turn.text, turn, turn.detail())

    def _decide(
        self, spec: StudioSpec, number: int, state: UserState, last: GoalTurn | None = None
    ) -> GoalTurn | None:
        """What to ask for in a turn, None where the picture shows all that is wanted."""
        rng = Rng((_SALT, SPLITS.index(spec.split), spec.seed, spec.index, number))
        dialogue_act: DialogueAct = "ask"
        went_well = state.failed is None and not state.damaged
        if last and went_well and state.changes < MOST_CHANGES and rng.chance(self.persona.changes):
            changed = change_goal(state, last.edit, rng)
            dialogue_act, state = ("mind" if changed is not state else "ask"), changed
        if state.dialogue.scene == state.target:
            return None
        return next_act(state, self.persona, spec.split, rng, dialogue_act).worded()


# Goal and state.


def goal_of(spec: StudioSpec) -> tuple[Scene, tuple[AttributeRule, ...]]:
    """What a session's script leads to: its last right scene, and the attribute rules it states.

    The rules are those that the user would state, where they spare them words. Where the script ends as it began,
    another background is wanted instead. So every session with a script gives a goal too; suite `persona` leaves room
    for more turns than its scripts have.
    """
    scene = spec.scene
    rules: dict[AttributeRule, None] = {}
    for turn in spec.turns:
        scene = right_result(turn.edit, turn.rules, scene)
        rules |= {rule: None for rule in turn.rules if isinstance(rule, AttributeRule)}
    if scene == spec.scene:
        others = [name for name in BACKGROUNDS if name != scene.background]
        scene = replace(scene, background=others[spec.index % len(others)])
    return scene, tuple(rules)


@dataclass(frozen=True, slots=True)
class UserState:
    """What a user knows and wants when they speak."""

    dialogue: DialogueState  # what the picture shows, the rules in force, and what can be pointed back to
    target: Scene  # what the picture should show in the end
    unstated: tuple[AttributeRule, ...] = ()  # attribute rules they have not stated yet
    frustration: int = 0  # failed or damaging turns, less the good ones, never below 0
    changes: int = 0  # how often they have changed their mind
    failed: Edit | None = None  # the last edit, where the picture does not show it done
    # cells, or BACKGROUND, that were right before the last turn, were not spoken of, and now are wrong
    damaged: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalTurn(StudioTurn):
    """An instruction of a goal user, with their state when they had decided what to say."""

    state: UserState
    sentence: str = ""  # the request alone, and the rules and pleasantries around it, its place marked "{edit}"
    frame: str = "{edit}"
    dialogue_act: DialogueAct = "ask"  # why they said it
    states: bool = False  # whether a rule is stated along with it

    def detail(self) -> dict[str, Any]:
        """What infos and records keep about an instruction: why and how it was said."""
        return {
            "mood": self.dialogue_act,
            "reference": self.reference,
            "states_rule": self.states,
            "drops_rule": bool(self.changes),
        }


def update_state(said: GoalTurn, shown: Scene) -> UserState:
    """The state after a turn, from what the picture shows now and nothing else."""
    state, edit = said.state, said.edit
    before, target = state.dialogue.scene, state.target
    check = check_edit(edit, said.rules, before, shown)
    good = check.followed and not check.broken
    triples = enumerate(zip(before.cells, shown.cells, target.cells, strict=True))
    damaged = {cell for cell, (old, new, wanted) in triples if old == wanted != new}
    if before.background == target.background != shown.background:
        damaged.add(BACKGROUND)
    damaged -= edited_elements(edit)
    # What an agent was free to choose is seen now.
    dialogue = replace(state.dialogue.after(edit), scene=shown, loose=frozenset(), vague=())
    if not good:
        dialogue = replace(dialogue, last=None, focus=None, vacated=None)
    return replace(
        state,
        dialogue=dialogue,
        frustration=state.frustration + 1 if damaged or not good else max(0, state.frustration - 1),
        failed=None if good else edit,
        damaged=frozenset(damaged),
    )


def change_goal(state: UserState, edit: Edit, rng: Rng) -> UserState:
    """The state with another look wanted for the object just edited; the same where nothing can be changed.

    Who wanted nothing that is held out of training goes on without it.
    """
    cell = edit.edited_cell(state.dialogue.scene)
    thing = None if cell is None else state.dialogue.scene.cells[cell]
    if cell is None or thing is None or thing != state.target.cells[cell]:
        return state
    looks = {"color": COLORS} if thing.text is not None else {"color": COLORS, "material": MATERIALS}
    for attribute, values in looks.items():
        if state.dialogue.demanded(attribute) is None:
            others = [thing.with_looks({attribute: value}) for value in values if value != getattr(thing, attribute)]
            targets = [state.target.put(cell, other) for other in others]
            if not scene_is_held_out(state.target):
                targets = [target for target in targets if not scene_is_held_out(target)]
            target = rng.pick(targets)
            return replace(state, target=target, changes=state.changes + 1, damaged=frozenset((cell,)))
    return state


# Scene diff: the edits that lead from what a picture shows to what somebody wants.


def distance(scene: Scene, target: Scene) -> int:
    """How far a scene is from another one: attributes that differ, a missing object counted as _ABSENT."""
    pairs = zip(scene.cells, target.cells, strict=True)
    return int(scene.background != target.background) + sum(_object_distance(a, b) for a, b in pairs)


def _object_distance(old: SceneObject | None, new: SceneObject | None) -> int:
    """Number of attributes in which two objects differ."""
    if old is None or new is None:
        return 0 if old is new else _ABSENT
    return sum(getattr(old, name) != getattr(new, name) for name in _LOOKS)


def scene_diff(shown: Scene, target: Scene) -> list[Edit]:
    """Edits that each bring the scene nearer to the target, in a fixed order; empty where they are equal.

    Objects are meant by their cells (`Target(cell)`); words for them are found later. Every edit can be carried out at
    once, so that they may come in any order.
    """
    edits: list[Edit] = []
    if shown.background != target.background:
        edits.append(BackgroundChange(target.background))
    # Misplaced objects could go to an empty cell that wants an object nearly like them.
    free = {cell: thing for cell, thing in enumerate(target.cells) if thing is not None and shown.cells[cell] is None}
    moves: dict[int, int] = {}
    for cell, thing in enumerate(shown.cells):
        if thing is None or thing is UNREADABLE or target.cells[cell] is not None:
            continue
        alike = [(_object_distance(thing, new), end) for end, new in free.items() if new.shape == thing.shape]
        if alike and min(alike)[0] < 2:
            moves[cell] = min(alike)[1]
            del free[moves[cell]]
    edits += [PositionChange(Target(start), end) for start, end in moves.items()]
    for cell, (old, new) in enumerate(zip(shown.cells, target.cells, strict=True)):
        if old != new and cell not in moves and cell not in moves.values():
            # All that can be said of what nobody can read is where it is.
            shown_as = None if old is UNREADABLE and new is not None else old
            edits += cell_edits(Target(cell), shown_as, new)
    return edits


def conforming(edits: list[Edit], rules: tuple[Rule, ...], shown: Scene, target: Scene) -> list[Edit]:
    """Those of the edits that bring the scene nearer to the target under the rules in force."""
    now = distance(shown, target)
    return [edit for edit in edits if distance(right_result(edit, rules, shown), target) < now]


def edited_elements(edit: Edit) -> frozenset[int]:
    """Cells, or BACKGROUND, that an edit is about, whatever the picture shows there."""
    if isinstance(edit, BackgroundChange):
        return frozenset((BACKGROUND,))
    target, cell = getattr(edit, "target", None), getattr(edit, "cell", None)
    return frozenset(place for place in (cell, target and target.cell) if place is not None)


# Agenda: what failed, what broke, what can be pointed at, then the rest.


def next_act(state: UserState, persona: Persona, split: str, rng: Rng, dialogue_act: DialogueAct = "ask") -> Act:
    """What a user asks for next; the picture must not show the target already.

    Rules that leave nothing to do are dropped from the last one on. Where none has to be, a rule of the goal is stated
    that makes several edits shorter to say.
    """
    rules, scene, target = state.dialogue.rules, state.dialogue.scene, state.target
    edits = scene_diff(scene, target)
    found = ((rules[:n], conforming(edits, rules[:n], scene, target)) for n in range(len(rules), -1, -1))
    kept, possible = next(((kept, possible) for kept, possible in found if possible), (rules, []))
    if not possible:
        raise ValueError("the picture shows the target already, expected something to be left to ask for")
    drops, stated = rules[len(kept) :], None
    for rule in () if drops else state.unstated:
        under = conforming(edits, rule.in_force(rules), scene, target)
        shortened = [
            edit
            for edit in under
            if isinstance(edit, SubjectAdd | SubjectReplace) or getattr(edit, "attribute", None) == rule.attribute
        ]
        if len(shortened) >= WORTH_A_RULE:
            kept, possible, stated = rule.in_force(rules), shortened, rule
            break
    refer = rng.chance(persona.references)
    dialogue_act, wanted = _most_urgent(state, possible, refer, dialogue_act)
    unstated = tuple(rule for rule in state.unstated if rule != stated)
    state = replace(state, dialogue=replace(state.dialogue, rules=kept), unstated=unstated)
    return Act(persona, split, rng, state, rng.pick(wanted), dialogue_act, refer, stated, drops)


def _most_urgent(
    state: UserState, edits: list[Edit], refer: bool, dialogue_act: DialogueAct
) -> tuple[DialogueAct, list[Edit]]:
    """The dialogue act and the edits to speak of."""
    failed = state.failed
    asked = edited_elements(failed) if failed else frozenset()
    about = [edit for edit in edits if edited_elements(edit) & asked]
    again = [edit for edit in about if type(edit) is type(failed)] or about
    if again:
        return "again", again
    urgent = [edit for edit in edits if edited_elements(edit) & state.damaged]
    if urgent:
        return (dialogue_act if dialogue_act == "mind" else "repair"), urgent
    pointed = [edit for edit in edits if refer and is_pointed_at(edit, state.dialogue)]
    same = [edit for edit in edits if refer and is_the_same(edit, state.dialogue)]
    return "ask", pointed or same or edits


def is_pointed_at(edit: Edit, dialogue: DialogueState) -> bool:
    """Could the edit's object, or its place, be pointed back to?"""
    if isinstance(edit, SubjectAdd):
        return edit.cell == dialogue.vacated
    target, focus = getattr(edit, "target", None), dialogue.focus
    return target is not None and focus is not None and target.cell == focus.cell and dialogue.unique(focus)


def is_the_same(edit: Edit, dialogue: DialogueState) -> bool:
    """Is it what was done to another object in the last turn?"""
    last = dialogue.last
    if not isinstance(edit, AttributeAlter) or not isinstance(last, type(edit)):
        return False
    return edit.value == last.value and edit.target.cell != last.target.cell


# Words: sentences of the studio's speech acts, spoken in a persona.


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to ask for."""

    persona: Persona  # whose manner of speaking, and whose sentences
    split: str
    rng: Rng  # of this turn
    state: UserState  # the user's, with the rules that will be in force
    edit: Edit  # what is wanted; objects are meant by their cells (`Target(cell)`), words for them are found here
    dialogue_act: DialogueAct  # why
    refer: bool  # whether the user would point back rather than name things
    states: AttributeRule | None = None  # the rule to be stated with it, and those to be dropped
    drops: tuple[Rule, ...] = ()

    def worded(self) -> GoalTurn:
        """The act in words, with rules stated and dropped, in this order of the text, and pleasantries around it."""
        rng, dialogue, after = self.rng, self.state.dialogue, self.persona.after
        turn = realize(dialogue, self._request(), rng, self._sentences)
        frame = "{edit}"
        for statement in (*([self.states] if self.states else []), *map(Revoke, self.drops)):
            frame = rng.pick(self._sentences(statement.act)).format(**statement.slots(dialogue.grid) | {"edit": frame})
        openings = self.persona.before.get(self.dialogue_act, ())
        if openings and (self.dialogue_act != "ask" or rng.chance(self.persona.chattiness)):
            frame = f"{rng.pick(openings)} {frame}"
        if after and rng.chance(self.persona.chattiness):
            frame = f"{frame} {rng.pick(after)}"
        said = {field.name: getattr(turn, field.name) for field in fields(StudioTurn)}
        said |= {"text": frame.replace("{edit}", turn.text), "changes": tuple(Revoke(rule) for rule in self.drops)}
        return GoalTurn(
            **said,
            state=self.state,
            sentence=turn.text,
            frame=frame,
            dialogue_act=self.dialogue_act,
            states=self.states is not None,
        )

    def _request(self) -> Request:
        """The edit with words for its object, how it points at something, and the speech act that says it."""
        edit: Any = self.edit
        dialogue = self.state.dialogue
        if isinstance(edit, SubjectAdd):
            vague = self._vaguely(edit)
            there = self.refer and is_pointed_at(edit, dialogue)
            return Request(vague, "there", "subject_add_there") if there else Request(vague)
        if not hasattr(edit, "target"):
            return Request(edit)
        target, reference = self._object(edit.target.cell)
        edit = replace(edit, target=target)
        if isinstance(edit, SubjectReplace):
            return Request(self._vaguely(edit), reference)
        if isinstance(edit, AttributeAlter):
            if self.refer and reference is None and is_the_same(edit, dialogue):
                return Request(edit, "same", "same")
            if dialogue.demanded(edit.attribute):
                return Request(replace(edit, value=None), reference, "alter_open")
            if reference == "it" and self.rng.chance(_ITS):
                return Request(edit, "its", "alter_its")
        return Request(edit, reference)

    def _object(self, cell: int) -> tuple[Target, str | None]:
        """How the object of a cell is spoken of, and the kind of reference where it is pointed back to."""
        dialogue = self.state.dialogue
        thing = dialogue.scene.cells[cell]
        if self.refer and is_pointed_at(self.edit, dialogue) and dialogue.focus is not None:
            added = isinstance(dialogue.last, SubjectAdd) and self.rng.chance(0.5)
            return dialogue.focus, "just_added" if added else "it"
        if thing is None or thing is UNREADABLE:
            return Target(cell, placed=True), None
        placed = Target(cell, thing.shape, placed=True)
        if self.refer:
            ways = [way for way in POINTING if any(c == cell for c, _ in REFERENCES[way](dialogue))]
            if ways:
                way = self.rng.pick(ways)
                return plain_target(dialogue, cell) or placed, way
        clear = [option for option in descriptions(cell, thing) if dialogue.unique(option)]
        if not clear or self.rng.chance(_PLACED):
            return placed, None
        return clear[-1] if self.rng.chance(self.persona.fullness) else clear[0], None

    def _vaguely(self, edit: SubjectAdd | SubjectReplace) -> SubjectAdd | SubjectReplace:
        """The edit less what a rule in force says already, and less what a vague person forgets to say."""
        vagueness = self.persona.vagueness if self.dialogue_act == "ask" else 0.0
        unsaid: dict[str, Any] = {
            name: None
            for name in ("color", "material")
            if self.state.dialogue.demanded(name) or self.rng.chance(vagueness)
        }
        return replace(edit, **unsaid)

    def _sentences(self, act: str) -> list[str]:
        """The sentences of a speech act that the persona would choose from."""
        polite = self.rng.chance(self.persona.politeness)
        all_of_them = all_phrasings(act, self.split)
        fitting = [s for s in all_of_them if ("please" in s) == polite] or all_of_them
        if self.persona.length == "any":
            return fitting
        wanted = (min if self.persona.length == "short" else max)(len(sentence.split()) for sentence in fitting)
        return [sentence for sentence in fitting if len(sentence.split()) == wanted]
