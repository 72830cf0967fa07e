"""Rows that go on from what others have read hold what they would hold had they read it themselves."""

import pytest
import torch

from editenv.agents.unified.context import ImageBlock, TextBlock
from editenv.agents.unified.policy import Columns
from tests.tiny_editor import tiny_policy

ROWS, LENGTHS = 4, (3, 5, 2)
COURSES = {
    "on and on": [[], [[0], [1], [2], [3]], [[0, 0], [1, 1], [2, 2], [3, 3]]],
    "one branches off another": [[], [[0], [1], [2], [0]], [[0, 0], [1, 1], [2, 2], [2, 2]]],
    "one is begun anew": [[], [[0], [1], [-1], [3]], [[0, 0], [1, 1], [-1, 2], [3, 3]]],
    "one goes back": [[], [[0], [1], [2], [2]], [[0, 0], [1, -1], [2, 2], [1, -1]]],
    "back to what its own row has left": [[], [[0], [1], [2], [2]], [[0, 0], [1, 1], [2, 2], [3, -1]]],
    "through three rows": [[], [[1], [1], [2], [0]], [[1, 0], [0, 3], [1, 0], [2, 2]]],
    "all begin anew": [[], [[-1], [-1], [-1], [-1]], [[-1, 0], [-1, 1], [-1, 2], [-1, 3]]],
}


@pytest.fixture(scope="module")
def model():
    return tiny_policy().model


def blocks(model):
    """A picture and a text of each column, for all rows; texts are shorter in some rows."""
    draws = torch.Generator().manual_seed(0)
    found = []
    for length in LENGTHS:
        picture = torch.randn(ROWS, 16, model.config.latent_dim, generator=draws)
        ids = torch.randint(10, 40, (ROWS, length), generator=draws)
        mask = torch.arange(length) < torch.tensor([length, 1, length, 2])[:, None]
        found.append((picture, TextBlock(ids, mask)))
    return found


def chains(course):
    """By column the columns that lead to each row's turn, oldest first, as (row, column)."""
    found = []
    for column, rows in enumerate(course):
        after = []
        for row in range(ROWS):
            past = [(owner, at) for at, owner in enumerate(rows[row] if column else []) if owner >= 0]
            after.append([*past, (row, column)])
        found.append(after)
    return found


@torch.no_grad()
def grown(model, course):
    columns = Columns(model.new_context(ROWS))
    for column, (picture, text) in enumerate(blocks(model)):
        columns.begin(torch.tensor(course[column]).reshape(ROWS, column))
        model.append(columns.now, ImageBlock(picture))
        model.append(columns.now, text)
    return columns.now


@torch.no_grad()
def read_alone(model, chain):
    context = model.new_context(1)
    for row, column in chain:
        picture, text = blocks(model)[column]
        model.append(context, ImageBlock(picture[row : row + 1]))
        model.append(context, TextBlock(text.ids[row : row + 1][:, text.mask[row]], None))
    return context


@pytest.mark.parametrize("name", COURSES)
def test_what_a_row_holds_is_what_reading_its_turns_alone_gives(model, name):
    """Fails where a token of another row, turn or position is taken, or one too many is seen."""
    context = grown(model, COURSES[name])
    for row, chain in enumerate(chains(COURSES[name])[-1]):
        alone, seen = read_alone(model, chain), context.valid[row]
        assert int(context.position[row]) == int(alone.position)
        assert torch.equal(context.is_text[seen], alone.is_text)
        for layer in zip(context.layers, alone.layers, strict=True):
            for mine, theirs in zip(*layer, strict=True):
                torch.testing.assert_close(mine[row][:, seen], theirs[0], atol=1e-5, rtol=1e-5)


def test_tokens_that_no_row_follows_any_more_are_dropped(model):
    assert grown(model, COURSES["on and on"]).length == sum(LENGTHS) + 3 * 18
    assert grown(model, COURSES["all begin anew"]).length == sum(LENGTHS[1:]) + 2 * 18


def test_the_rows_differ_in_what_they_have_read(model):
    """Else the comparison above would show nothing."""
    context = grown(model, COURSES["on and on"])
    keys = context.layers[-1][0][:, :, -20:]
    assert all((keys[one] - keys[other]).abs().max() > 1e-2 for one in range(ROWS) for other in range(one))
