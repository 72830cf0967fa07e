"""docs/scripts/suites_page.py: the page says what was measured, that of docs is about all suites."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from docs.scripts.suites_page import in_few_colors, main
from editenv.agents.baselines.trivial import NoopPolicy
from editenv.agents.episodes import run_episodes
from editenv.build import make_vector_env
from editenv.worlds.studio.parse import parse
from editenv.worlds.studio.render import INK, render
from editenv.worlds.studio.scene import COLORS, Scene, SceneObject
from editenv.worlds.studio.suites import load_suite, suite_names

DOCS = Path(__file__).resolve().parents[2] / "docs"
SESSIONS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command writes about two suites."""
    out = tmp_path_factory.mktemp("suites")
    words = ["--suites", "protect", "persona", "--sessions", str(SESSIONS), "--seed", "3", "--out", str(out)]
    main(words)
    return out


def section(page: str, name: str) -> str:
    return page.split(f"\n## {name}\n")[1].split("\n## ")[0]


def left_alone(session) -> list[bool]:
    return ["leave_alone" in score.detail for score in session.scores]


def test_the_page_says_what_was_measured(folder) -> None:
    """Fails where a figure of the page is another than that of the sessions themselves, counted anew."""
    page = (folder / "suites.md").read_text(encoding="utf-8")
    envs = make_vector_env(num_envs=SESSIONS, autoreset_mode="Disabled", split="test", suite="protect")
    idle = run_episodes(envs, NoopPolicy(envs), range(SESSIONS), 3)
    followed = [
        score.instruction_following
        for session in idle
        for score, left in zip(session.scores, left_alone(session), strict=True)
        if not left
    ]
    about = section(page, "protect")
    assert f"- No-op: IF {f'{np.mean(followed):.4f}' if any(followed) else '0.0'};" in about
    assert f"0 of {4 * SESSIONS} instructions unclear (0.00%)" in about
    scripts = [turn for session in idle for turn in session.spec.turns]
    adds = np.mean([turn.edit.task == "subject_add" for turn in scripts])
    assert f"`subject_add` {adds:.1%}" in about
    protects = np.mean([any(r.family == "protect" for t in s.spec.turns for r in t.rules) for s in idle])
    assert f"`protect` {protects:.1%}" in about
    later = [turn for session in idle for turn in session.spec.turns[1:]]
    assert f"`beside` {np.mean([turn.reference == 'beside' for turn in later]):.1%}" in about
    impossible = np.mean([turn.intent == "leave the image as it is" for turn in scripts])
    assert f"{impossible:.1%} of turns are to be left alone" in about


def test_the_page_has_the_suites_words_and_pictures(folder) -> None:
    """Fails where a suite's own words or its filmstrip are left out, or a suite nobody asked for is there."""
    page = (folder / "suites.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", page, flags=re.MULTILINE) == ["protect", "persona"]
    for name in ("protect", "persona"):
        about = section(page, name)
        assert load_suite(name).measures in about and load_suite(name).cannot_show in about
        assert "- Oracle: IF 1.0, CC 1.0, GA 1.0 in every turn" in about
        (path,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", about)
        assert (folder / path).read_bytes().startswith(b"\x89PNG")


def test_few_colors_are_true() -> None:
    """Fails where a rare colour is drawn as a frequent one, so that a strip shows another object."""
    things = [SceneObject("square", color) for color in COLORS]
    scene = Scene((*things, *[None] * 10), "black")
    busy = np.random.default_rng(0).integers(0, 256, (300, 64, 3), dtype=np.uint8)
    picture = np.concatenate([render(scene, 64), busy])
    few = np.asarray(in_few_colors(picture).convert("RGB"))[:64]
    assert parse([few], 4) == [scene]
    for ink in INK.values():
        assert ((few == ink).all(axis=2) == (picture[:64] == ink).all(axis=2)).all()


def test_the_page_of_docs_is_about_every_suite() -> None:
    """Fails where suites or their words change and the script is not run again."""
    page = (DOCS / "suites.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", page, flags=re.MULTILINE) == suite_names()
    for name in suite_names():
        assert load_suite(name).measures in page and load_suite(name).cannot_show in page
        assert load_suite(name).measures and load_suite(name).cannot_show
    shown = set(re.findall(r"\]\((suites/[^)]+)\)", page))
    assert {f"suites/{path.name}" for path in (DOCS / "suites").iterdir()} == shown


def test_the_pictures_of_docs_are_small() -> None:
    """Fails where a checkout gets heavy."""
    sizes = [path.stat().st_size for path in (DOCS / "suites").iterdir()]
    assert max(sizes) < 60_000 and sum(sizes) < 700_000
