"""docs/method.md: every function it links to exists, and its table of defaults says what the configs say."""

import ast
import re
from pathlib import Path

import pytest

from editenv.configs.compose import compose

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "method.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\[`(\w+)`\]\((\S+?)\)", PAGE)
ROWS = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \| (.*?) \|", PAGE.split("## 7.")[1], flags=re.MULTILINE)
WORDS = {"the same in all": [], "true": True, "false": False, "none": None}


def defined(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize(("name", "target"), LINKS, ids=[name for name, _ in LINKS])
def test_linked_functions_exist(name, target):
    path = (DOCS / target).resolve()
    assert path.is_file() and name in defined(path)


def test_links_are_found_and_pictures_are_there():
    assert len(LINKS) > 40
    assert PAGE.count("](../") == len(LINKS), "a link without the function's name in it"
    pictures = re.findall(r"!\[.*?\]\((\S+?)\)", PAGE)
    assert pictures and all((DOCS / picture).is_file() for picture in pictures)


def given_values(cell, count):
    """A cell's values, as many as there are names; what follows them is for readers."""
    parts = [part.strip() for part in cell.split(",")][:count]
    return [WORDS[part] if part in WORDS else number(part) for part in parts]


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.parametrize(("names", "theirs", "small"), ROWS, ids=[row[0] for row in ROWS])
def test_the_table_of_defaults_is_that_of_the_configs(names, theirs, small):
    for algorithm, cell in (("edit_r2_published", theirs), ("edit_r2", small)):
        config = compose("train", [f"algorithm={algorithm}", "out=x"]).algorithm
        cell = theirs if cell == "the same" else cell
        values = [getattr(config, name) for name in re.findall(r"\w+", names)]
        if cell == "0":  # no adapters, whose alpha then says nothing
            values = values[:1]
        if cell != "configured, never applied":
            assert values == given_values(cell, len(values)), algorithm
