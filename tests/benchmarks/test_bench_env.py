"""The benchmark plays what it claims to play and adds up what it claims to add up."""

from __future__ import annotations

from typing import Any

import pytest

from editenv.benchmarks.env import MiniGrid, Sessions, bench_env, env_table, right_answers, sessions_mb, timed

ALONE: dict[str, Any] = {"minigrid_steps": 0, "scaling_sessions": 0, "memory_sessions": 0}


def test_the_oracle_of_the_benchmark_is_paid_in_full() -> None:
    """Fails where the answers prepared ahead belong to other sessions or turns than those that are timed."""
    figures = bench_env(num_envs=4, turns=20, repeats=2, **ALONE)
    assert figures["reward"] == 1.0
    assert figures["turns"] == 24  # two rounds of four sessions of three turns
    assert figures["turns_per_second_best"] >= figures["turns_per_second"] > 0


@pytest.mark.parametrize("turns", [1, 16])
def test_sessions_of_any_length_are_played_right(turns: int) -> None:
    sessions = Sessions(turns=turns)
    answers = right_answers(sessions, 1, 8)
    times = timed(sessions.env(8), answers, sessions.seed)
    assert len(times.steps) == len(answers[0]) == turns
    assert times.reward == 1.0


def test_parts_add_up() -> None:
    """Fails where a part of the time is left out or counted twice."""
    figures = bench_env(num_envs=3, turns=9, noise=2.0, repeats=1, **ALONE)
    parts = figures["reset_microseconds_per_turn"] + figures["step_microseconds_per_turn"]
    assert figures["microseconds_per_turn"] == pytest.approx(parts)
    assert figures["turns_per_second"] == pytest.approx(1e6 / parts)
    assert figures["reward"] == 1.0
    assert figures["turns_per_cpu_second"] > 0
    assert figures["minigrid_ratio"] is figures["scaling"] is figures["memory_1024_sessions_mb"] is None
    assert "nothing to compare with" in env_table(figures)


def test_every_figure_is_there_and_in_the_table() -> None:
    figures = bench_env(num_envs=4, turns=12, repeats=1, minigrid_steps=50, scaling_sessions=2, memory_sessions=16)
    assert set(figures["scaling"]["turns"]) == {"3", "8", "16"}
    assert set(figures["scaling"]["size"]) == {"64", "128", "256"}
    assert figures["minigrid_ratio"] == pytest.approx(
        figures["turns_per_second"] / figures["minigrid_steps_per_second"]
    )
    shown = env_table(figures)
    for words in ("steps a second of MiniGrid", "at 16 turns", "at 256 pixels", "megabytes"):
        assert words in shown


def test_minigrid_shows_pictures_of_our_size() -> None:
    assert MiniGrid().env.reset(seed=1)[0]["image"].shape == (64, 64, 3)


def test_memory_grows_with_the_sessions_and_holds_their_pictures() -> None:
    """400 sessions hold 1,600 pictures of 12,288 bytes: 19.7 MB at least, and not several times as much."""
    grown = sessions_mb(400)
    if grown is None:
        pytest.skip("this system does not tell how much memory a process takes")
    assert 19 < grown < 80
