"""What rules can do in a rollout in the model's place: right intents, exact pictures, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from editenv.agents.baselines.oracle import OraclePolicy
from editenv.agents.edit_r2.padding import real
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.policy import EditorMemory, OracleWriter, exact_painter
from editenv.agents.editor.prompts import answer_block, intent_block, transcript_block
from editenv.agents.editor.turns import TurnSettings, encode
from editenv.agents.episodes import rows_of
from editenv.protocols import Observations
from editenv.vector import MICEEditVectorEnv


def taught_turn(
    checkpoint: Checkpoint,
    envs: MICEEditVectorEnv,
    observations: Observations,
    settings: TurnSettings,
    turn: int,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """One turn of all rows with the right intent and the right picture.

    Args:
        checkpoint: whose tokens and latents the answers are put into.
        envs: whose sessions are played, of studio scenes.
        observations: of all rows.
        settings: of a turn; before `intent_from_turn` pictures follow the user's words and no intent is
            written.
        turn: from 0.

    Returns:
        Tensors as `collect` describes them, and the actions.

    Raises:
        ValueError: a session has no studio meaning.
    """
    live = [row for row, session in enumerate(envs.sessions) if session.ending is None]
    right, _ = OraclePolicy(envs, settings.intent_form).act(rows_of(observations, live), live)
    images, intents = np.array(observations["image"]), list(observations["instruction"])
    images[live] = right["image"]
    for row, intent in zip(live, right["intent"], strict=True):
        intents[row] = intent
    prompt = transcript_block(checkpoint.tokenizer, observations["transcript"])
    answer = answer_block(checkpoint.tokenizer, intents)
    writes = turn + 1 >= settings.intent_from_turn
    followed = intents if writes else list(observations["instruction"])
    condition = intent_block(checkpoint.tokenizer, followed)
    tensors = {
        "transcript_ids": prompt.ids,
        "transcript_mask": real(prompt),
        "intent_ids": answer.ids,
        "intent_mask": real(answer) & torch.tensor(writes),
        "condition_ids": condition.ids,
        "condition_mask": real(condition),
        "source": encode(checkpoint, observations["image"]),
        "image": encode(checkpoint, list(images)),
    }
    return tensors, {"image": images, "intent": tuple(intents)}


def right_intents(envs: MICEEditVectorEnv, observations: Observations, settings: TurnSettings) -> list[str]:
    """The intents that are right in a turn; the user's words where a session is over.

    Raises:
        ValueError: a session has no studio meaning.
    """
    intents = list(observations["instruction"])
    live = [row for row, session in enumerate(envs.sessions) if session.ending is None]
    writer = OracleWriter(envs, settings.intent_form)
    right = writer.write(observations, [EditorMemory(row, 0) for row in live])
    for row, intent in zip(live, right, strict=True):
        intents[row] = intent
    return intents


def exact_pictures(
    checkpoint: Checkpoint,
    envs: MICEEditVectorEnv,
    observations: Observations,
    source: Tensor,
    intents: Sequence[str],
    settings: TurnSettings,
) -> tuple[dict[str, Tensor], NDArray[np.uint8]]:
    """What the intents ask for, drawn by rules, and tensors as `collect` describes them, without a window.

    `source` are the latents of the pictures that are observed.

    Raises:
        ValueError: the pictures are no studio scenes.
    """
    condition = intent_block(checkpoint.tokenizer, intents)
    pictures = exact_painter(envs, settings.intent_form).paint(observations["image"], intents, ())
    tensors = {
        "condition_ids": condition.ids,
        "condition_mask": real(condition),
        "source": source,
        "image": encode(checkpoint, pictures),
    }
    return tensors, np.stack(pictures)
