"""The studio as a world: sessions by number, drawn as an initial scene and edits that can be done, pictures by size.

Splits are disjoint: an initial scene belongs to one split by the hash of its content. What is held out of training
(`PAIRS`, `RULED`) is left out, or, in the test split of a suite that seeks it, there at least once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from editenv.types import SPLITS, Image
from editenv.worlds.studio.dialogue import DialogueState, Request
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.language import realize
from editenv.worlds.studio.phrases import LARGEST_GRID, all_phrasings, phrasings
from editenv.worlds.studio.render import render
from editenv.worlds.studio.rng import Rng
from editenv.worlds.studio.rule import Except, Rule, Statement, right_result
from editenv.worlds.studio.rules import CHANGES, RULES
from editenv.worlds.studio.scene import Scene, all_objects, codes_hash, initial_codes, scene_from_codes
from editenv.worlds.studio.session import StudioSpec, spec_from_json
from editenv.worlds.studio.suites import Suite, load_suite
from editenv.worlds.studio.tasks import SAMPLERS, Undo

PAIRS = (("circle", "green"), ("square", "orange"), ("triangle", "blue"), ("star", "purple"), ("cross", "yellow"))
"""Shape and colour that no picture or instruction of training holds together."""
RULED = (("color", "orange"), ("material", "dotted"))  # attribute and value that no rule of training names

_SPLIT_OF_HASH = (0, 0, 1, 2)  # half of all initial scenes train, a quarter each validates and tests
_TRIES = 60
_MOST_TRIES = 20_000
_HELD_OUT_CODES = frozenset(obj.code for obj in all_objects() if (obj.shape, obj.color) in PAIRS)


class StudioWorld:
    """Procedural sessions on scenes of a grid.

    Args:
        suite: name of a suite, such as "mixed".
        size: side of a picture in pixels, at least 8 for each cell.
        grid: cells a side, 2 to 5.
    """

    name = "studio"
    version = "2"

    def __init__(self, suite: str = "mixed", size: int = 64, grid: int = 4) -> None:
        if not 2 <= grid <= LARGEST_GRID:
            raise ValueError(f"grid is {grid}, expected 2 to {LARGEST_GRID}")
        if size < 8 * grid:
            raise ValueError(f"size is {size}, expected at least {8 * grid}: 8 pixels for each of {grid} cells")
        self.suite = load_suite(suite)
        if self.suite.objects[0] >= grid * grid:
            least = self.suite.objects[0]
            raise ValueError(f"grid is {grid}, too small for suite {suite!r}: its scenes hold {least} objects or more")
        self.size = size
        self.grid = grid
        self.image_shape = (size, size, 3)
        self.max_turns = self.suite.max_turns

    def session(self, split: str, seed: int, index: int) -> StudioSpec:
        """Session `index` of `seed` in a split; always the same one."""
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
        return draw_session(self.suite, split, seed, index, self.grid)

    def picture(self, spec: StudioSpec) -> Image:
        """The session's source picture, uint8 [size, size, 3]."""
        return render(spec.scene, self.size)

    def spec_from_json(self, data: Mapping[str, Any]) -> StudioSpec:
        """The session that StudioSpec.to_json described; ValueError where it did not."""
        return spec_from_json(data)


def draw_session(suite: Suite, split: str, seed: int, index: int, grid: int) -> StudioSpec:
    """Session `index` of `seed`, always the same one; RuntimeError where the suite leaves nothing to ask for."""
    seeks = suite.held_out == "seek" and split == "test"
    script = _Script(suite, split, Rng((SPLITS.index(split), seed, index)), seeks or suite.held_out == "allow")
    while True:
        spec = script.draw(seed, index, grid)
        if not seeks or uses_held_out(spec):
            return spec


