"""Paraphrase check: do other words for an instruction still ask for the same thing, and for nothing else?

A wording passes only where nothing that could be said wrongly is said otherwise, and every word of it is
known: objects are named by the same looks in the same order, places and numbers are the same, verbs are the
task's, nothing is negated, what points back still points back, and all other words are ones that ask for
nothing. What fails falls back to the template, so strictness costs variety and never truth.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits

from editenv.worlds.studio.phrases import tokens
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIGN, TEXTS

LONGEST = 300
"""Characters a wording may have."""
MORE_WORDS = 15
"""Words that it may have more than the template's sentence."""

_LOOKS = frozenset((*COLORS, *MATERIALS, *SHAPES, *BACKGROUNDS, *TEXTS, SIGN))
_PLURALS = {f"{shape}s": shape for shape in SHAPES} | {"crosses": "cross", "grey": "gray"}
_DO, _REMOVE = ("add", "put", "place", "draw"), ("remove", "delete", "erase", "rid", "away", "clear")
_VERBS = {
    "subject_add": (*_DO, "insert", "create", "give", "want", "need", "like", "have", "see"),
    "subject_remove": (*_REMOVE, "want"),
    "subject_replace": tuple("replace swap exchange turn change put draw want like".split()),
    "color_alter": tuple("make paint color turn change recolor be want like same have".split()),
    "material_alter": ("make", "turn", "change", "be", "want", "like", "give", "same", "have"),
    "position_change": tuple("move put shift take place bring make want like relocate".split()),
    "background_change": ("make", "change", "paint", "turn", "set", "want", "like", "give"),
}
_DEEDS = frozenset(word for words in _VERBS.values() for word in words).union(
    "must need set let say write undo go back should be".split()
)
_NEGATIONS = frozenset(("no", "not", "never", "none", "t", "without", "except", "unless", "dont", "neither"))
_POINTERS = {
    "it": ("it", "that", "this", "one", "changed"),
    "its": ("its",),
    "just_added": ("added", "new", "put", "came"),
    "added": ("added", "your", "put", "add"),
    "nth_added": ("added", "your", "put", "add"),
    "there": ("there", "that"),
    "same": ("same",),
    "them": ("them", "these", "those"),
}
_EXACT = frozenset(
    "left right above below under beside between leftmost rightmost topmost lowest corner corners top bottom "
    "first second third fourth fifth last two three four five six seven eight nine more fewer "
    "every each both material text".split()
)
"""Words that stand in both or in neither."""

_FILLERS = frozenset(
    "i you we me us my your would could can will should may might do don t am are is was s d ll m be been "
    "being please kindly thanks thank just now so like love want need wish prefer glad happy how what about "
    "if let lets possible the a an of for in into to on at with by from as and get got have has color "
    "colored quickly maybe hey hi hello ok okay yes good great nice".split()
)
"""Words that ask for nothing by themselves, in any number and place."""
_MORE_FILLERS = {
    "subject_remove": ("any", "longer", "anymore"),
    "subject_replace": ("instead", "place"),
    "position_change": ("over",),
}
_CHARACTERS = frozenset(ascii_letters + digits + " .,;:!?'\"()-")

_FROM_TO = frozenset(("with", "for", "into", "by", "to"))
_INSTEAD = re.compile(r"in (?:the )?place of|instead of|\bnot\b")


def wording_problem(wording: str, sentence: str, task: str, reference: str | None) -> str | None:
    """Why a wording may not stand for a sentence of the template, None where it may.

    Args:
        wording: other words for it, one line.
        sentence: the template's, without rules and pleasantries.
        task: name of the edit's task.
        reference: how the sentence points back, None where it names its object itself.
    """
    if "\n" in wording or not 0 < len(wording) <= LONGEST:
        return f"it is no single line of 1 to {LONGEST} characters"
    odd = set(wording) - _CHARACTERS - set(sentence)
    if odd:
        return f"it holds {min(odd)!a}, expected plain letters, digits and marks"
    said, meant = _plain(wording), _plain(sentence)
    if len(said) > len(meant) + MORE_WORDS:
        return f"it has {len(said)} words, expected {len(meant) + MORE_WORDS} or fewer"
    if _runs(said) != _runs(meant):
        return f"it names {_runs(said)}, expected {_runs(meant)}"
    if _numbers(said) != _numbers(meant):
        return f"its places are {_numbers(said)}, expected {_numbers(meant)}"
    changed = _EXACT & (set(said) ^ set(meant))
    if changed or ("background" in meant and "background" not in said):
        return f"{', '.join(sorted(changed)) or 'background'} is said in only one of both"
    if reference in _POINTERS and not set(said) & set(_POINTERS[reference]):
        return f"it does not point back as {reference!r} does"
    known = _FILLERS.union(meant, _LOOKS, _MORE_FILLERS.get(task, ()), _VERBS.get(task, ()))
    known = known.union(_POINTERS.get(reference or "", ()))
    added = [word for word in said if word not in known and not word.isdigit()]
    wrong = _wrong_deed(said, meant, task)
    return wrong or (f"it adds {added[0]!r}" if added else None)


def _wrong_deed(said: list[str], meant: list[str], task: str) -> str | None:
    """Why the words may ask for something else to be done with the same objects."""
    if not set(said) & (set(_VERBS.get(task, ())) | (set(meant) & _DEEDS)):
        return f"no word of it asks for {task}"
    if task != "subject_remove" and set(said) & set(_REMOVE) - set(meant):
        return "it asks for something to be removed"
    if bool(set(said) & _NEGATIONS) != bool(set(meant) & _NEGATIONS) or _denied(said) != _denied(meant):
        return "it says no to something"
    if task == "subject_replace":
        turned = bool(_INSTEAD.search(" ".join(said)))
        if turned != bool(_INSTEAD.search(" ".join(meant))) or not (turned or set(said) & _FROM_TO):
            return "it may put the old in place of the new"
    return None


def _plain(text: str) -> list[str]:
    """Words in lower case and the singular, without marks."""
    return [_PLURALS.get(word, word) for word in tokens(text) if word.isalnum()]


def _runs(words: list[str]) -> list[str]:
    """Neighbouring words for looks, joined: "striped red circle"; an object without looks counts too."""
    marked = [word if word in _LOOKS or word == "object" else " " for word in words]
    return [" ".join(run.split("_")) for run in "_".join(marked).replace("_ ", " ").replace(" _", " ").split()]


def _numbers(words: list[str]) -> list[str]:
    """Numbers with what they count, in order: "row 2"; anything else that is a number stays bare."""
    return [f"{before} {word}" for before, word in zip(["", *words], words, strict=False) if word.isdigit()]


def _denied(words: list[str]) -> bool:
    """Is something said not to be wanted?"""
    return "want" in words and bool(set(words) & _NEGATIONS)
