"""Training data from studio sessions: transcripts and intents, images and edits, and label noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from editenv.agents.unified.autoencoder import CellAutoencoder
from editenv.configs.schema import DataMixture
from editenv.worlds.studio.edit import BACKGROUND
from editenv.worlds.studio.intents import intent_form, plain_edit
from editenv.worlds.studio.language import canonical_intent
from editenv.worlds.studio.render import cell_pictures
from editenv.worlds.studio.rule import check_edit, right_result
from editenv.worlds.studio.scene import Scene, all_objects
from editenv.worlds.studio.session import StudioSpec, StudioTurn
from editenv.worlds.studio.tasks import Undo
from editenv.worlds.studio.world import StudioWorld

_WRONG_KINDS = (0.6, 0.2, 0.2)  # nothing done, other looks of the edited object, a second object changed


class EditSample(NamedTuple):
    """One edit: the scene before, the intent in words, the scene after."""

    before: Scene
    intent: str
    after: Scene


class TextSample(NamedTuple):
    """One intent: the user's messages so far, and the intent to be generated."""

    transcript: tuple[str, ...]
    intent: str


def edit_samples(mixture: DataMixture, seed: int, grid: int, form: str = "free") -> Iterator[EditSample]:
    """Edits of all turns of training sessions, without end; `form` of the intents is a name in `intents.FORMS`.

    Sessions and label noise follow from the seed.
    """
    rng = np.random.default_rng([seed, 1])
    written = intent_form(form)
    for spec in _sessions(mixture.suites, seed, grid):
        scene = spec.scene
        for turn in spec.turns:
            result = right_result(turn.edit, turn.rules, scene)
            wrong = rng.random() < mixture.wrong_images
            intent = written.write(turn, grid)
            yield EditSample(scene, intent, wrong_result(turn, scene, result, rng) if wrong else result)
            scene = result


def text_samples(mixture: DataMixture, seed: int, grid: int, form: str = "free") -> Iterator[TextSample]:
    """Intents after transcripts, without end: of whole sessions or first instructions; see `edit_samples`."""
    rng = np.random.default_rng([seed, 2])
    whole = _sessions(mixture.suites, seed, grid, mixture.whole_sessions)
    single = _sessions(mixture.suites, seed + 1, grid)
    while True:
        if rng.random() >= mixture.whole_session_share:
            turn = next(single).turns[0]
            yield TextSample((turn.text,), intent_form(form).write(turn, grid))
            continue
        transcript: tuple[str, ...] = ()
        rules_before: tuple[object, ...] = ()
        for turn in next(whole).turns:
            transcript = (*transcript, turn.text)
            # A rule is always kept in the turn that states it; `keep_rule` is about those of earlier turns.
            keep = (bool(turn.rules) and turn.rules != rules_before) or rng.random() < mixture.keep_rule
            resolve = rng.random() < mixture.resolve_reference
            yield TextSample(transcript, noisy_intent(turn, grid, rules=keep, reference=resolve, form=form))
            rules_before = turn.rules


def _sessions(suites: Sequence[str], seed: int, grid: int, count: int | None = None) -> Iterator[StudioSpec]:
    worlds = [StudioWorld(suite, size=16 * grid, grid=grid) for suite in suites]
    index = 0
    while True:
        number = index if count is None else index % count
        yield worlds[number % len(worlds)].session("train", seed, number)
        index += 1


# Label noise, which only the recipe `practice` asks for


def noisy_intent(turn: StudioTurn, grid: int, rules: bool, reference: bool, form: str = "free") -> str:
    """The turn's intent, ignoring the rules in force or leaving "it" unresolved where these are False."""
    written = intent_form(form)
    if not rules:
        edit = turn.edit.instead if isinstance(turn.edit, Undo) else turn.edit
        plain = canonical_intent(edit, (), grid) if form == "free" else plain_edit(edit, grid)
        turn = replace(turn, rules=(), intent=plain)
    intent = written.write(turn, grid)
    target = getattr(turn.edit, "target", None)
    if reference or turn.reference not in ("it", "just_added") or target is None:
        return intent
    return intent.replace(written.name(target, grid), "it", 1)


def wrong_result(turn: StudioTurn, before: Scene, result: Scene, rng: Generator) -> Scene:
    """A wrong result: nothing done, the edited object with other looks, or a second cell changed."""
    cell, known = turn.edit.edited_cell(before), all_objects()
    others = [place for place in result.occupied() if place not in turn.edit.touched(before) | {BACKGROUND}]
    while True:
        kind, drawn = rng.choice(len(_WRONG_KINDS), p=_WRONG_KINDS), before
        if kind == 1 and cell is not None and result.cells[cell] is not None:
            drawn = result.put(cell, known[rng.integers(len(known))])
        elif kind > 0 and others:
            drawn = result.put(others[rng.integers(len(others))], known[rng.integers(len(known))])
        # Drawn looks may be the old ones, and words leave looks open: what came out right is drawn again.
        if not is_right(turn, before, drawn):
            return drawn


def is_right(turn: StudioTurn, before: Scene, after: Scene) -> bool:
    """Whether the edit is as asked, every rule kept, and all else as it was."""
    check = check_edit(turn.edit, turn.rules, before, after)
    changed = {cell for cell, old in enumerate(before.cells) if after.cells[cell] != old}
    if before.background != after.background:
        changed.add(BACKGROUND)
    return check.followed and not check.broken and not changed - turn.edit.touched(before)


class LatentTable:
    """Latents of scenes by looking up each cell's; cells are coded apart, so this equals encoding images.

    The autoencoder codes one cell a token: `cell`, in pixels, is its `token_side`.
    """

    def __init__(self, autoencoder: CellAutoencoder, cell: int) -> None:
        images = torch.from_numpy(np.array(cell_pictures(cell)))
        with torch.no_grad():
            codes = autoencoder.encode(images.flatten(0, 1))
        self.table = codes.reshape(*images.shape[:2], -1)

    def __call__(self, scenes: Sequence[Scene]) -> Tensor:
        """Latents [B, N, C] of scenes with N cells."""
        codes = torch.tensor([scene.codes() for scene in scenes])
        return self.table[codes[:, :1], codes[:, 1:]]
