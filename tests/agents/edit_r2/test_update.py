"""One minibatch's loss, from judging to the joint loss."""

from dataclasses import replace

import pytest
import torch

from editenv.agents.edit_r2 import ActionLogProbs, evaluate_actions, policy_loss, ratio_errors, select_trained
from editenv.agents.objective import check_algorithm, check_ratio
from editenv.agents.policy import take_trained
from tests.tiny_editor import TINY, played, single_turns, tensors_of, tiny_policy


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_policy()


@pytest.fixture(scope="module")
def turns(checkpoint):
    """Turns of a rollout, one a row, with advantages that differ."""
    batch = single_turns(tensors_of(played(checkpoint, replace(TINY, intent_from_turn=2))))
    count = len(batch["scored_mask"])
    return batch | {"advantage": torch.linspace(-1, 1, count), "loss_mask": torch.ones(count).bool()}


@pytest.fixture(scope="module")
def judged(checkpoint, turns):
    with torch.no_grad():
        return evaluate_actions(checkpoint, turns, TINY)


def test_judging_finds_the_log_probs_of_the_rollout(turns, judged):
    written = turns["intent_mask"]
    torch.testing.assert_close(judged.text_log_prob[written], turns["text_log_prob"][written], atol=1e-5, rtol=0)
    torch.testing.assert_close(judged.flow_log_prob_mean, turns["flow_log_prob_mean"], atol=1e-5, rtol=0)
    torch.testing.assert_close(judged.flow_mean, turns["flow_mean"], atol=1e-4, rtol=0)
    assert all(error < 1e-4 for error in ratio_errors(judged, turns).values())


def test_a_few_rows_are_judged_as_in_the_whole_batch(checkpoint, turns, judged):
    rows = [1, 4, 8]
    with torch.no_grad():
        few = evaluate_actions(checkpoint, {name: value[rows] for name, value in turns.items()}, TINY)
    torch.testing.assert_close(few.text_log_prob, judged.text_log_prob[rows], atol=1e-5, rtol=0)
    torch.testing.assert_close(few.flow_log_prob_mean, judged.flow_log_prob_mean[rows], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("off", "space"), [("text_weight", "flow"), ("flow_weight", "text")])
def test_a_term_without_weight_is_neither_judged_nor_checked(checkpoint, turns, off, space):
    update = replace(TINY, **{off: 0.0})
    now = evaluate_actions(checkpoint, turns, update)
    assert (now.text_log_prob is None) == (space == "flow") and (now.flow_mean is None) == (space == "text")
    assert ratio_errors(now, turns).keys() == {space}
    assert all(name.startswith(space) for name in policy_loss(now, None, turns, update)[1])


def test_turns_without_an_intent_have_no_text_gradient_but_a_flow_gradient(checkpoint, turns):
    now = evaluate_actions(checkpoint, turns, TINY)
    now.text_log_prob.retain_grad()
    now.flow_log_prob_mean.retain_grad()
    policy_loss(now, None, turns, TINY)[0].backward()
    written = turns["intent_mask"].any(-1)
    assert not written[0] and written[1], "the first turn uses the user's words"
    assert torch.equal(now.text_log_prob.grad.abs().sum(-1) > 0, written)
    assert (now.flow_log_prob_mean.grad != 0).all()


def of_one_session(turns, trained):
    return take_trained({name: value[None] for name, value in turns.items()}, trained[None])


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("text_kl", [0.0, 0.5])
def test_leaving_out_turns_that_teach_nothing_changes_no_gradient(checkpoint, turns, judged, text_kl):
    """Filtered, unscored, and without an advantage; the last teach something where a distance is paid for."""
    update = replace(TINY, text_kl=text_kl)
    batch = {name: value.clone() for name, value in turns.items()}
    batch["loss_mask"][1], batch["scored_mask"][4], batch["advantage"][[2, 5]] = False, False, 1e-17
    few, share = of_one_session(batch, select_trained(batch, update))
    assert len(few["scored_mask"]) == len(turns["scored_mask"]) - (2 if text_kl else 4)
    far = None
    if text_kl:
        far = replace(judged, text_log_prob=judged.text_log_prob - 1)
    model = checkpoint.requires_grad_(True)
    whole = gradients(model, policy_loss(evaluate_actions(model, batch, update), far, batch, update)[0])
    rows = (batch["loss_mask"] & batch["scored_mask"]).nonzero()[:, 0]
    near = None
    if far is not None:
        near = ActionLogProbs(*(None if value is None else value[rows] for value in vars(far).values()))
    part = gradients(model, policy_loss(evaluate_actions(model, few, update), near, few, update)[0] * share)
    for name, gradient in whole.items():
        torch.testing.assert_close(part[name], gradient, atol=1e-6, rtol=1e-3, msg=name)


def test_where_no_turn_trains_there_is_still_a_loss_to_go_backward_from(checkpoint, turns):
    nothing = torch.zeros_like(turns["loss_mask"])
    few, share = of_one_session(turns | {"loss_mask": nothing}, nothing)
    loss = policy_loss(evaluate_actions(checkpoint, few, TINY), None, few, TINY)[0] * share
    assert loss == 0 and not any(value.any() for value in gradients(checkpoint, loss).values())


