"""Draws sessions: a start scene, then edits that can be done, on objects that the text alone tells apart."""

from __future__ import annotations

from editenv.types import SPLITS
from editenv.worlds.studio.constraints import AttributeRule
from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.language import PHRASINGS, canonical_intent
from editenv.worlds.studio.proposals import PROPOSALS, Proposal, Situation
from editenv.worlds.studio.scene import (
    BACKGROUNDS,
    COLORS,
    MATERIALS,
    SHAPES,
    SIGN,
    TEXTS,
    Scene,
    Thing,
    scene_hash,
)
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.suites import Suite

_SPLIT_OF_HASH = (0, 0, 1, 2)  # half of all start scenes train, a quarter each validates and tests


def draw_session(suite: Suite, split: str, seed: int, index: int, grid: int) -> StudioSpec:
    """Session `index` of `seed`, the same on every machine and in every order of asking.

    Splits are disjoint: a start scene belongs to one split by the hash of its content.
    """
    number = SPLITS.index(split)
    draws = Draws((number, seed, index))
    scene = start_scene(draws, grid, suite.objects, suite.signs)
    while _SPLIT_OF_HASH[scene_hash(scene) % 4] != number:
        scene = start_scene(draws, grid, suite.objects, suite.signs)
    rule_turn = draws.pick(suite.rule_turns) if suite.rule_turns and draws.chance(suite.rule_share) else None
    situation = Situation(scene, grid)
    turns = []
    for turn in range(suite.turns):
        if turn == rule_turn:
            situation = situation.stating(_draw_rule(draws))
        proposal = _propose(situation, draws, suite, turn)
        turns.append(_phrased(proposal, situation, draws, suite, split, stated=turn == rule_turn))
        situation = situation.after(proposal.edit)
    return StudioSpec(suite.name, split, seed, index, scene, tuple(turns))


def start_scene(
    draws: Draws, grid: int, objects: tuple[int, int], signs: tuple[int, int] = (0, 0)
) -> Scene:
    """A scene of some objects, no two alike in shape and colour; one cell at least stays empty.

    Args:
        draws: choices.
        grid: cells a side.
        objects: smallest and largest number of objects.
        signs: smallest and largest number of them that are signs, no two with one text.
    """
    free = list(range(grid * grid))
    most = min(objects[1], len(free) - 1)
    cells: list[Thing | None] = [None] * len(free)
    seen = set()
    count = objects[0] + draws.below(most - objects[0] + 1)
    texts = list(TEXTS)
    for _ in range(min(count, _between(draws, *signs))):
        sign = Thing(SIGN, draws.pick(COLORS), text=texts.pop(draws.below(len(texts))))
        cells[free.pop(draws.below(len(free)))] = sign
        count -= 1
    for _ in range(count):
        thing = Thing(draws.pick(SHAPES), draws.pick(COLORS), draws.pick(MATERIALS))
        while (thing.shape, thing.color) in seen:
            thing = Thing(draws.pick(SHAPES), draws.pick(COLORS), thing.material)
        seen.add((thing.shape, thing.color))
        cells[free.pop(draws.below(len(free)))] = thing
    return Scene(tuple(cells), draws.pick(BACKGROUNDS))


def _between(draws: Draws, least: int, most: int) -> int:
    return least if least == most else least + draws.below(most - least + 1)


def _draw_rule(draws: Draws) -> AttributeRule:
    attribute = "color" if draws.chance(0.6) else "material"
    return AttributeRule(attribute, draws.pick(COLORS if attribute == "color" else MATERIALS))


def _propose(situation: Situation, draws: Draws, suite: Suite, turn: int) -> Proposal:
    """A task that can be done here; where later turns must refer, one that leaves something to refer to."""
    refer = turn > 0 and draws.chance(suite.reference_share)
    lasting = suite.reference_share == 1 and turn + 1 < suite.turns
    while True:
        task = draws.weighted(suite.tasks)
        proposal = PROPOSALS[task](situation, draws, refer)
        if proposal is None or (refer and proposal.reference is None and suite.reference_share == 1):
            continue
        if lasting and not situation.after(proposal.edit).can_refer():
            continue
        return proposal


def _phrased(
    proposal: Proposal, situation: Situation, draws: Draws, suite: Suite, split: str, stated: bool
) -> StudioTurn:
    """The proposal in words, with the rule in front of or behind it in the turn that states it."""
    edit, grid, phrasings = proposal.edit, situation.grid, PHRASINGS[suite.phrasings]
    slots = edit.slots(edit.asked(), grid)
    if proposal.reference in ("it", "just_added"):
        slots["old"] = draws.pick(phrasings(proposal.reference, split))
    text = draws.pick(phrasings(proposal.act, split)).format(**slots)
    if stated:
        rule = situation.rules[-1]
        text = draws.pick(phrasings("rule_attribute", split)).format(value=rule.value, edit=text)
    intent = canonical_intent(edit, situation.rules, grid)
    return StudioTurn(text, intent, edit, situation.rules, proposal.reference)
