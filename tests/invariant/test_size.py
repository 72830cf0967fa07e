"""Files and functions stay small enough to read (a file is one idea, a function fits on a screen)."""

import ast
from statistics import median, quantiles

from tests.invariant.tree import PACKAGES, files_below, name, python_files, source_files

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


def line_count(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def function_lengths(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.end_lineno - node.lineno + 1 for node in ast.walk(tree) if isinstance(node, kinds)]


def test_no_python_file_is_longer_than_350_lines():
    long = {name(p): line_count(p) for p in python_files() if line_count(p) > 350}
    assert not long


def test_half_of_the_source_files_have_at_most_120_lines():
    # An __init__.py is mostly empty and would pull the median down for nothing.
    assert median(line_count(p) for p in source_files() if p.name != "__init__.py") <= 120


def test_functions_fit_on_a_screen():
    lengths = [n for path in source_files() for n in function_lengths(path)]
    assert median(lengths) <= 15
    assert quantiles(lengths, n=10)[-1] < 45


def test_no_file_or_folder_has_a_name_that_says_nothing():
    paths = files_below(*PACKAGES, "tests", "tools")
    assert not [name(p) for p in paths if VAGUE & {p.stem, *(part.lower() for part in p.parts[:-1])}]
