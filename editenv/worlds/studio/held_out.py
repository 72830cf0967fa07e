"""What training never shows: pairs of shape and colour, and values that no rule names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from editenv.worlds.studio.constraints import Rule, right_result
from editenv.worlds.studio.edits import Edit
from editenv.worlds.studio.edits.undo import Undo
from editenv.worlds.studio.scene import Scene, all_objects
from editenv.worlds.studio.session import StudioSpec

PAIRS = (
    ("circle", "green"),
    ("square", "orange"),
    ("triangle", "blue"),
    ("star", "purple"),
    ("cross", "yellow"),
)
"""Shape and colour that no picture or instruction of training holds together."""

RULED = (("color", "orange"), ("material", "dotted"))
"""Attribute and value that no rule of training names."""


@lru_cache(maxsize=1)
def _codes() -> frozenset[int]:
    return frozenset(thing.code for thing in all_objects() if (thing.shape, thing.color) in PAIRS)


def scene_is_held_out(scene: Scene) -> bool:
    """Does it show a held-out pair?"""
    return not _codes().isdisjoint(scene.codes()[1:])


def rule_is_held_out(rule: Rule) -> bool:
    """Does it name a held-out value, or a held-out pair as its scope and value?"""
    value = getattr(rule, "value", None)
    return (getattr(rule, "attribute", None), value) in RULED or (
        getattr(rule, "shape", None),
        value,
    ) in PAIRS


def edit_is_held_out(edit: Edit, rules: tuple[Rule, ...], scene: Scene) -> bool:
    """Does the edit, as said or as it turns out under the rules, give a held-out pair?"""
    if isinstance(edit, Undo):
        return False
    return scene_is_held_out(edit.apply(scene)) or scene_is_held_out(right_result(edit, rules, scene))


def held_out_in(spec: StudioSpec) -> Iterator[str]:
    """What a session uses of all that is held out, turn by turn."""
    scene, past = spec.scene, [spec.scene]
    if scene_is_held_out(scene):
        yield "a pair in the start scene"
    for number, turn in enumerate(spec.turns):
        if any(rule_is_held_out(rule) for rule in turn.rules):
            yield f"a rule's value in turn {number}"
        if not scene_is_held_out(scene) and edit_is_held_out(turn.edit, turn.rules, scene):
            yield f"a pair in turn {number}"
        scene = right_result(turn.edit, turn.rules, scene, past[:-1])
        past.append(scene)
