"""Every page below docs runs: its `editenv` commands and its Python, in the order of the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from editenv.cli import main
from tests.test_readme import command_lines, shortened

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs").glob("*.md"))


def pieces(text):
    """The fenced blocks of a page in order, those in lists too: (language, content)."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", text, flags=re.DOTALL | re.MULTILINE)
    return [(language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)) for indent, language, code in found]


PROGRAM = """
import json, sys, types
for code in json.load(sys.stdin):
    sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, code.splitlines()[0], "exec"), vars(sys.modules["__main__"]))
"""


def run_snippets(snippets, folder):
    """Runs pieces of Python one after the other, each as a main module, in one process: imports cost once."""
    if snippets:
        words = [sys.executable, "-W", "error::UserWarning", "-c", PROGRAM]
        subprocess.run(words, cwd=folder, check=True, input=json.dumps(snippets), text=True)
        snippets.clear()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snippets: list[str] = []
    for language, code in pieces(page.read_text(encoding="utf-8")):
        commands = command_lines(f"```{language}\n{code}```\n")
        if language == "python":
            snippets.append(code)
        elif commands:
            run_snippets(snippets, tmp_path)
        for words in commands:
            assert main(shortened(words)) == 0, words
    run_snippets(snippets, tmp_path)


def test_pieces_come_in_order_and_without_their_indent():
    text = "```python\na\n```\n- x:\n\n  ```bash\n  editenv show\n    b\n  ```\n"
    assert pieces(text) == [("python", "a\n"), ("bash", "editenv show\n  b\n")]
