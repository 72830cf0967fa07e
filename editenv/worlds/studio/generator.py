"""Draws sessions: a start scene, then edits that can be done, on objects that the words alone tell apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from editenv.types import SPLITS
from editenv.worlds.studio.constraints import Except, Rule, Statement
from editenv.worlds.studio.draws import Draws
from editenv.worlds.studio.held_out import (
    PAIRS,
    RULED,
    edit_is_held_out,
    held_out_in,
    rule_is_held_out,
    scene_is_held_out,
)
from editenv.worlds.studio.language import PHRASINGS
from editenv.worlds.studio.proposals import PROPOSALS, DialogueState, Proposal
from editenv.worlds.studio.proposals.conflicts import is_clear, is_contrary, is_temptation
from editenv.worlds.studio.proposals.undo import propose_undo
from editenv.worlds.studio.scene import Scene, codes_hash, scene_from_codes
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.speaking import speak
from editenv.worlds.studio.start import initial_scene, start_codes
from editenv.worlds.studio.statements import STATEMENTS
from editenv.worlds.studio.suites import Suite

__all__ = [
    "PAIRS",
    "RULED",
    "draw_session",
    "edit_is_held_out",
    "held_out_in",
    "initial_scene",
    "rule_is_held_out",
    "scene_is_held_out",
]

_SPLIT_OF_HASH = (0, 0, 1, 2)  # half of all start scenes train, a quarter each validates and tests
_TRIES = 60
_MOST_TRIES = 20_000

Fits = Callable[[Proposal], bool]


def draw_session(suite: Suite, split: str, seed: int, index: int, grid: int) -> StudioSpec:
    """Session `index` of `seed`, the same on every machine and in every order of asking.

    Splits are disjoint: a start scene belongs to one split by the hash of its content. What is held out of
    training is left out, or, in the test split of a suite that seeks it, there at least once.

    Raises:
        RuntimeError: the suite leaves nothing that could be asked for.
    """
    draws = Draws((SPLITS.index(split), seed, index))
    seeks = suite.held_out == "seek" and split == "test"
    script = _Script(suite, split, draws, anything=seeks or suite.held_out == "allow")
    while True:
        spec = script.draw(seed, index, grid)
        if not seeks or any(held_out_in(spec)):
            return spec


@dataclass(frozen=True, slots=True)
class _Script:
    """Writes the script of one session.

    Attributes:
        suite: what kind of session.
        split: whose start scenes and sentences.
        draws: all its choices.
        anything: may what is held out of training be used?
    """

    suite: Suite
    split: str
    draws: Draws
    anything: bool

    def draw(self, seed: int, index: int, grid: int) -> StudioSpec:
        """A whole session."""
        suite, draws = self.suite, self.draws
        wording = partial(PHRASINGS[suite.phrasings], split=self.split)
        scene = self._start(grid)
        due = [
            (draws.pick(entry.turns), entry.family)
            for entry in suite.rules
            if entry.turns and draws.chance(entry.share)
        ]
        situation, turns = DialogueState(scene, grid, pointing=suite.pointing), []
        for turn in range(suite.turns):
            families = [family for when, family in due if when == turn]
            said, proposal = self._direct(situation, turn, families)
            turns.append(speak(situation, proposal, draws, wording, said))
            situation = situation.stating(*said).after(proposal.edit)
        return StudioSpec(suite.name, self.split, seed, index, scene, tuple(turns))

    def _start(self, grid: int) -> Scene:
        suite, number = self.suite, SPLITS.index(self.split)
        while True:
            codes = start_codes(self.draws, grid, suite.objects, suite.signs)
            if _SPLIT_OF_HASH[codes_hash(codes) % 4] != number:
                continue
            scene = scene_from_codes(codes)
            if self.anything or not scene_is_held_out(scene):
                return scene

    def _direct(
        self, situation: DialogueState, turn: int, families: list[str]
    ) -> tuple[tuple[Statement, ...], Proposal]:
        """What is said about rules in a turn, and what is asked for in it."""
        draws, suite = self.draws, self.suite
        if "exception" in families:
            found = self._exception(situation, turn)
            if found is not None:
                return found
        said: list[Statement] = []
        for family in families:
            if family != "exception":
                statement = STATEMENTS[family](situation.stating(*said), draws, self._may_rule)
                said += [] if statement is None else [statement]
        stated = situation.stating(*said)
        if suite.undo and not said and draws.chance(suite.undo):
            undo = propose_undo(stated, draws, refer=True)
            if undo is not None:
                return (), undo
        forbidding = any(rule.forbids for rule in stated.bound)
        if suite.tempt and forbidding and not said and draws.chance(suite.tempt):
            tempting = self._try(stated, turn, lambda proposal: is_temptation(proposal.edit, stated), _TRIES)
            if tempting is not None:
                return (), tempting
        proposal = self._try(stated, turn, lambda proposal: is_clear(proposal.edit, stated), _MOST_TRIES)
        if proposal is None:
            raise RuntimeError(
                f"suite {suite.name} leaves nothing to ask for in {stated}, expected some task"
            )
        return tuple(said), proposal

    def _exception(
        self, situation: DialogueState, turn: int
    ) -> tuple[tuple[Statement, ...], Proposal] | None:
        """An edit that one rule in force is against, and the exception made for it."""
        if not situation.rules:
            return None
        rule = self.draws.pick(situation.rules)
        lifted = situation.stating(Except(rule))

        def fits(proposal: Proposal) -> bool:
            return is_contrary(proposal.edit, rule, situation) and is_clear(proposal.edit, lifted)

        proposal = self._try(lifted, turn, fits, _TRIES)
        return None if proposal is None else ((Except(rule),), proposal)

    def _try(self, situation: DialogueState, turn: int, fits: Fits, tries: int) -> Proposal | None:
        """A proposal that fits; where later turns must refer, one that leaves something to refer to."""
        draws, suite = self.draws, self.suite
        refer = turn > 0 and draws.chance(suite.reference_share)
        always = suite.reference_share == 1
        for _ in range(tries):
            proposal = PROPOSALS[draws.weighted(suite.tasks)](situation, draws, refer)
            if proposal is None or (refer and always and proposal.reference is None):
                continue
            if not fits(proposal) or not self._may_ask(proposal, situation):
                continue
            if always and turn + 1 < suite.turns and not situation.after(proposal.edit).can_refer():
                continue
            return proposal
        return None

    def _may_rule(self, rule: Rule) -> bool:
        return self.anything or not rule_is_held_out(rule)

    def _may_ask(self, proposal: Proposal, situation: DialogueState) -> bool:
        return self.anything or not edit_is_held_out(proposal.edit, situation.bound, situation.scene)
