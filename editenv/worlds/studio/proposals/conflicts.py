"""Edits and the rules in force: what can be asked for plainly, what tempts, what an exception is for."""

from __future__ import annotations

from editenv.worlds.studio.constraints import KeepEmpty, LimitCount, Protect, Rule, ScopedRule
from editenv.worlds.studio.edits import (
    ColorAlter,
    CountChange,
    Each,
    Edit,
    MaterialAlter,
    PositionChange,
    SubjectReplace,
    TextChange,
    Undo,
)
from editenv.worlds.studio.proposals.aftermath import left_open
from editenv.worlds.studio.proposals.situation import DialogueState


def is_clear(edit: Edit, situation: DialogueState) -> bool:
    """Can the edit be done, and is it plain which rules cover it, whatever the agent chose so far?"""
    rules = situation.bound
    if not rules:
        return True
    return not (situation.impossible(edit) or any(_unclear(edit, rule, situation) for rule in rules))


def is_temptation(edit: Edit, situation: DialogueState) -> bool:
    """Is the edit impossible under the rules in force, and beyond doubt?"""
    if isinstance(edit, Each | Undo | CountChange) or left_open(edit, situation.scene):
        return False
    return situation.impossible(edit)


def is_contrary(edit: Edit, rule: Rule, situation: DialogueState) -> bool:
    """Would the edit need an exception to one rule in force?

    An exception may change a protected object but neither move nor remove it, so that the rule still has
    something to speak of.
    """
    if isinstance(edit, Each | Undo | CountChange) or left_open(edit, situation.scene):
        return False
    if isinstance(rule, Protect) and not isinstance(edit, ColorAlter | MaterialAlter | TextChange):
        return False
    if rule.forbids:
        return situation.impossible(edit)
    demanded = rule.looks(edit)
    asked = edit.asked()
    return any(asked[name] not in (None, value) for name, value in demanded.items())


def _unclear(edit: Edit, rule: Rule, situation: DialogueState) -> bool:
    """Could one take the rule to cover the edit, or not?"""
    places = left_open(edit, situation.scene)
    if isinstance(rule, ScopedRule):
        if isinstance(edit, CountChange):
            return edit.shape == rule.shape
        return isinstance(edit, SubjectReplace) and edit.shape == rule.shape
    if isinstance(rule, Protect):
        return isinstance(edit, CountChange) and rule.target.cell in edit.touched(situation.scene)
    if isinstance(rule, KeepEmpty):
        return bool(places)
    if isinstance(rule, LimitCount):
        return bool(situation.vague) and isinstance(edit, CountChange)
    # What is left to the agent may come out allowed or forbidden.
    return rule.forbids and (isinstance(edit, CountChange) or _moves_on(edit, rule, situation))


def _moves_on(edit: Edit, rule: Rule, situation: DialogueState) -> bool:
    """Does a move bring another rule's look along, which a rule about looks forbids?"""
    return isinstance(edit, PositionChange) and rule.breaks(
        edit, situation.scene, edit.apply(situation.scene)
    )
