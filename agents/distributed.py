"""Several processes: who plays which sessions, what all of them know, sharded weights; threads and precision.

FSDP2 gathers a module's weights when `forward` is called, and all processes have to call it equally often and
in one order. Contexts are built by other methods, and how often depends on what a process's own sessions are
like: during a rollout and its update, every process holds all weights (`full_weights`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.functional import pad

from editenv.registry import lookup
from editenv.types import Scores

if TYPE_CHECKING:
    from editenv.agents.rollout import RolloutBatch

T = TypeVar("T")
Plain = TypeVar("Plain", bound=nn.Module)

_FILLERS = {
    "reward": 0.0,
    "instruction_following": float("nan"),
    "scored_mask": 0,
    "turn_index": -1,
    "is_branch": 0,
    "start_state": -1,
    "intent_mask": 0,
}
"""What advantages and the log read of a rollout, and what stands where a process played no such turn."""

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}
"""Names, and what matrix products are cast to; None leaves them as the weights are."""


# Processes and their rollouts


def process() -> PartialState:
    """Which process this is and of how many; the first call joins them, over gloo where there is no GPU."""
    return PartialState(cpu=not torch.cuda.is_available())


def local_rows(sessions: int) -> slice:
    """Which of an iteration's sessions this process plays: the same number in each, a group may be divided."""
    state = process()
    count, rest = divmod(sessions, state.num_processes)
    if rest:
        raise ValueError(
            f"groups * group_size is {sessions}, expected a multiple of the {state.num_processes} processes"
        )
    return slice(state.process_index * count, (state.process_index + 1) * count)


def all_gather(part: T) -> list[T]:
    """What each process has of something, in their order; every process has to ask."""
    if process().num_processes == 1:
        return [part]
    found: list[T] = gather_object([part])
    return found


class RemoteSession(NamedTuple):
    """What is known of a session that another process played: its turns' scores without details, its script."""

    scores: tuple[Scores, ...]
    index: int


def gather_rollout(rollout: RolloutBatch) -> RolloutBatch:
    """The rollout of all processes as far as advantages read it: scores and which tokens were written.

    A process may have played fewer turns than others, or shorter intents; what it did not play is not scored,
    with a reward of 0 as after a session's end.
    """
    if process().num_processes == 1:
        return rollout
    own = {name: getattr(rollout, name) for name in _FILLERS if hasattr(rollout, name)}
    own["intent_mask"] = rollout.turns["intent_mask"].cpu()
    sessions = [
        RemoteSession(tuple(replace(scores, detail={}) for scores in session.scores), session.index)
        for session in rollout.sessions
    ]
    pieces: list[tuple[Any, ...]] = all_gather((own, sessions, rollout.fallback_share))
    joined: dict[str, Any] = {}
    turns, before = max(tensors["reward"].shape[1] for tensors, *_ in pieces), 0
    for tensors, *_ in pieces:  # states are named by rows, which now follow one another
        tensors["start_state"] = tensors["start_state"] + torch.tensor([before, 0])
        before += len(tensors["reward"])
    for name, filler in _FILLERS.items():
        values = [tensors[name] for tensors, *_ in pieces]
        values = [
            torch.cat([v, v.new_full((len(v), turns - v.shape[1], *v.shape[2:]), filler)], dim=1) for v in values
        ]
        longest = max(value.shape[-1] for value in values)
        joined[name] = torch.cat([pad(value, (0, longest - value.shape[-1])) for value in values])
    return replace(
        rollout,
        sessions=tuple(session for _, played, _ in pieces for session in played),
        turns={"intent_mask": joined.pop("intent_mask")},
        fallback_share=sum(share for *_, share in pieces) / len(pieces),
        **joined,
    )


def local_slice(everyones: dict[str, Tensor], rows: slice, turns: int) -> tuple[dict[str, Tensor], float]:
    """This process's rows [S, K] of values of all sessions, and by how much its mean over turns counts.

    The loss is a mean over all sessions' turns, and gradients are averaged over processes. One that played
    `turns` of the K turns that others did has to weigh less, by turns / K.
    """
    longest = next(iter(everyones.values())).shape[1]
    return {name: value[rows, :turns] for name, value in everyones.items()}, turns / longest


# Weights split by FSDP2


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are split over processes."""
    return isinstance(model, FSDPModule)


def check_sharding(grows_with_gradient: bool, ema: bool = False) -> None:
    """Refuses what has no place in a training whose weights are split.

    Gradients that grow with a session would go back through the layers a different number of times in each process;
    an `ema` plays with other weights than those that learn.
    """
    if grows_with_gradient:
        raise ValueError(
            "context_gradient is true with context 'interleaved' and weights split by FSDP2, expected false"
        )
    if ema:
        raise ValueError("nft_decay is above 0 with weights split by FSDP2, expected 0")


@contextmanager
def full_weights(model: nn.Module) -> Iterator[None]:
    """Every process has all weights inside, at its own pace; all enter together. Changes nothing for others.

    The start gathers; inside, only gradients are shared, which each layer does when it has gone backward. The
    weights that were gathered are stale after an optimiser's step, which therefore belongs outside.
    """
    gather_weights(model)
    try:
        yield
    finally:
        for part in model.modules():
            if isinstance(part, FSDPModule):
                part.reshard()


def gather_weights(model: nn.Module) -> None:
    """Gives every process all weights, until they are split again; does nothing where they are whole."""
    if not isinstance(model, FSDPModule):
        return
    model.set_reshard_after_forward(False)
    model.set_reshard_after_backward(False)
    with torch.no_grad():
        # Asked for nothing, the model computes nothing; but FSDP2 then knows which module is the outermost
        # one, and layers may be called by other methods of the model.
        model({}, None, text=False)
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.unshard()


def full_tensor(value: Tensor) -> Tensor:
    """A tensor of which each process may hold a piece; all of them have to ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def full_copy(model: nn.Module, empty: Plain) -> Plain:
    """The weights of a sharded model in a plain one, `empty`; all processes have to ask. It is split afterwards."""
    found: dict[str, Any] = {name: full_tensor(value).detach() for name, value in model.state_dict().items()}
    with torch.no_grad():
        empty.load_state_dict(found)
    return empty


# Arithmetic


def use_threads(count: int | None) -> None:
    """Sets torch's threads for work inside of operations.

    None leaves them as they are, but for no more than the cores this process may use: in containers torch counts
    the whole machine's.
    """
    if count is not None and count < 1:
        raise ValueError(f"threads is {count}, expected 1 or more")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(count or min(torch.get_num_threads(), cores))


def check_precision(name: str, cuda: bool | None = None) -> None:
    """Refuses a precision that is not known or that this machine cannot run; `cuda` None looks for a device."""
    if lookup("precision", name, PRECISIONS) is None:
        return
    if not (torch.cuda.is_available() if cuda is None else cuda):
        raise ValueError(f"precision is {name!r}, expected 'float32' where there is no CUDA device")


def autocast(name: str) -> AbstractContextManager[Any]:
    """Runs the network inside in a precision, in rollouts as in updates, so that log-probs agree.

    Log-probs, densities, advantages and losses are float32 in any.
    """
    dtype = PRECISIONS[name]
    return nullcontext() if dtype is None else torch.autocast("cuda", dtype=dtype)


def masters_in_float32(model: nn.Module) -> None:
    """Holds whatever trains in float32, be the frozen weights beside it as small as they may.

    An update is often below a half-precision weight's rounding: 1 + 1e-3 is 1 in bfloat16.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
