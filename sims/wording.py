"""Paraphrase check: do other words for an instruction still ask for the same thing, and for nothing else?

A wording passes only where nothing that could be said wrongly is said otherwise, and every word of it is known:
objects are named by the same looks in the same order and led to by the same prepositions, places and numbers are the
same, verbs are the task's, nothing is negated, what points back still points back, and all other words are ones that
ask for nothing. What fails falls back to the template, so strictness costs variety and never truth.
"""

import re
from string import ascii_letters, digits

from editenv.worlds.studio.phrases import tokens
from editenv.worlds.studio.scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIGN, TEXTS

LONGEST = 300  # characters a wording may have
MORE_WORDS = 15  # words that it may have more than the template's sentence

_LOOKS = frozenset((*COLORS, *MATERIALS, *SHAPES, *BACKGROUNDS, *TEXTS, SIGN))
_PLURALS = {f"{shape}s": shape for shape in SHAPES} | {"crosses": "cross", "grey": "gray"}
_REMOVE = ("remove", "delete", "erase", "rid", "away", "clear", "gone")
_VERBS = {
    "subject_add": tuple("add put place draw insert create give want need like have see".split()),
    "subject_remove": _REMOVE,  # whoever wants an object does not want it gone
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
    "i you we me us my your would could can will should may might do don t am are is s d ll m be been "
    "being please kindly thanks thank just now so like love want need wish prefer glad happy how about "
    "if let lets possible the a an of for in into to on at with by from as and get got have has color "
    "colored quickly maybe hey hi hello ok okay yes good great nice".split()
)
"""Words that ask for nothing by themselves, in any number and place."""
_MORE_FILLERS = {
    "subject_remove": ("any", "longer", "anymore", "want"),
    "subject_replace": ("instead", "place"),
    "position_change": ("over",),
}
_CHARACTERS = frozenset(ascii_letters + digits + " .,;:!?'\"()-")

_INSTEAD = re.compile(r"in (?:the )?place of|instead of|\bnot\b")
_EXCHANGES = frozenset(("replace", "swap", "exchange", "turn", "change"))
"""Verbs of which the old object comes first and the new one is led to by a preposition."""
_LEADS = frozenset("from by of with for to in into on at as".split())
"""Prepositions that tell what an object, a value or a place has to do with a verb."""
_INTO = ("in", "to", "into", "at", "on", "with")
_SAME_LEADS = {
    "subject_remove": ("of",),
    "subject_replace": ("by", "for"),
    "color_alter": ("of", "to", "for", "with"),
    "material_alter": ("of", "to", "for", "with"),
    "text_change": ("of", "on", "for"),
}
"""By task: those that say of an object what the task does with it, as in "get rid of the star"."""


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
    wrong = _wrong_deed(set(said), set(meant), task) or _swapped(" ".join(said), " ".join(meant), task)
    if wrong or added:
        return wrong or f"it adds {added[0]!r}"
    if _leads(said, task) != _leads(meant, task):
        return f"it leads to what it names by {_leads(said, task)}, expected {_leads(meant, task)}"
    return None


def _wrong_deed(said: set[str], meant: set[str], task: str) -> str | None:
    """Why the words may ask for something else to be done with the same objects."""
    if not said & {*_VERBS.get(task, ()), *(meant & _DEEDS)}:
        return f"no word of it asks for {task}"
    if task != "subject_remove" and said & set(_REMOVE) - meant:
        return "it asks for something to be removed"
    unwanted = [bool(words & _NEGATIONS) and "want" in words for words in (said, meant)]
    if bool(said & _NEGATIONS) != bool(meant & _NEGATIONS) or unwanted[0] != unwanted[1]:
        return "it says no to something"
    return None


def _swapped(said: str, meant: str, task: str) -> str | None:
    """Why the old object may be put in place of the new one."""
    instead = bool(_INSTEAD.search(said))
    if task != "subject_replace" or (instead and _INSTEAD.search(meant)):
        return None
    words = set(said.split())
    exchanges = not instead and not _INSTEAD.search(meant) and words & _EXCHANGES and words & {*_INTO, "by", "for"}
    return None if exchanges else "it may put the old in place of the new"


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


def _leads(words: list[str], task: str) -> tuple[list[str], list[str]]:
    """The prepositions before looks and before places, in order, "" for those that make no difference to the task."""
    looks, places = [], []
    named = [word in _LOOKS or word == "object" for word in words]
    for at, word in enumerate(words):
        if word != "row" and (not named[at] or (at and named[at - 1])):
            continue
        back = at - 2 if at and words[at - 1] in ("the", "a", "an") else at - 1
        lead = words[back] if back >= 0 and words[back] in _LEADS else ""
        end = next((n for n in range(at, len(words)) if not named[n]), len(words))
        if word == "row":
            places.append("to" if lead in _INTO else lead)
        elif not {*SHAPES, SIGN, "object"} & set(words[at:end]):
            looks.append("" if lead in _INTO else lead)  # a value: "change the color to red"
        elif lead in _SAME_LEADS.get(task, ()) or (task == "subject_replace" and lead in _INTO):
            looks.append("to" if task == "subject_replace" else "")
        else:
            looks.append(lead)
    return looks, places
