"""Forms of intents: what is written can be carried out exactly, within its tokens and the studio's words."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editenv.types import SPLITS
from editenv.worlds.studio.edit import Edit
from editenv.worlds.studio.intents import FORMS, intent_form, plain_edit, rule_words, structured
from editenv.worlds.studio.language import turn_intent
from editenv.worlds.studio.nlu import apply_intent, read_rule
from editenv.worlds.studio.noun_phrases import Target
from editenv.worlds.studio.phrases import vocabulary
from editenv.worlds.studio.rule import Rule, right_result
from editenv.worlds.studio.rules import (
    AttributeRule,
    AvoidLook,
    KeepEmpty,
    LimitAlike,
    LimitCount,
    Protect,
    ScopedRule,
)
from editenv.worlds.studio.scene import Scene, SceneObject
from editenv.worlds.studio.session import StudioTurn
from editenv.worlds.studio.suites import suite_names
from editenv.worlds.studio.tasks import ColorAlter, PositionChange, SubjectAdd, SubjectRemove, Undo
from tests.studio_play import drawn_sessions

STAR, OTHER = SceneObject("star", "red"), SceneObject("star", "blue", "dotted")
SCENE = Scene((STAR, None, OTHER, SceneObject("square", "green"), *[None] * 5), "mint")
SQUARE = Target(3, "square")
_LONGEST_SENTENCE = 24
"""Tokens that docs/intents.md tells long sessions to allow."""


def turn_of(edit: Edit, *rules: Rule) -> StudioTurn:
    """A turn on SCENE as a session would hold it."""
    return StudioTurn("", turn_intent(edit, rules, SCENE, 3), edit, rules)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suite", suite_names())
def test_every_intent_of_every_suite_leads_to_the_right_result(suite: str, form: str) -> None:
    """Fails where a form loses a rule, a referent or a word of an edit, at any size of grid."""
    for grid in (2, 3, 4, 5):
        for split in SPLITS:
            for spec in drawn_sessions(suite, split, 5, grid):
                scene = spec.scene
                for turn in spec.turns:
                    right = right_result(turn.edit, turn.rules, scene)
                    text = FORMS[form].write(turn, grid)
                    assert FORMS[form].read(text, scene, grid) == right, text
                    sloppy = re.sub(r"COLUMN (\d)", r"column\1", text.upper().replace(" IN ", ",  in "))
                    assert FORMS[form].read(f"  {sloppy} !", scene, grid) == right, sloppy
                    scene = right


@pytest.mark.parametrize("suite", suite_names())
def test_every_form_keeps_to_the_models_words_and_to_its_tokens(suite: str) -> None:
    """Fails where a form uses a word that no checkpoint's tokenizer has, or where an intent is cut off."""
    pytest.importorskip("transformers")
    from editenv.agents.unified.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(vocabulary())
    turns = [turn for spec in drawn_sessions(suite, "train", 120) for turn in spec.turns]
    for name, form in FORMS.items():
        ids = tokenizer([form.write(turn, 4) for turn in turns], add_special_tokens=False)["input_ids"]
        assert not any(tokenizer.unk_token_id in row for row in ids), name
        assert max(map(len, ids)) < max(_LONGEST_SENTENCE, form.tokens), name


@pytest.mark.parametrize(
    ("edit", "rules", "listed", "structured"),
    [
        (
            ColorAlter(SQUARE, None),
            (AttributeRule("color", "red"), AvoidLook("color", "blue")),
            "rule : all red . rule : no blue . edit : change the color of the square",
            "task change target square color red",
        ),
        (
            PositionChange(Target(2, "star", "blue", placed=True), 8),
            (AttributeRule("material", "striped"),),
            "rule : all striped . edit : move the blue star in row 1 column 3 to row 3 column 3",
            "task move target blue star in 1 3 to 3 3 material striped",
        ),
        (
            SubjectRemove(SQUARE),
            (Protect(SQUARE),),
            "rule : never touch the square in row 2 column 1 . edit : remove the square",
            "task leave",
        ),
        (
            Undo(SubjectAdd(1, "circle", "green", "plain")),
            (AttributeRule("color", "red"),),
            "rule : all red . edit : undo : add a plain green circle in row 1 column 2",
            "task add new plain green circle to 1 2",
        ),
    ],
)
def test_forms_by_hand(edit: Edit, rules: tuple[Rule, ...], listed: str, structured: str) -> None:
    """Fails where a form says something else, works rules in that it should list, or misnames an undo."""
    turn = turn_of(edit, *rules)
    right = right_result(edit, rules, SCENE)
    for name, text in (("free", turn.intent), ("rules", listed), ("structured", structured)):
        assert FORMS[name].write(turn, 3) == text
        assert FORMS[name].read(text, SCENE, 3) == right