def test_turns_that_are_filtered_or_unscored_have_no_gradient_in_either_space(checkpoint, turns):
    batch = dict(turns)
    batch["loss_mask"], batch["scored_mask"] = turns["loss_mask"].clone(), turns["scored_mask"].clone()
    batch["loss_mask"][1], batch["scored_mask"][4] = False, False
    now = evaluate_actions(checkpoint, batch, TINY)
    now.text_log_prob.retain_grad()
    now.flow_log_prob_mean.retain_grad()
    policy_loss(now, None, batch, TINY)[0].backward()
    for row in (1, 4):
        assert (now.text_log_prob.grad[row] == 0).all() and (now.flow_log_prob_mean.grad[row] == 0).all()
    assert (now.flow_log_prob_mean.grad[2] != 0).all()


def test_both_distances_by_hand():
    """flow: (0.3^2 + 0.1^2) / 2 / (2 * 0.5^2) = 0.1; text: k3 = exp(d) - d - 1 with d = 0.5 is 0.148721."""
    zeros = torch.zeros(1, 1)
    nowhere, std = torch.zeros(1, 1, 1, 2), torch.full((1, 1), 0.5)
    now = ActionLogProbs(zeros, zeros, nowhere, std, nowhere)
    then = ActionLogProbs(zeros + 0.5, zeros, torch.tensor([[[[0.3, -0.1]]]]), std, nowhere)
    yes = torch.ones(1).bool()
    batch = {
        "text_log_prob": zeros,
        "intent_mask": torch.ones(1, 1).bool(),
        "flow_log_prob_mean": zeros,
        "flow_mean": nowhere,
        "times": torch.tensor([[0.5, 0.25]]),
        "advantage": torch.zeros(1),
        "loss_mask": yes,
        "scored_mask": yes,
    }
    weights = replace(TINY, text_kl=2.0, flow_kl=10.0, text_weight=0.5)
    loss, numbers = policy_loss(now, then, batch, weights)
    assert numbers["flow_kl"] == pytest.approx(0.1)
    assert numbers["text_kl"] == pytest.approx(0.148721, rel=1e-5)
    assert float(loss) == pytest.approx(10 * 0.1 + 0.5 * 2 * 0.148721, rel=1e-5)


def test_a_guarded_ratio_widens_what_a_clip_lets_through(turns, judged):
    """std is below 1 at every step here, so that guarded ratios lie nearer to 1 than plain ones."""
    near = replace(judged, flow_log_prob_mean=judged.flow_log_prob_mean + 0.01)
    plain, guarded = (
        policy_loss(near, None, turns, replace(TINY, flow_clip=0.008, ratio=ratio))[1]["flow_clip_fraction"]
        for ratio in ("plain", "guard")
    )
    assert plain == 1.0
    assert guarded == pytest.approx(float((judged.flow_std * 0.01 > 0.008).float().mean()))
    assert guarded < 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl": "gausian"}, "kl 'gausian' is not known, did you mean 'gaussian'"),
        ({"ratio": "guarded"}, "did you mean .guard."),
    ],
)
def test_unknown_names_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_algorithm(replace(TINY, **changes))


@pytest.mark.parametrize("context_gradient", [True, False])
def test_the_context_gradient_is_a_setting(checkpoint, turns, context_gradient):
    """The picture's context is the only thing that reaches word embeddings other than the image markers."""
    update = replace(TINY, text_weight=0.0, context_gradient=context_gradient)
    checkpoint.zero_grad()
    policy_loss(evaluate_actions(checkpoint, turns, update), None, turns, update)[0].backward()
    words = checkpoint.model.get_input_embeddings().weight.grad[6:]
    assert bool((words != 0).any()) is context_gradient
    checkpoint.zero_grad()


@pytest.mark.parametrize("context_gradient", [True, False])
def test_the_transcript_carries_a_gradient_only_where_the_context_does(checkpoint, turns, context_gradient):
    """Embeddings of words that occur in transcripts alone; published: only the intent's tokens carry one."""
    update = replace(TINY, flow_weight=0.0, context_gradient=context_gradient)
    checkpoint.zero_grad()
    policy_loss(evaluate_actions(checkpoint, turns, update), None, turns, update)[0].backward()
    gradient = checkpoint.model.get_input_embeddings().weight.grad
    heard = set(turns["transcript_ids"][turns["transcript_mask"]].tolist())
    written = set(turns["intent_ids"][turns["intent_mask"]].tolist())
    # Token ids below 6 are markers; the transcript's last one starts the intent and belongs to it.
    only_heard = sorted(token for token in heard - written if token >= 6)
    assert only_heard and written
    assert bool((gradient[only_heard] != 0).any()) is context_gradient
    assert bool((gradient[sorted(written)] != 0).any())
    checkpoint.zero_grad()


@pytest.mark.parametrize(
    ("errors", "clips", "message"),
    [
        ({"text": 2e-4}, {}, "the text ratio differs from 1 by 2.00e-04, expected at most 1e-04"),
        ({"text": 0.0, "flow": 5e-5}, {"flow_clip": 1e-4}, "the flow ratio .* by 5.00e-05, .* at most 1e-05"),
        ({"flow": float("nan")}, {}, "the flow ratio differs from 1 by nan"),
    ],
)
def test_ratios_off_one_stop_the_run(errors, clips, message):
    with pytest.raises(RuntimeError, match=message):
        check_ratio({f"{space}_ratio_error": error for space, error in errors.items()}, replace(TINY, **clips))


def test_ratios_within_a_tenth_of_the_clip_pass():
    check_ratio({"text_ratio_error": 9e-5, "flow_ratio_error": 9e-5}, TINY)
