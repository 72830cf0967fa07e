"""Turns of different lengths side by side, and back without their padding."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from editenv.agents.edit_r2.padding import past_blocks, real, single_turns, stack_turns, trimmed, with_past
from editenv.agents.unified import TextBlock


def test_transcripts_are_padded_on_the_left_and_all_else_on_the_right():
    short = {
        "transcript_ids": torch.tensor([[7]]),
        "intent_ids": torch.tensor([[8]]),
        "reward": torch.ones(1),
    }
    long = {
        "transcript_ids": torch.tensor([[1, 2, 3]]),
        "intent_ids": torch.tensor([[4, 5]]),
        "reward": torch.zeros(1),
    }
    stacked = stack_turns([short, long])
    assert stacked["transcript_ids"].tolist() == [[[0, 0, 7], [1, 2, 3]]]
    assert stacked["intent_ids"].tolist() == [[[8, 0], [4, 5]]]
    assert stacked["reward"].tolist() == [[1.0, 0.0]]


def test_latents_are_stacked_along_the_turns():
    turns = [{"latents": torch.full((2, 3, 4, 5), float(turn))} for turn in range(3)]
    stacked = stack_turns(turns)["latents"]
    assert stacked.shape == (2, 3, 3, 4, 5)
    assert stacked[0, :, 0, 0, 0].tolist() == [0.0, 1.0, 2.0]


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), extra=st.integers(0, 3), left=st.booleans()
)
def test_trimming_removes_padding_and_nothing_else(lengths, extra, left):
    width = max(lengths) + extra + 1
    ids, mask = torch.zeros(len(lengths), width, dtype=torch.long), torch.zeros(len(lengths), width).bool()
    for row, length in enumerate(lengths):
        place = slice(width - length, width) if left else slice(0, length)
        ids[row, place], mask[row, place] = torch.arange(1, length + 1), True
    block = trimmed(ids, mask, left)
    assert block.ids.shape[1] == max(1, max(lengths))
    for row, length in enumerate(lengths):
        assert block.ids[row][real(block)[row]].tolist() == list(range(1, length + 1))


def test_a_block_without_padding_says_so():
    assert trimmed(torch.ones(2, 3).long(), torch.ones(2, 3).bool()).mask is None
    assert real(TextBlock(torch.ones(2, 3).long())).all()


def test_the_past_of_each_turn_ends_with_the_turn_before():
    sessions = {
        "source": torch.tensor([10.0, 11.0, 12.0]).reshape(1, 3, 1, 1),
        "condition_ids": torch.tensor([[[1, 2], [3, 0], [5, 6]]]),
        "condition_mask": torch.tensor([[[True, True], [True, False], [True, True]]]),
    }
    past = with_past(sessions)
    assert past["past_there"].tolist() == [[[False, False], [False, True], [True, True]]]
    assert past["past_source"][0, 2].flatten().tolist() == [10.0, 11.0]
    assert past["past_source"][0, 1, 1].item() == 10.0
    assert past["past_ids"][0, 2].tolist() == [[1, 2], [3, 0]]
    assert past["past_mask"][0, 1].tolist() == [[False, False], [True, True]]


def test_blocks_of_the_past_skip_places_where_no_turn_has_one():
    sessions = {
        "source": torch.rand(2, 3, 4, 5),
        "condition_ids": torch.ones(2, 3, 2).long(),
        "condition_mask": torch.ones(2, 3, 2).bool(),
    }
    turns = single_turns(sessions | with_past(sessions))
    counts = [len(past_blocks(_rows(turns, rows))) for rows in ([0, 3], [1, 4], [0, 1, 2], [2, 5])]
    assert counts == [0, 2, 4, 4]
    first, _, second, _ = past_blocks(_rows(turns, [1, 2]))
    assert first.present.tolist() == [False, True] and second.present is None
    assert torch.equal(second.latents, torch.stack([sessions["source"][0, 0], sessions["source"][0, 1]]))


def _rows(turns, rows):
    return {name: value[rows] for name, value in turns.items()}