@dataclass(frozen=True, slots=True)
class _Script:
    """Writes the script of one session; `anything` says whether what is held out of training may be used."""

    suite: Suite
    split: str
    rng: Rng
    anything: bool

    def draw(self, seed: int, index: int, grid: int) -> StudioSpec:
        """A whole session."""
        suite, rng = self.suite, self.rng
        wording = partial(all_phrasings if suite.phrasings == "all" else phrasings, split=self.split)
        while True:
            codes = initial_codes(rng, grid, suite.objects, suite.signs)
            if _SPLIT_OF_HASH[codes_hash(codes) % 4] == SPLITS.index(self.split):
                scene = scene_from_codes(codes)
                if self.anything or not scene_is_held_out(scene):
                    break
        due = [
            (rng.pick(entry.turns), entry.family) for entry in suite.rules if entry.turns and rng.chance(entry.share)
        ]
        state, turns = DialogueState(scene, grid, pointing=suite.reference.kinds), []
        for turn in range(suite.turns):
            statements, request = self._turn(state, turn, [family for when, family in due if when == turn])
            turns.append(realize(state, request, rng, wording, statements))
            state = state.stating(*statements).after(request.edit)
        return StudioSpec(suite.name, self.split, seed, index, scene, tuple(turns))

    def _turn(self, state: DialogueState, turn: int, families: list[str]) -> tuple[tuple[Statement, ...], Request]:
        """What is said about rules in a turn, and what is asked for in it."""
        rng, suite = self.rng, self.suite
        if "exception" in families and state.rules:  # an edit that one rule is against, and the exception for it
            rule = rng.pick(state.rules)
            lifted = state.stating(Except(rule))
            excepted = self._request(
                lifted, turn, lambda edit: state.contradicts_rule(edit, rule) and lifted.is_clear(edit), _TRIES
            )
            if excepted is not None:
                return (Except(rule),), excepted
        statements: list[Statement] = []
        for family in families:
            kind = (RULES | CHANGES)[family]
            statement = kind.sample(state.stating(*statements), rng, self.may_state)
            statements += [] if statement is None else [statement]
        stated = state.stating(*statements)
        if suite.undo and not statements and rng.chance(suite.undo):
            undo = Undo.sample(stated, rng, refer=True)
            if undo is not None:
                return (), undo
        forbidding = any(rule.forbids for rule in stated.bound)
        if suite.tempt and forbidding and not statements and rng.chance(suite.tempt):
            tempting = self._request(stated, turn, stated.violates_rule, _TRIES)
            if tempting is not None:
                return (), tempting
        request = self._request(stated, turn, stated.is_clear, _MOST_TRIES)
        if request is None:
            raise RuntimeError(f"suite {suite.name} leaves nothing to ask for in {stated}, expected some task")
        return tuple(statements), request

    def _request(self, state: DialogueState, turn: int, fits: Callable[[Edit], bool], tries: int) -> Request | None:
        """A request that fits; where later turns must refer, one that leaves something to refer to."""
        rng, suite = self.rng, self.suite
        refer = turn > 0 and rng.chance(suite.reference.share)
        always = suite.reference.share == 1
        for _ in range(tries):
            request = SAMPLERS[rng.weighted(suite.tasks)](state, rng, refer)
            if request is None or (refer and always and request.reference is None):
                continue
            if not fits(request.edit):
                continue
            if not self.anything and edit_is_held_out(request.edit, state.bound, state.scene):
                continue
            if always and turn + 1 < suite.turns and not state.after(request.edit).can_refer():
                continue
            return request
        return None

    def may_state(self, rule: Rule) -> bool:
        """May the session state a rule?"""
        return self.anything or not rule_is_held_out(rule)


def scene_is_held_out(scene: Scene) -> bool:
    """Does it show a held-out pair?"""
    return not _HELD_OUT_CODES.isdisjoint(scene.codes()[1:])


def rule_is_held_out(rule: Rule) -> bool:
    """Does it name a held-out value, or a held-out pair as its scope and value?"""
    attribute, shape, value = (getattr(rule, name, None) for name in ("attribute", "shape", "value"))
    return (attribute, value) in RULED or (shape, value) in PAIRS


def edit_is_held_out(edit: Edit, rules: tuple[Rule, ...], scene: Scene) -> bool:
    """Does the edit, as said or as it turns out under the rules, give a held-out pair?"""
    if isinstance(edit, Undo):
        return False
    return scene_is_held_out(edit.apply(scene)) or scene_is_held_out(right_result(edit, rules, scene))


def uses_held_out(spec: StudioSpec) -> bool:
    """Does a session use anything of what is held out?"""
    scene, past = spec.scene, [spec.scene]
    for turn in spec.turns:
        if any(map(rule_is_held_out, turn.rules)) or edit_is_held_out(turn.edit, turn.rules, scene):
            return True
        scene = right_result(turn.edit, turn.rules, scene, past[:-1])
        past.append(scene)
    return scene_is_held_out(spec.scene)
