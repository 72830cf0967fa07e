"""Every turn of every suite can be put into words for a judge."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from editenv.records import record_from_json
from editenv.rewards.judge_context import judge_context
from editenv.types import TurnResult, UserMessage
from editenv.worlds.records.export import in_brackets
from editenv.worlds.studio.world import StudioWorld
from tests.worlds.records.handmade import MEMORY, SINGLE, UNDERSTANDING

PICTURE = np.zeros((4, 4, 3), np.uint8)


def turns_of(spec):
    said = ()
    for turn in range(spec.turn_count):
        said = (*said, spec.message(turn).text)
        yield TurnResult(spec, turn, spec.message(turn), PICTURE, PICTURE, PICTURE, transcript=said)


@pytest.mark.parametrize("suite", ["mixed", "mice-cm", "mice-cu", "scoped", "protect", "limit", "revoke", "undo"])
def test_studio_turns_come_with_their_words(suite):
    world = StudioWorld(suite)
    for index in range(20):
        spec = world.session("train", 0, index)
        for turn in turns_of(spec):
            meant, own = judge_context(turn), spec.turns[turn.turn]
            assert meant.task == own.edit.task and meant.instructions[-1] == own.text
            assert meant.resolved[-1].replace("[", "").replace("]", "") == own.intent
            assert len(meant.resolved) == len(meant.instructions) == turn.turn + 1
            assert meant.unchanged is not None and set(meant.unchanged) <= set(meant.objects)
            assert meant.ruled == bool(own.rules)


def test_an_edit_that_a_rule_forbids_is_marked():
    world = StudioWorld("protect")
    found = next(
        turn
        for index in count()
        for turn in turns_of(world.session("train", 0, index))
        if turn.message.meaning.intent == "leave the image as it is"
    )
    assert judge_context(found).impossible


def test_a_turn_outside_of_a_script_lists_no_objects():
    spec = StudioWorld("mixed").session("train", 0, 0)
    meaning = spec.turns[0]
    meant = judge_context(
        TurnResult(None, 1, UserMessage("do", meaning), PICTURE, PICTURE, PICTURE, transcript=("a", "do"))
    )
    assert meant.unchanged is None and meant.objects == () and meant.instructions == ("a", "do")
    assert meant.resolved == ("a", in_brackets(meaning.intent))


@pytest.mark.parametrize(("data", "ruled"), [(MEMORY, True), (UNDERSTANDING, False), (SINGLE, False)])
def test_records_say_whether_a_rule_was_stated(data, ruled):
    *_, last = turns_of(record_from_json(data))
    meant = judge_context(last)
    assert meant.ruled is ruled and not meant.impossible
    assert meant.background == last.spec.turns[-1].bg_consistency
    assert meant.objects == last.spec.turns[-1].all_objects
