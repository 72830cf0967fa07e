"""The texts and sessions of all suites, drawn: no slot open, and nothing of the test split in training."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

import pytest

from editenv.strict import read_yaml
from editenv.types import SPLITS
from editenv.worlds.studio.dialogue import REFERENCES
from editenv.worlds.studio.noun_phrases import plural
from editenv.worlds.studio.phrases import phrasings, speech_acts, tokens
from editenv.worlds.studio.session import StudioSpec
from editenv.worlds.studio.suites import load_suite, suite_names
from editenv.worlds.studio.world import PAIRS, RULED
from tests.studio_play import drawn_sessions, right_scenes

TRAINED = [name for name in suite_names() if load_suite(name).held_out != "allow"]


def drawn(suite: str, split: str) -> list[StudioSpec]:
    return drawn_sessions(suite, split, 150)


def said(split: str) -> set[str]:
    """Every text of a split, in all suites."""
    return {turn.text for suite in suite_names() for spec in drawn(suite, split) for turn in spec.turns}


def test_no_act_is_in_two_files() -> None:
    """Fails where one table of sentences hides another one of the same name."""
    folder = files("editenv.worlds.studio")
    names = [p for p in folder.iterdir() if p.name.startswith("phrases") and p.name.endswith(".yaml")]
    acts = [act for path in names for act in read_yaml(path.read_text(encoding="utf-8"))]
    assert len(names) == 2 and len(acts) == len(set(acts))
    assert sorted(acts) == sorted(speech_acts())


def test_no_text_of_the_test_split_is_said_in_training() -> None:
    """Fails where sentences and fillings of training together make a text of the test split."""
    test = said("test")
    assert not test & said("train")
    assert not test & said("validation")


def test_no_session_or_source_of_any_suite_is_in_two_splits() -> None:
    """By the hashes of whole sessions and of start scenes, across suites."""
    for content in (lambda spec: spec.id, lambda spec: tuple(spec.scene.codes())):
        found = {s: {content(spec) for suite in suite_names() for spec in drawn(suite, s)} for s in SPLITS}
        assert sum(map(len, found.values())) == len(set().union(*found.values()))


@pytest.mark.parametrize("suite", TRAINED)
def test_training_neither_shows_nor_names_what_is_held_out(suite: str) -> None:
    """Fails where a held-out pair is in a picture, a text or an intent, or a held-out value in a rule.

    The looks of every object of every right picture are compared, apart from the code that leaves them out.
    """
    ways = {(color, noun) for shape, color in PAIRS for noun in (shape, plural(shape))}
    for split in ("train", "validation"):
        for spec in drawn(suite, split):
            for scene in right_scenes(spec):
                assert not {(thing.shape, thing.color) for thing in scene.cells if thing} & set(PAIRS)
            for turn in spec.turns:
                for words in map(tokens, (turn.text, turn.intent)):
                    assert not set(pairwise(words)) & ways, turn.text
                rules = (*turn.rules, *(getattr(change, "by", change.rule) for change in turn.changes))
                for rule in rules:
                    value = getattr(rule, "value", None)
                    assert (getattr(rule, "attribute", None), value) not in RULED
                    assert (getattr(rule, "shape", None), value) not in PAIRS


def test_every_act_is_said_somewhere() -> None:
    """Fails where a table of sentences belongs to nothing that any suite says."""
    unheard = set(speech_acts())
    for text in sorted(said("test")):
        unheard -= {act for act in unheard if any(p.search(text) for p in _patterns(act))}
    assert not unheard - set(REFERENCES)


@lru_cache(maxsize=64)
def _patterns(act: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(pattern))) for pattern in phrasings(act, "test"))
