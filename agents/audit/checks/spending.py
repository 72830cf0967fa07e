"""Turns that are played in place of those after a failure: from where they start, and what they are paid."""

from __future__ import annotations

import numpy as np

from editenv.agents.audit.bench import Bench, numbers
from editenv.agents.audit.finding import Finding
from editenv.agents.audit.protocol import NotOffered, Spent
from editenv.agents.audit.theory import Floats


def check_spending(bench: Bench) -> list[Finding]:
    """For each way to spend the turns of failed sessions that the trainer has.

    No turn that trains may follow a failure, each has to start from the picture that its past ends with, and
    a further try of a turn is paid by turns from the same state until then, whatever else was played.
    """
    offered = getattr(bench.trainer, "spent", None)
    if offered is None:
        raise NotOffered("turns of failed sessions are not spent elsewhere")
    ways: dict[str, Spent] = offered(bench.policy, bench.seed)
    return [finding for way, spent in ways.items() for finding in _findings(way, spent)]


def _findings(way: str, spent: Spent) -> list[Finding]:
    following, trains = numbers(spent.following), spent.keep.cpu().numpy().astype(bool)
    after = np.array([any(following[before] == 0 for before in past) for past in spent.past])
    source, image = (numbers(value).reshape(len(after), -1) for value in (spent.source, spent.image))
    apart = [
        float(np.abs(source[turn] - image[past[-1]]).max()) for turn, past in enumerate(spent.past) if past
    ]
    found = [
        Finding("spending", f"{way}: turns that train after a failure", float((after & trains).sum())),
        # A picture is kept in 256 steps from -1 to 1, and bounded there.
        Finding(
            "spending", f"{way}: farthest a turn starts from its past", max(apart, default=0.0), 0.0, 1e-6
        ),
    ]
    if not spent.again.any():
        return found
    value, expected = numbers(spent.advantage), _paid_by_state(spent)
    tries = spent.again.cpu().numpy().astype(bool)
    scale = float(value[tries] @ expected[tries] / max(expected[tries] @ expected[tries], 1e-30))
    error = float(np.abs(value[tries] - scale * expected[tries]).max())
    return [
        *found,
        Finding("spending", f"{way}: error of tries' advantages, up to a scale", error, 0.0, 1e-6),
    ]


def _paid_by_state(spent: Spent) -> Floats:
    """Each turn's reward less the mean of turns that start from the same state, sampled until then."""
    reward, state, when = (numbers(value) for value in (spent.reward, spent.state, spent.when))
    gains = np.zeros(len(reward))
    for turn in range(len(reward)):
        others = [o for o in range(len(reward)) if state[o] == state[turn] and when[o] <= when[turn]]
        gains[turn] = reward[turn] - np.mean(reward[others])
    return gains