def test_listed_rules_are_applied_to_the_picture_that_is_there() -> None:
    """Fails where the list is decoration: with the rule the answer must differ from that without."""
    read = FORMS["rules"].read
    red = SCENE.put(1, SceneObject("circle", "red"))
    assert read("rule: all red. edit: add a circle in row 1 column 2", SCENE, 3) == red
    assert read("rule: all blue. rule: all red. edit: add a blue circle in row 1 column 2", SCENE, 3) == red
    assert read("rule: at most three objects. edit: add a circle in row 1 column 2", SCENE, 3) == SCENE
    assert read("rule: at most four objects. edit: add a red circle in row 1 column 2", SCENE, 3) == red


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("rules", "make the square red"),  # no mark
        ("rules", "all red . edit : make the square red"),  # a rule without its mark
        ("rules", "rule : all round . edit : make the square red"),
        ("rules", "rule : never touch the square . edit : remove the square"),  # which one?
        ("rules", "rule : never touch the square in row 5 column 5 . edit : remove the square"),
        ("rules", "edit : move the square to row 1 column 2 and make it red"),  # worked in, not listed
        ("rules", "edit : remove the star"),  # there are two
        ("rules", "edit :"),
        ("structured", "make the square red"),
        ("structured", "task change target square"),
        ("structured", "task move target square to 4 1"),  # outside of the grid
        ("structured", "task background to red"),
        ("free", "task remove target square"),
    ],
)
def test_what_is_not_of_the_form_is_refused(form: str, text: str) -> None:
    """Fails where a form guesses."""
    assert FORMS[form].read(text, SCENE, 3) is None


@given(st.sampled_from(sorted(FORMS)), st.lists(st.sampled_from(vocabulary()), max_size=14).map(" ".join))
def test_no_text_raises(form: str, text: str) -> None:
    """Fails where some order of known words breaks a form."""
    edited = FORMS[form].read(text, SCENE, 3)
    assert edited is None or isinstance(edited, Scene)


@given(
    st.one_of(
        st.builds(AttributeRule, st.just("color"), st.sampled_from(("red", "blue"))),
        st.builds(ScopedRule, st.just("star"), st.just("material"), st.sampled_from(("plain", "striped"))),
        st.builds(AvoidLook, st.just("material"), st.just("dotted")),
        st.builds(KeepEmpty, st.sampled_from(("corners", "left column"))),
        st.builds(LimitCount, st.integers(1, 9)),
        st.builds(LimitAlike, st.sampled_from(("color", "material", "shape"))),
        st.builds(
            Protect, st.builds(Target, st.integers(0, 15), st.just("sign"), st.just("red"), text=st.just("open"))
        ),
    )
)
def test_every_rule_is_read_back(rule: Rule) -> None:
    """Fails where a rule's words stand for another rule; a protected object gets its place named."""
    named = replace(rule, target=replace(rule.target, placed=True)) if isinstance(rule, Protect) else rule
    assert read_rule(rule_words(rule, 4), 4) == named


def test_a_rule_without_words_is_named_in_the_error() -> None:
    """Fails where a plug-in's rule is silently left out of the list."""

    class Silent(AttributeRule):
        act = "same"

    with pytest.raises(ValueError, match="speech act 'same' has no sentence under 'intent'"):
        rule_words(Silent("color", "red"), 3)


def test_structured_intents_say_what_sentences_say() -> None:
    """Fails where keys and values ask for another picture, or a text that is no sentence is passed on."""
    signs = SCENE.put(8, SceneObject("sign", "blue", text="open"))
    for said in (
        "add an orange star next to the sign that says open in row 3 column 3",
        "move the square to the left of the sign that says open and make it striped red",
        "there should be three dotted red crosses",
        "there should be one star",
        "make the sign say exit and make it red",
        "leave the image as it is",
        "remove the red star then make the square striped blue",
        plain_edit(ColorAlter(SQUARE, None), 3),
    ):
        right = apply_intent(said, signs, 3)
        assert right is not None
        assert FORMS["structured"].read(structured(said), signs, 3) == right, structured(said)
    with pytest.raises(ValueError, match="intent is 'do it', expected a canonical one"):
        structured("do it")


def test_forms_are_chosen_by_name() -> None:
    """Fails where a wrong name is not told with the right ones."""
    with pytest.raises(ValueError, match="intent_form 'rule' is not known, did you mean 'rules'"):
        intent_form("rule")
