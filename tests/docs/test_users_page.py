"""Personas differ in what they are named for, in figures over seeded sessions."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from docs.scripts.users_page import Speaking, markdown, speaking
from editenv.agents.baselines.oracle import NoisyOracle, OraclePolicy
from editenv.agents.episodes import run_episodes
from editenv.build import make_vector_env
from editenv.sims.persona import persona_names


def measured(persona: str, policy=OraclePolicy, sessions: int = 96) -> Speaking:
    envs = make_vector_env(
        num_envs=sessions,
        suite="persona",
        split="test",
        user="goal",
        user_settings={"persona": persona},
        autoreset_mode="Disabled",
    )
    return speaking(run_episodes(envs, policy(envs), range(sessions), 0))


@pytest.fixture(scope="module")
def to_the_oracle() -> dict[str, Speaking]:
    return {name: measured(name) for name in persona_names()}


def test_terse_uses_the_fewest_words_and_chatty_twice_as_many(to_the_oracle) -> None:
    words = {name: figures.words for name, figures in to_the_oracle.items()}
    assert words["terse"] == min(words.values())
    assert words["chatty"] > 2 * words["terse"]


def test_vague_points_back_most_and_needs_more_turns(to_the_oracle) -> None:
    references = {name: figures.references for name, figures in to_the_oracle.items()}
    assert references["vague"] == max(references.values()) > 2 * references["chatty"]
    assert to_the_oracle["vague"].turns > to_the_oracle["plain"].turns + 0.5


def test_indecisive_changes_their_mind_and_terse_never_does(to_the_oracle) -> None:
    assert to_the_oracle["indecisive"].changes > 0.5 > to_the_oracle["chatty"].changes
    assert to_the_oracle["terse"].changes == 0


def test_everybody_is_done_with_an_agent_that_is_right_and_nobody_asks_twice(to_the_oracle) -> None:
    assert all((f.done, f.repeats, f.repairs) == (1, 0, 0) for f in to_the_oracle.values())


def test_an_agent_that_fails_is_asked_again_and_terse_gives_up_first(to_the_oracle) -> None:
    terse, chatty = measured("terse", NoisyOracle), measured("chatty", NoisyOracle)
    assert min(terse.repeats, terse.repairs, chatty.repeats, chatty.repairs) > 0.2
    assert terse.gave_up > chatty.gave_up and chatty.turns > to_the_oracle["chatty"].turns
    assert terse.done + terse.gave_up + terse.out_of_turns == pytest.approx(1)


def test_the_table_has_a_row_a_persona(to_the_oracle) -> None:
    lines = markdown(to_the_oracle).splitlines()
    assert len(lines) == 2 + len(to_the_oracle)
    assert {line.count("|") for line in lines} == {len(asdict(to_the_oracle["plain"])) + 2}


def test_scripts_have_no_moods_to_measure() -> None:
    envs = make_vector_env(num_envs=1, autoreset_mode="Disabled")
    with pytest.raises(ValueError, match="goal user"):
        speaking(run_episodes(envs, OraclePolicy(envs), [0], 0))
