"""How many positions whole sessions take, and that models with fewer refuse them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from editenv.agents.editor.history import history_blocks
from editenv.agents.editor.prompts import transcript_block
from editenv.agents.editor.room import Room, check_room, room
from editenv.agents.editor.turns import TurnSettings, encode
from editenv.agents.unified import Block, ImageBlock
from editenv.build import make_vector_env
from editenv.vector import MICEEditVectorEnv
from tests.tiny_editor import tiny_checkpoint

INTENT = "add a red star in row"
"""Six tokens."""


def envs_of(suite: str) -> MICEEditVectorEnv:
    return make_vector_env(num_envs=1, suite=suite, autoreset_mode="Disabled")


def said(envs: MICEEditVectorEnv) -> list[tuple[str, ...]]:
    world = envs.engine.world
    return [tuple(turn.text for turn in world.session("train", 0, index).turns) for index in range(32)]


def test_a_turns_positions_are_those_that_the_model_counts() -> None:
    """Fails where a picture or the tokens around an intent take another number of positions than is said."""
    checkpoint, envs = tiny_checkpoint(), envs_of("mixed")
    settings = TurnSettings(context="interleaved", max_intent_tokens=6)
    taken = room(checkpoint, envs, settings)
    observations, _ = envs.reset(seed=0)
    picture = observations["image"][0]
    blocks: list[Block] = [
        *history_blocks(checkpoint, [((picture, INTENT),) * 2]),
        ImageBlock(encode(checkpoint, [picture])),
    ]

    def positions(read: Sequence[Block]) -> int:
        return int(checkpoint.model.build_context(read, 1).position)

    assert taken.past == positions(blocks)
    longest = max(said(envs), key=lambda words: transcript_block(checkpoint.tokenizer, [words]).ids.shape[1])
    whole = [*blocks, transcript_block(checkpoint.tokenizer, [longest])]
    assert taken.needed == positions(whole) + 6


def test_room_by_hand() -> None:
    """Fails where one half of a turn is forgotten: drawing may take more than writing."""
    assert Room(turns=3, past=17, transcript=40, intent=5).needed == 17 + 40 + 5
    assert Room(turns=1, past=0, transcript=1, intent=5).needed == 1 + 5 + 2 + 1


def test_current_context_keeps_nothing_but_the_transcript() -> None:
    """Fails where earlier pictures are counted that nobody reads."""
    taken = room(tiny_checkpoint(), envs_of("long"), TurnSettings())
    assert (taken.turns, taken.past, taken.intent) == (8, 0, 20)


@pytest.mark.parametrize("suite", ["long", "long-16"])
def test_the_shipped_models_positions_hold_long_sessions(suite: str) -> None:
    """1,024 positions, in both contexts; fails where sessions grow and nobody notices."""
    checkpoint = tiny_checkpoint()
    checkpoint.model.config.max_position_embeddings = 1024
    for context in ("current", "interleaved"):
        check_room(checkpoint, envs_of(suite), TurnSettings(context=context))


def test_sessions_that_outgrow_the_model_are_refused_with_all_numbers() -> None:
    """Fails where a long session is played past the positions that the model was made for."""
    settings = TurnSettings(context="interleaved", intent_form="rules")
    taken = room(tiny_checkpoint(), envs_of("long-16"), settings)
    assert taken.past == 15 * (1 + 64 + 2) + 1
    with pytest.raises(ValueError, match="16 turns in context 'interleaved' take up to") as error:
        check_room(tiny_checkpoint(), envs_of("long-16"), settings)
    for number in (taken.needed, taken.transcript, taken.past, 64, 512):
        assert str(number) in str(error.value)


def test_pictures_that_the_autoencoder_cannot_code_are_refused_by_their_key() -> None:
    """Fails where a size is found wrong only when the first picture is coded."""
    envs = make_vector_env(num_envs=1, size=61, autoreset_mode="Disabled")
    with pytest.raises(ValueError, match=r"size is 61, expected a multiple of \d+"):
        check_room(tiny_checkpoint(), envs, TurnSettings())
