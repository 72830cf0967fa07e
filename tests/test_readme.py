"""Every `editenv` command and every piece of Python in the README runs, the long ones cut short."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from editenv.cli import main

README = Path(__file__).resolve().parents[1] / "README.md"
SHORT = ["iterations=1", "groups=2", "group_size=2", "eval_every=0", "image_every=0", "save_every=1"]
CUTS = {
    "train agent": [
        "clone=16",
        "steps=64",
        "num_envs=4",
        "n_steps=8",
        "batch_size=32",
        "eval_every=32",
        "eval_sessions=4",
        "clone_epochs=1",
        "width=16",
    ],
    "train": SHORT,
    "evaluate": ["sessions=4"],
    "export": ["sessions=4"],
    "demo": ["sessions=4", "exported=2", *(f"train.{setting}" for setting in SHORT)],
    "bench env": ["turns=192", "repeats=1"],
    "bench rollout": ["groups=2", "group_size=2", "plain_sessions=1", "repeats=1", "iterations=0"],
    "suites": ["sessions=4", "suites=[mixed]"],
}
"""What is appended to a command, whose last word on a setting counts."""


def blocks(text, language):
    """The contents of the fenced blocks of a language."""
    return re.findall(rf"^```(?:{language})\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def command_lines(text):
    """The words of each `editenv` command, prompts and comments taken off, continued lines joined."""
    shell = "\n".join(blocks(text, "bash|console|sh|shell")).replace("\\\n", " ")
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in shell.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["editenv"]]


def shortened(words):
    """The command with its cuts; making a checkpoint has no short form and only shows its settings."""
    if words[:1] == ["pretrain"]:
        return [*words, "--cfg", "job"]
    if "--help" in words:
        return words
    if words[:1] == ["train"] and words[1:2] and words[1].startswith("agent="):
        return [*words, *CUTS["train agent"]]
    return [*words, *CUTS.get(words[0] if words else "", []), *CUTS.get(" ".join(words[:2]), [])]


COMMANDS = command_lines(README.read_text(encoding="utf-8"))
SNIPPETS = blocks(README.read_text(encoding="utf-8"), "python")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all, since commands may read what earlier ones wrote."""
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_run(words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(shortened(words)) == 0


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets_run(code, folder):
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], cwd=folder, check=True)


def test_commands_are_found_in_shell_blocks_alone():
    shell = "```bash\n$ editenv show \\\n  policy=oracle  # look\nmake demo\n```\n"
    text = f"editenv no\n{shell}```python\neditenv\n```\n"
    assert command_lines(text) == [["show", "policy=oracle"]]
    assert blocks(text, "python") == ["editenv\n"]


def test_the_readme_links_every_page():
    """Fails where a page of docs cannot be found from the README, or a link leads nowhere."""
    linked = set(re.findall(r"\]\((docs/[^)#]+)\)", README.read_text(encoding="utf-8")))
    pages = {path.relative_to(README.parent).as_posix() for path in README.parent.glob("docs/*.md")}
    assert pages - {"docs/index.md"} <= linked
    assert not [path for path in linked if not (README.parent / path).exists()]
