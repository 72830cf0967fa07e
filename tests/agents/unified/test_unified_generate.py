"""What is written, when it stops, and that its log-probs are those of the training forward."""

import pytest
import torch
from torch.testing import assert_close

from editenv.agents.unified.context import TextBlock
from editenv.agents.unified.model import generate_text, prompt_logits, sample_token


def prompts(batch=6):
    ids = torch.randint(6, 40, (batch, 5), generator=torch.Generator().manual_seed(0))
    return TextBlock(ids, torch.arange(5) >= (torch.arange(batch) % 3)[:, None])


def numbers(batch=6, length=8, seed=1):
    return torch.rand(batch, length, generator=torch.Generator().manual_seed(seed))


def write(model, block, uniforms, temperature, stop_id, length=8):
    context = model.new_context(len(block.ids))
    logits = prompt_logits(model, context, block)
    return generate_text(model, context, logits, length, temperature, uniforms, stop_id)


@pytest.fixture
def stop_id(model):
    """A token that the sampled rows meet at different places."""
    free = write(model, prompts(), numbers(), 0.9, stop_id=1)
    return int(free.ids[2, 3])


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.3])
@torch.no_grad()
def test_log_probs_equal_the_teacher_forced_forward(model, temperature):
    block = prompts()
    greedy = write(model, block, None, 0.0, stop_id=1)
    stop = int(greedy.ids[0, 2]) if temperature == 0 else 7
    written = write(model, block, numbers(), temperature, stop)
    logits = model([block], written.ids, written.mask).logits / (temperature or 1.0)
    expected = logits.log_softmax(-1).gather(-1, written.ids[..., None])[..., 0]
    assert_close(written.log_prob[written.mask], expected[written.mask], atol=1e-5, rtol=0)
    assert (written.log_prob[~written.mask] == 0).all()


def test_the_stop_token_is_part_of_the_row_and_nothing_follows_it(model, stop_id):
    free = write(model, prompts(), numbers(), 0.9, stop_id=1)
    written = write(model, prompts(), numbers(), 0.9, stop_id)
    lengths = []
    for row in range(6):
        hits = (free.ids[row] == stop_id).nonzero().flatten().tolist()
        length = hits[0] + 1 if hits else 8
        lengths.append(length)
        assert written.mask[row].tolist() == [place < length for place in range(written.ids.shape[1])]
        assert torch.equal(written.ids[row, :length], free.ids[row, :length])
        assert (written.ids[row, length:] == 0).all()
    assert min(lengths) < 8, "no row stopped: the test shows nothing"
    assert written.ids.shape[1] == max(lengths)


def test_rows_that_have_ended_are_read_no_further(model, stop_id, monkeypatch):
    block = prompts()
    context = model.new_context(6)
    logits = prompt_logits(model, context, block)
    read: list[int] = []
    append = type(model).append_text

    def counted(model, context, ids, mask=None):
        read.append(ids.numel())
        return append(model, context, ids, mask)

    monkeypatch.setattr(type(model), "append_text", counted)
    written = generate_text(model, context, logits, 8, 0.9, numbers(), stop_id)
    # A row's last token leads nowhere.
    assert sum(read) == int((written.mask.sum(dim=1) - 1).sum()) < 6 * len(read)


def test_a_row_is_a_function_of_its_own_numbers(model, stop_id):
    block, uniforms = prompts(), numbers()
    together = write(model, block, uniforms, 0.9, stop_id)
    rows = torch.tensor([4, 1])
    some = write(model, TextBlock(block.ids[rows], block.mask[rows]), uniforms[rows], 0.9, stop_id)
    for place, row in enumerate(rows.tolist()):
        count = int(together.mask[row].sum())
        assert int(some.mask[place].sum()) == count
        assert torch.equal(some.ids[place, :count], together.ids[row, :count])
    assert torch.equal(write(model, block, uniforms, 0.9, stop_id).ids, together.ids)
    assert not torch.equal(write(model, block, numbers(seed=2), 0.9, stop_id).ids, together.ids)


def test_the_context_is_unchanged(model):
    context = model.new_context(6)
    logits = prompt_logits(model, context, prompts())
    generate_text(model, context, logits, 4)
    assert context.length == 5


def test_tokens_are_chosen_by_the_inverse_of_the_cumulative_distribution():
    """Probabilities 0.5, 0, 0.3, 0.2: boundaries at 0.5 and 0.8, and the second token is never drawn."""
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2])
    uniform = torch.tensor([0.0, 0.49, 0.51, 0.79, 0.81, 1 - 2**-24])
    token, log_prob = sample_token(probabilities.log().expand(6, 4), 1.0, uniform)
    assert token.tolist() == [0, 0, 2, 2, 3, 3]
    assert_close(log_prob, probabilities[token].log())


def test_sampled_frequencies_follow_the_temperature():
    logits = torch.tensor([0.0, 1.0, 2.0])
    uniform = (torch.arange(3000) + 0.5) / 3000
    token, _ = sample_token(logits.expand(3000, 3), 0.5, uniform)
    assert_close(torch.bincount(token) / 3000, (logits / 0.5).softmax(-1), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("temperature", "uniforms", "length", "message"),
    [
        (-1.0, None, 4, "temperature is -1.0"),
        (1.0, None, 4, "uniforms are missing"),
        (1.0, torch.rand(6, 3), 4, r"shape \(6, 3\), expected \[6, 4\]"),
        (0.0, None, 0, "max_tokens is 0"),
    ],
)
def test_wrong_calls_are_refused(model, temperature, uniforms, length, message):
    with pytest.raises(ValueError, match=message):
        write(model, prompts(), uniforms, temperature, 1, length)
