"""Instruction following of text_change by reading the picture with RapidOCR, which comes with its models."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from editenv.rewards import require_share, require_whole
from editenv.rewards.judge_context import judge_context
from editenv.rewards.weights import RewardWeights, with_reward
from editenv.types import Image, Scores, TurnResult
from editenv.worlds.records.sentences import take_apart
from editenv.worlds.studio.phrases import LEAVE_ALONE
from editenv.worlds.studio.session import StudioTurn


class OcrScorer:
    """IF of text_change turns: 1 when the wanted text can be read and the one it replaces cannot, else 0.

    Texts are compared without case, blanks and punctuation, in one form of each character, so that line
    breaks do not matter. All other scores, and all scores of other tasks, are None: not applicable. A
    text_change whose sentence cannot be taken apart is not applicable either. `detail["read"]` keeps what
    was read.

    Args:
        world: whose sessions are judged.
        weights: of the reward.
        side: pictures smaller than this, in pixels, are enlarged by a whole factor.
        confidence: lines that the reader is less sure of, 0 to 1, do not count.
        threads: of the reader.
    """

    def __init__(
        self,
        world: Any,
        weights: RewardWeights | None = None,
        *,
        side: int = 512,
        confidence: float = 0.5,
        threads: int = 1,
    ) -> None:
        require_whole("side", side, 1)
        require_whole("threads", threads, 1)
        require_share("confidence", confidence)
        try:
            from rapidocr import RapidOCR
        except ModuleNotFoundError as error:
            missing = f"scorer 'ocr' needs {error.name}: pip install 'editenv[ocr]'"
            raise ModuleNotFoundError(missing, name=error.name) from error
        threading = {"EngineConfig.onnxruntime.intra_op_num_threads": threads}
        self._engine: Any = RapidOCR(params={"Global.log_level": "error", **threading})
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        self.weights = weights or RewardWeights()
        self._side, self._confidence = side, confidence
        self.version = f"ocr 1 rapidocr {version('rapidocr')} side {side} confidence {confidence}"

    def score(self, turns: Sequence[TurnResult]) -> list[Scores]:
        """Scores of turns, in order; only the pictures of text_change turns are read."""
        found = []
        for turn in turns:
            texts, scores = wanted_texts(turn), Scores()
            if texts is not None:
                lines = self.read(turn.after)
                detail = {"read": lines, "wanted": texts[0]}
                scores = with_reward(Scores(float(says(lines, *texts)), detail=detail), self.weights)
            found.append(scores)
        return found

    def read(self, picture: Image) -> list[str]:
        """The lines of text in a picture, uint8 [H, W, 3], from top to bottom."""
        factor = max(1, self._side // max(picture.shape[:2]))
        large = np.repeat(np.repeat(picture, factor, 0), factor, 1)
        # The reader takes its colours as OpenCV has them.
        result = self._engine(np.ascontiguousarray(large[:, :, ::-1]))
        pairs = zip(result.txts or (), result.scores or (), strict=True)
        return [text for text, sure in pairs if sure >= self._confidence]


def wanted_texts(turn: TurnResult) -> tuple[str, str | None] | None:
    """The text that a turn wants to see and the one it wants to be gone.

    None where it is no text_change, or one that a rule forbids.
    """
    meaning = turn.message.meaning
    if isinstance(meaning, StudioTurn):
        text = getattr(meaning.edit, "text", None)
        wanted = meaning.edit.task == "text_change" and meaning.intent != LEAVE_ALONE
        return (text, None) if wanted and isinstance(text, str) else None
    meant = judge_context(turn)
    sentence = take_apart(meant.resolved[-1]) if meant.task == "text_change" else None
    return (sentence.value, sentence.old_text) if sentence and sentence.value else None


def says(lines: Sequence[str], new: str, old: str | None = None) -> bool:
    """Can `new` be read in the lines, and `old` not, unless it is a part of `new`."""
    shown, wanted, gone = _plain("".join(lines)), _plain(new), _plain(old or "")
    return wanted in shown and (not gone or gone in wanted or gone not in shown)


def _plain(text: str) -> str:
    """Letters and digits alone, in one form; the text as it is where it has none."""
    same = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, same)) or "".join(same.split())
