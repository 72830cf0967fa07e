"""Two processes whose groups are divided give their second stage to the sessions that one would choose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gymnasium.vector import AutoresetMode

from editenv.agents.audit.known import KnownPolicy
from editenv.agents.audit.model import CHANNELS, known_checkpoint
from editenv.agents.audit.world import BrightnessJudge, FlatWorld, Reader
from editenv.agents.edit_r2.credit import CreditSettings, credit
from editenv.agents.edit_r2.places import Place
from editenv.agents.edit_r2.ranks import gathered, of_all, own_part, own_rows
from editenv.agents.edit_r2.rollout import RolloutSettings, collect
from editenv.agents.edit_r2.spending import SpendSettings
from editenv.agents.edit_r2.stages import Begun, mixed_first
from editenv.agents.edit_r2.stopwatch import Stopwatch
from editenv.agents.editor.turns import TurnSettings
from editenv.vector import MICEEditVectorEnv
from tests.two_processes import in_processes, join_others

SPECS, ROLLOUTS, FIRST, MIXED = 3, 4, 2, 2
"""Of twelve rows each process plays six: the second session's lie on both. Only the third one's differ."""


class OneDiffers(BrightnessJudge):
    """Pays all but one session the same, whatever is drawn."""

    def score(self, turns):
        start = FlatWorld().session("train", 0, MIXED).start
        return [
            score if turn.spec.start == start else replace(score, reward=0.5)
            for turn, score in zip(turns, super().score(turns), strict=True)
        ]


def play_and_keep(out: Path, rank: int, processes: int, port: int) -> None:
    """One process's part of a rollout; what it played and was paid goes to `out/RANK.pt`."""
    join_others(rank, processes, port)
    torch.set_num_threads(1)
    rows = own_rows(SPECS * ROLLOUTS)
    disabled = AutoresetMode.DISABLED
    envs = MICEEditVectorEnv(
        rows.stop - rows.start, FlatWorld(), Reader(), OneDiffers(), autoreset_mode=disabled
    )
    turn = TurnSettings(max_intent_tokens=4, temperature=1.0, steps=4)
    settings = RolloutSettings(turn=turn, rollouts=ROLLOUTS, spending=SpendSettings(first_rollouts=FIRST))
    checkpoint = known_checkpoint(KnownPolicy(CHANNELS))
    rollout = collect(checkpoint, envs, settings, 0, 0, SPECS, Stopwatch(), rows, gather=of_all)
    paid, _ = credit(gathered(rollout), ROLLOUTS, CreditSettings(advantage="turn"), {})
    paid, _ = own_part(paid, rows, rollout.tensors["reward"].shape[1])
    names = ("group_id", "reward", "latents")
    kept = {name: rollout.tensors[name] for name in names}
    torch.save(kept | {"advantage": paid["advantage"]}, out / f"{rank}.pt")


def test_two_processes_choose_pay_and_play_what_one_does(tmp_path_factory):
    """Fails where a process looks at its own rows alone: the first has none of the session that differs."""
    found = {}
    for count in (1, 2):
        parts = in_processes(play_and_keep, tmp_path_factory.mktemp(f"of{count}"), count, 300.0)
        found[count] = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    groups = found[2]["group_id"].reshape(SPECS, ROLLOUTS)
    assert groups[:, :FIRST].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert (groups[:, FIRST:] == MIXED).all()
    for name, value in found[1].items():
        torch.testing.assert_close(found[2][name], value, atol=1e-5, rtol=1e-5)
    assert (found[2]["advantage"][:, 0] != 0).tolist() == (found[2]["group_id"] == MIXED).tolist()


def part(*groups: int, reward: list[list[float]]) -> Begun:
    """Whole sessions of these numbers, a row each."""
    turns = len(reward[0])
    places = {
        (row, turn): Place(number, 0, turn, (row, 0))
        for row, number in enumerate(groups)
        for turn in range(turns)
    }
    values = torch.tensor(reward, dtype=torch.float64)
    return Begun(values, torch.ones_like(values).bool(), places)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_session_is_compared_with_itself_wherever_its_rows_lie(cut):
    """Session 5 differs by its second turn alone, of which one part has played none where it ended early."""
    groups, reward = (4, 4, 5, 5), [[0.2, 0.3], [0.2, 0.3], [0.7, 0.1], [0.7, 0.9]]
    whole = mixed_first([part(*groups, reward=reward)], 3)
    parts = [part(*groups[:cut], reward=reward[:cut]), part(*groups[cut:], reward=reward[cut:])]
    assert mixed_first(parts, 3) == whole == [5, 5, 5]
    assert mixed_first([part(4, 4, reward=[[0.2], [0.2]]), part(5, 5, reward=reward[2:])], 2) == [5, 5]
