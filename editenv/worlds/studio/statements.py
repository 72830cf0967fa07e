"""What a user could sensibly say about rules, one function a family.

To let sessions state a new family, write a function (situation, draws, allowed) -> Statement or None and name
it in STATEMENTS; None says that nothing of the family can be said here.
"""

from __future__ import annotations

from collections.abc import Callable

from editenv.worlds.studio.constraints import (
    AttributeRule,
    AvoidLook,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    Replace,
    Revoke,
    Rule,
    ScopedRule,
    Statement,
)
from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.noun_phrases import NUMBERS, REGIONS, region
from editenv.worlds.studio.proposals.references import plain_target
from editenv.worlds.studio.proposals.situation import DialogueState
from editenv.worlds.studio.scene import COLORS, MATERIALS, SHAPES

Allowed = Callable[[Rule], bool]
_COLOR = 0.6


def _draw_look(draws: Draws) -> tuple[str, str]:
    attribute = "color" if draws.chance(_COLOR) else "material"
    return attribute, draws.pick(COLORS if attribute == "color" else MATERIALS)


def draw_attribute(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """A value for everything; none where all must differ, and none that is the rule already."""
    if any(isinstance(rule, LimitAlike) for rule in situation.rules):
        return None
    rule = AttributeRule(*_draw_look(draws))
    while not allowed(rule) or rule in situation.rules:
        rule = AttributeRule(*_draw_look(draws))
    return rule


def draw_scoped(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """A value for new objects of a shape."""
    if any(isinstance(rule, LimitAlike) for rule in situation.rules):
        return None
    rule = ScopedRule(draws.pick(SHAPES), *_draw_look(draws))
    while not allowed(rule) or rule in situation.rules:
        rule = ScopedRule(draws.pick(SHAPES), *_draw_look(draws))
    return rule


def draw_protect(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """An object that is not protected yet, as long as another one is left to speak of."""
    taken = {rule.target.cell for rule in situation.rules if isinstance(rule, Protect)}
    cells = [cell for cell in situation.scene.occupied() if cell not in taken]
    target = plain_target(situation, draws.pick(cells)) if len(cells) > 1 else None
    return None if target is None else Protect(target)


def draw_avoid(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """A look that is not wanted any more; another one stays possible."""
    rule = AvoidLook(*_draw_look(draws))
    while not allowed(rule) or rule in situation.rules:
        rule = AvoidLook(*_draw_look(draws))
    taken = [r for r in situation.rules if isinstance(r, AvoidLook) and r.attribute == rule.attribute]
    return rule if len(taken) < 2 else None


def draw_keep_empty(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """A part of the grid that is empty, where there is room elsewhere."""
    room = frozenset(situation.room())
    parts = [name for name in REGIONS if region(name, situation.grid) < room]
    return KeepEmpty(draws.pick(parts)) if parts else None


def draw_limit(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """As many objects as there are, or one more."""
    most = len(situation.scene.occupied()) + draws.below(2)
    return LimitCount(most) if 2 <= most < len(NUMBERS) and not situation.loose else None


def draw_limit_alike(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """An attribute in which all objects differ now, and of which no other rule speaks."""
    if situation.vague or any(hasattr(rule, "attribute") for rule in situation.rules):
        return None
    names = [name for name in ("color", "shape") if not LimitAlike(name).doubles(situation.scene)]
    return LimitAlike(draws.pick(names)) if names else None


def draw_revoke(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """The end of a rule in force."""
    return Revoke(draws.pick(situation.rules)) if situation.rules else None


def draw_replace(situation: DialogueState, draws: Draws, allowed: Allowed) -> Statement | None:
    """Another value in the place of the one that everything must have."""
    rules = [rule for rule in situation.rules if isinstance(rule, AttributeRule)]
    if not rules:
        return None
    old = draws.pick(rules)
    values = COLORS if old.attribute == "color" else MATERIALS
    choices = [AttributeRule(old.attribute, value) for value in values if value != old.value]
    choices = [rule for rule in choices if allowed(rule)]
    return Replace(old, draws.pick(choices)) if choices else None


STATEMENTS: dict[str, Callable[[DialogueState, Draws, Allowed], Statement | None]] = {
    "attribute": draw_attribute,
    "scoped": draw_scoped,
    "protect": draw_protect,
    "avoid": draw_avoid,
    "keep_empty": draw_keep_empty,
    "limit": draw_limit,
    "limit_alike": draw_limit_alike,
    "revoke": draw_revoke,
    "replace": draw_replace,
}
"""By family; "exception" is drawn along with the edit that it is for."""
