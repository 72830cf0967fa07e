"""What a training looks at while it runs: held-out scores, the best weights, filmstrips and records."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from editenv.agents.atomic import write_whole
from editenv.agents.edit_r2.faults import SAVE_ERRORS, warn_of_unscored
from editenv.agents.edit_r2.metrics import turn_means
from editenv.agents.edit_r2.rollout import Rollout
from editenv.agents.edit_r2.watched import Judged
from editenv.agents.editor.checkpoint import Checkpoint, save_checkpoint
from editenv.agents.editor.policy import model_policy
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.play import play
from editenv.agents.training_records import write_rollouts
from editenv.agents.unified import UnifiedModel
from editenv.agents.watching.best import FOLDER, read_best, write_best
from editenv.agents.watching.drift import drifting
from editenv.agents.watching.heldout import (
    Evaluation,
    evaluation,
    failed_evaluation,
    read_evaluations,
    series,
    write_evaluations,
)
from editenv.agents.watching.trackers import Trackers
from editenv.build import make_vector_env
from editenv.configs.schema import ScorerConfig, TrainConfig
from editenv.protocols import Policy
from editenv.vector import MICEEditVectorEnv
from editenv.viewer import filmstrip

_SECOND = {"exact": "residual", "residual": "exact", "imperfect": "residual"}
"""Who judges held-out sessions where nothing else is asked for, by training's scorer."""

_STRIPS = 4


@dataclass(frozen=True)
class Candidate:
    """What is evaluated, and kept if it is the best so far.

    Attributes:
        policy: plays held-out sessions.
        save: writes the weights that the policy plays with into a folder.
    """

    policy: Policy[Any]
    save: Callable[[Path], None]


def candidate(checkpoint: Checkpoint, turn: TurnSettings, model: UnifiedModel) -> Candidate:
    """A checkpoint with other weights, which writes its likeliest intents."""
    trained = replace(checkpoint, model=model)
    return Candidate(model_policy(trained, replace(turn, temperature=0.0)), partial(save_checkpoint, trained))


