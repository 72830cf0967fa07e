"""What a user wants, apart from how they speak: the scene the picture should show, and rules they like."""

from __future__ import annotations

from dataclasses import dataclass, replace

from editenv.worlds.studio.rules import AttributeRule, right_result
from editenv.worlds.studio.scene import BACKGROUNDS, Scene
from editenv.worlds.studio.session import StudioSpec


@dataclass(frozen=True, slots=True)
class Wish:
    """A situation: what somebody wants of a session.

    Attributes:
        target: what the picture should show in the end.
        rules: rules that the user would state, where they spare them words.
    """

    target: Scene
    rules: tuple[AttributeRule, ...] = ()


def wish_of(spec: StudioSpec) -> Wish:
    """The wish that a session's script leads to: its last right scene, and the attribute rules it states.

    Where it ends as it began, another background is wanted instead. So every session with a script is a
    situation too; suite `persona` leaves room for more turns than its scripts have.
    """
    scene = spec.scene
    rules: dict[AttributeRule, None] = {}
    for turn in spec.turns:
        scene = right_result(turn.edit, turn.rules, scene)
        rules |= {rule: None for rule in turn.rules if isinstance(rule, AttributeRule)}
    if scene == spec.scene:
        others = [name for name in BACKGROUNDS if name != scene.background]
        scene = replace(scene, background=others[spec.index % len(others)])
    return Wish(scene, tuple(rules))
