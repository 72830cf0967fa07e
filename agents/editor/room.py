"""Whether a whole session fits into the positions that a model was made for."""

from __future__ import annotations

from dataclasses import dataclass

from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.prompts import transcript_block
from editenv.agents.editor.turns import TurnSettings
from editenv.vector import MICEEditVectorEnv

_SESSIONS = 32
_AROUND_INTENT = 2
_PICTURE = 1


@dataclass(frozen=True)
class Room:
    """Rope positions that the last turn of a session takes at most; a picture of any size takes one.

    Attributes:
        turns: of the session.
        past: of earlier pictures and intents, and of the picture shown, where the writer of intents reads
            them.
        transcript: of everything the user said, as long as the longest of some sessions of the world.
        intent: of the turn itself.
    """

    turns: int
    past: int
    transcript: int
    intent: int

    @property
    def needed(self) -> int:
        """In all, of writing the intent or of drawing the picture after it, whichever takes more."""
        drawing = max(self.past, _PICTURE) + self.intent + _AROUND_INTENT + _PICTURE
        return max(self.past + self.transcript + self.intent, drawing)


def room(checkpoint: Checkpoint, envs: MICEEditVectorEnv, settings: TurnSettings) -> Room:
    """What sessions of the environments take, at their full number of turns.

    Args:
        checkpoint: whose words are counted.
        envs: whose world's first sessions are looked at.
        settings: of a turn; each intent counts as long as it may be.
    """
    world, turns = envs.engine.world, envs.engine.world.max_turns
    specs = [world.session(envs.engine.split, 0, index) for index in range(_SESSIONS)]
    longest = 0
    for spec in specs:
        said = [spec.message(turn).text for turn in range(spec.turn_count)]
        length = transcript_block(checkpoint.tokenizer, [said]).ids.shape[1]
        # Whoever does not follow the script may speak more often.
        longest = max(longest, -(-length * turns // len(said)))
    intent = settings.intent_tokens
    past = (turns - 1) * (_PICTURE + intent + _AROUND_INTENT) + _PICTURE if settings.interleaved else 0
    return Room(turns, past, longest, intent)


def check_room(checkpoint: Checkpoint, envs: MICEEditVectorEnv, settings: TurnSettings) -> None:
    """Refuses sessions that outgrow the model, before anything heavy starts; arguments as `room`.

    Raises:
        ValueError: the model has too few positions, which the message counts, or cannot code such pictures.
    """
    size, side = envs.engine.world.image_shape[0], checkpoint.autoencoder.config.token_side
    if size % side:
        raise ValueError(f"size is {size}, expected a multiple of {side}, the pixels that a token codes")
    limit, taken = checkpoint.model.config.max_position_embeddings, room(checkpoint, envs, settings)
    if taken.needed > limit:
        raise ValueError(
            f"{taken.turns} turns in context {settings.context!r} take up to {taken.needed} positions "
            f"({taken.transcript} of the transcript, {taken.past} of earlier pictures and intents, "
            f"{taken.intent} of the intent), but model {checkpoint.name!r} has max_position_embeddings "
            f"{limit}; expected a suite with fewer turns, a smaller max_intent_tokens, context 'current', or "
            "a model with more positions"
        )