class Watcher:
    """Evaluates, draws and records every so many iterations; the run learns what it would without.

    Args:
        config: says how often and on what.
        candidate_of: the candidate that a model as it is now makes.
        envs: of the held-out sessions, from `held_out_envs`; None where there are no evaluations.
    """

    def __init__(
        self, config: TrainConfig, candidate_of: Callable[[Any], Candidate], envs: MICEEditVectorEnv | None
    ) -> None:
        self.config, self.candidate_of, self.envs = config, candidate_of, envs
        self.out = Path(config.out)
        self.trackers = Trackers()
        self._past: list[Evaluation] | None = None

    def __call__(
        self,
        iteration: int,
        rollout: Rollout,
        paid: Mapping[str, Tensor],
        trained: Callable[[], Any],
        everyones: Sequence[Judged],
    ) -> dict[str, float]:
        """Looks at an iteration before its update.

        Args:
            iteration: its number.
            rollout: what this process played.
            paid: `advantage`, `keep` and `valid`, each [S, K], of the same.
            trained: gives the model as it is now.
            everyones: the sessions of all processes.

        Returns:
            Held-out means under "held_out/NAME/K" in the iterations that evaluate, or `held_out_failed` 1.0
            where that could not be done, else nothing.
        """
        config = self.config
        if _due(iteration, config.image_every):
            _unless_full("the filmstrip", partial(self._draw, iteration, rollout))
        if _due(iteration, config.record_every):
            most = config.record_mib << 20
            _unless_full("the record", partial(write_rollouts, self.out, iteration, rollout, paid, most))
        if not _due(iteration, config.eval_every):
            return {}
        return self._evaluate(iteration, everyones, trained(), "held_out/")

    def last(self, iteration: int, trained: Callable[[], Any]) -> dict[str, float]:
        """Evaluates what the last update left, under "last_held_out/NAME/K"; nothing without evaluations."""
        if not self.config.eval_every:
            return {}
        return self._evaluate(iteration, (), trained(), "last_held_out/")

    def summary(self) -> dict[str, Any]:
        """What a run's summary says: who judged, the best weights' facts and all warnings."""
        past = self._evaluations() if self.config.eval_every else []
        if self._past:
            # Once more, where the disk was full at the last evaluation.
            _unless_full("held-out evaluations", partial(write_evaluations, past, self.out))
        return {
            "eval_scorer": past[-1].scorer if past else None,
            "best": read_best(self.out) if past else None,
            "warnings": [look.warning for look in past if look.warning],
        }

    def _evaluations(self) -> list[Evaluation]:
        """All evaluations so far, which a full disk may have kept from the file."""
        return read_evaluations(self.out) if self._past is None else self._past

    def _evaluate(
        self, iteration: int, rollout: Sequence[Judged], model: Any, prefix: str
    ) -> dict[str, float]:
        assert self.envs is not None
        # A run that was killed evaluates again what it had evaluated after its last checkpoint.
        past = [look for look in self._evaluations() if look.iteration < iteration]
        try:
            candidate = self.candidate_of(model)
            played = play(self.envs, candidate.policy, range(self.config.eval_sessions), self.config.seed)
        except Exception as error:
            look, numbers = self._failed(iteration, rollout, error), {"held_out_failed": 1.0}
        else:
            warn_of_unscored(iteration, played, "held-out ")
            look, numbers = evaluation(iteration, played, rollout), turn_means(played, prefix)
            look = replace(look, warning=self._warned(past, look))
            rivals = [other for other in past if other.comparable(look)]
            if look.global_awareness and all(look.rank > other.rank for other in rivals):
                facts = asdict(look) | {"trained_with": self.config.scorer.kind, "seed": self.config.seed}
                _unless_full("the best weights", partial(write_best, candidate.save, facts, self.out))
        self._past = [*past, look]
        _unless_full("held-out evaluations", partial(write_evaluations, self._past, self.out))
        return numbers

    def _failed(self, iteration: int, rollout: Sequence[Judged], error: Exception) -> Evaluation:
        """Says that there are no held-out scores this time, which costs no more than them."""
        assert self.envs is not None
        judge = str(self.envs.engine.versions()["scorer"])
        look = failed_evaluation(iteration, judge, self.config.eval_sessions, rollout, error)
        text = (
            f"iteration {iteration}: held-out sessions could not be evaluated ({look.error}); the run goes on"
        )
        warnings.warn(text, stacklevel=2)
        self.trackers.say("warning", text, iteration)
        return look

    def _warned(self, past: list[Evaluation], look: Evaluation) -> str | None:
        """Warns in words, once a run, where reward rises and held-out scores fall."""
        rivals = [other for other in past if other.comparable(look)]
        trends = drifting(*series([*rivals, look]))
        if trends is None or any(other.warning for other in past):
            return None
        rising, falling = trends
        text = (
            f"iteration {look.iteration}: the reward that training's scorer ({self.config.scorer.kind}) pays "
            f"rose by {rising.change:.2f} (standard error {rising.error:.2f}) over the last evaluations, "
            f"while held-out GA of the last turn, judged by {look.scorer}, fell by {-falling.change:.2f} "
            f"({falling.error:.2f}): the model may be learning to please its scorer; the best weights so far "
            f"are in {self.out / FOLDER}"
        )
        warnings.warn(text, stacklevel=2)
        self.trackers.say("warning", text, look.iteration)
        return text

    def _draw(self, iteration: int, rollout: Rollout) -> None:
        folder = self.out / "images"
        folder.mkdir(parents=True, exist_ok=True)
        shown = rollout.sessions[:: self.config.rollouts][:_STRIPS]
        picture = filmstrip(shown)
        write_whole(
            folder / f"iteration_{iteration:05d}.png",
            lambda path: Image.fromarray(picture).save(path, format="PNG"),
        )
        self.trackers.show("sessions", picture, iteration)


def held_out_envs(config: TrainConfig) -> MICEEditVectorEnv | None:
    """Validation sessions, or those of the file, judged by `held_out_scorer`; None without evaluations.

    Raises:
        ValueError: the held-out scorer cannot judge these sessions.
    """
    if not config.eval_every:
        return None
    scorer = held_out_scorer(config)
    judge = {"scorer": scorer.kind, "scorer_settings": scorer.settings, "scoring": scorer.scoring}
    settings = config.env() | judge | ({} if config.sessions_file else {"split": "validation"})
    count = min(config.eval_sessions, 256)
    envs = make_vector_env(num_envs=count, autoreset_mode="Disabled", **settings)
    if envs.engine.scorer is None:
        raise ValueError(
            f"eval_scorer is {scorer.kind!r}, which judges no held-out session: expected another"
        )
    return envs


def held_out_scorer(config: TrainConfig) -> ScorerConfig:
    """The scorer of `eval_scorer`, else the second exact one where training uses an exact one.

    A scorer that training itself uses is warned of: it cannot see what training learns to hide from it.
    """
    own, asked = config.scorer, config.eval_scorer
    if asked is None and own.kind in _SECOND:
        return ScorerConfig(kind=_SECOND[own.kind], settings={}, scoring="immediate")
    judge = own if asked is None else asked
    if (judge.kind, judge.settings) == (own.kind, own.settings):
        warnings.warn(
            f"held-out sessions are judged by training's own scorer ({own.kind}), which does not see what "
            "training learns to hide from it; scorer@eval_scorer=NAME chooses another",
            stacklevel=2,
        )
    return judge


def _due(iteration: int, every: int) -> bool:
    return bool(every) and iteration % every == 0


def _unless_full(what: str, write: Callable[[], Any]) -> None:
    """Writes, or says that it could not be written: a full disk does not end a run."""
    try:
        write()
    except SAVE_ERRORS as error:
        warnings.warn(f"{what} could not be written: {type(error).__name__}: {error}", stacklevel=2)
