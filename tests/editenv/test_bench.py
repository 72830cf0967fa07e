"""The benchmark plays what it claims to play."""

import pytest

from editenv.bench import bench_env


def test_the_oracle_of_the_benchmark_is_paid_in_full() -> None:
    """Fails where the answers prepared ahead belong to other sessions or turns than those that are timed."""
    figures = bench_env(num_envs=4, turns=20, repeats=2)
    assert figures["reward"] == 1.0
    assert figures["turns"] == 24  # two rounds of four sessions of three turns
    assert figures["turns_per_second"] >= figures["turns_per_second_median"] > 0


def test_parts_add_up() -> None:
    """Fails where a part of the time is left out or counted twice."""
    figures = bench_env(num_envs=3, turns=9, noise=2.0, repeats=1)
    parts = figures["reset_microseconds_per_turn"] + figures["step_microseconds_per_turn"]
    assert figures["microseconds_per_turn"] == pytest.approx(parts)
    assert figures["turns_per_second"] == pytest.approx(1e6 / parts)
    assert figures["reward"] == 1.0
    assert figures["turns_per_cpu_second"] > 0
