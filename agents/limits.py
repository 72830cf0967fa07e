"""Which numbers the settings of a training may have; a wrong one is refused before anything heavy starts.

Names, and settings that have to fit together, are checked where they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from editenv.agents.edit_r2.experts import TEXT_SCOPES
from editenv.registry import lookup


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`.

    Attributes:
        least, most: bounds.
        above: whether `least` itself is too small.
        none: whether the setting may be left without a value.
    """

    least: float
    most: float = math.inf
    above: bool = False
    none: bool = False

    def holds(self, value: float | None) -> bool:
        """Whether a setting may have this value; NaN is in no range."""
        if value is None:
            return self.none
        return self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        if math.isinf(self.most):
            text = f"above {self.least:g}" if self.above else f"{self.least:g} or more"
        else:
            text = f"{'above ' if self.above else ''}{self.least:g} to {self.most:g}"
        return f"{text}, or null" if self.none else text


_COUNT, _SHARE, _NOT_NEGATIVE, _POSITIVE = Range(1), Range(0, 1), Range(0), Range(0, above=True)

RANGES = {
    **dict.fromkeys(("specs", "iterations", "save_every", "eval_sessions"), _COUNT),
    "rollouts": Range(2),
    **dict.fromkeys(("seed", "eval_every", "image_every", "record_every", "record_mib"), _NOT_NEGATIVE),
    **dict.fromkeys(
        ("algorithm.steps", "algorithm.max_intent_tokens", "algorithm.intent_from_turn", "algorithm.times"),
        _COUNT,
    ),
    **dict.fromkeys(
        (
            "algorithm.text_weight", "algorithm.flow_weight", "algorithm.text_rate", "algorithm.flow_rate",
            "algorithm.text_clip", "algorithm.flow_clip", "algorithm.text_kl", "algorithm.flow_kl",
            "algorithm.text_guidance", "algorithm.image_guidance", "algorithm.temperature",
            "algorithm.lora_rank", "algorithm.noise_level",
        ),
        _NOT_NEGATIVE,
    ),
    **dict.fromkeys(
        (
            "algorithm.shift", "algorithm.max_grad_norm", "algorithm.lora_alpha",
            "algorithm.nft_beta", "algorithm.nft_range",
        ),
        _POSITIVE,
    ),
    "algorithm.filter_threshold": _SHARE,
    "algorithm.sigma_t_max": Range(0, 1, above=True, none=True),
}  # fmt: skip
"""By a setting's name on the command line."""


def check_limits(config: Any) -> None:
    """Refuses numbers that no training can be made with, and trainings that would change no weight.

    Args:
        config: the settings of `editenv train`.

    Raises:
        ValueError: a setting is out of its range; the message has its name as it is written.
    """
    for name, allowed in RANGES.items():
        value = config
        for part in name.split("."):
            value = getattr(value, part)
        if not allowed.holds(value):
            raise ValueError(f"{name} is {value}, expected {allowed}")
    _check_together(config.algorithm)


def _check_together(algorithm: Any) -> None:
    lookup("algorithm.text_scope", algorithm.text_scope, TEXT_SCOPES)
    for of in ("weight", "rate"):
        if not any(getattr(algorithm, f"{part}_{of}") for part in ("text", "flow")):
            raise ValueError(
                f"algorithm.text_{of} and algorithm.flow_{of} are both 0, expected one above 0: nothing "
                "would train"
            )
    if algorithm.window and not algorithm.noise_level:
        raise ValueError(
            f"algorithm.noise_level is 0 with algorithm.window {algorithm.window}, expected above 0: steps "
            "without noise have no density"
        )
    if algorithm.lora_rank and algorithm.text_scope != "expert":
        raise ValueError(
            f"algorithm.text_scope is {algorithm.text_scope!r} with algorithm.lora_rank "
            f"{algorithm.lora_rank}, expected 'expert': adapters take the whole expert"
        )
