"""What can be set, with types: Hydra refuses any other key or value. The values stand in the YAML files."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from hydra.core.config_store import ConfigStore

from editenv.configs.command import CommandConfig
from editenv.configs.learning import AlgorithmConfig
from editenv.configs.recipes import AutoencoderRecipe, ModelRecipe
from editenv.configs.studies import SuitesConfig, UsersConfig


@dataclass(kw_only=True)
class UserConfig:
    """Who gives the instructions.

    Attributes:
        kind: a name in `editenv.sims.USERS`.
        settings: that user's, by name.
    """

    kind: str
    settings: dict[str, Any]


@dataclass(kw_only=True)
class ScorerConfig:
    """Who judges turns, and when.

    Attributes:
        kind: a name in `editenv.rewards.SCORERS`; None leaves turns unscored.
        settings: that scorer's, by name.
        scoring: "immediate", or "deferred" to let sessions go on while the scorer works.
    """

    kind: str | None
    settings: dict[str, Any]
    scoring: str


@dataclass(kw_only=True)
class IntentFormConfig:
    """How intents are written.

    Attributes:
        name: one in `editenv.worlds.studio.intents.FORMS`.
    """

    name: str


@dataclass(kw_only=True)
class SessionsConfig(CommandConfig):
    """Which sessions are played.

    Attributes:
        suite: name of a suite, such as "mixed", "mice-cm" or "mice-cu".
        split: "train", "validation" or "test".
        sessions_file: JSON Lines in MICE-Bench's format, in place of a suite; None for the suite.
        size: side of a picture in pixels; None for 64, or for the sessions file's own.
        grid: cells a side.
        user: who gives the instructions.
        scorer: who judges turns.
    """

    suite: str
    split: str
    sessions_file: str | None
    size: int | None
    grid: int
    user: UserConfig
    scorer: ScorerConfig

    def env(self) -> dict[str, Any]:
        """The settings of `editenv.build.make_env` that these are."""
        names = ("suite", "split", "sessions_file", "size", "grid")
        named = {name: getattr(self, name) for name in names}
        scorer = self.scorer
        judged = {"scorer": scorer.kind, "scorer_settings": scorer.settings, "scoring": scorer.scoring}
        return named | judged | {"user": self.user.kind, "user_settings": self.user.settings}


@dataclass(kw_only=True)
class PlayConfig(SessionsConfig):
    """Which agent plays, and how.

    Attributes:
        policy: "model", "oracle", "reader", "clumsy", "noop" or "random".
        model: a shipped checkpoint, a run's folder or a checkpoint's; for policy=model, like all below.
        intent: "model" lets it write the intent, "oracle" gives the right one.
        image: "model" lets it generate the picture, "exact" carries the intent out by rules.
        intent_form: in which right intents are given and carried out.
        intent_from_turn: first turn, from 1, at which an intent is written; before it the user's words serve.
        max_intent_tokens: most tokens of an intent, where its form does not need more.
        temperature: of the intent's tokens; 0 takes the likeliest.
        steps: steps of the flow from noise to picture.
        shift: of the flow's time grid.
        context: "current", or "interleaved" to read all earlier pictures and intents.
        text_guidance, image_guidance: scales of the pictures' guidance; 1 is off.
        threads: of torch; None leaves them as they are, but for no more than there are cores.
    """

    policy: str
    model: str
    intent: str
    image: str
    intent_form: IntentFormConfig
    intent_from_turn: int
    max_intent_tokens: int
    temperature: float
    steps: int
    shift: float
    context: str
    text_guidance: float
    image_guidance: float
    threads: int | None


@dataclass(kw_only=True)
class EvaluateConfig(PlayConfig):
    """Settings of `editenv evaluate`.

    Attributes:
        sessions: how many, from session 0 on; None for 256, or for all of a sessions file.
        num_envs: sessions side by side.
        filmstrip: sessions that the picture shows.
    """

    sessions: int | None
    num_envs: int
    filmstrip: int


@dataclass(kw_only=True)
class ShowConfig(PlayConfig):
    """Settings of `editenv show`.

    Attributes:
        session: number of the session; with `run`, its place in the iteration, from 0.
        run: a training's folder, one of whose recorded rollouts is shown; None to play a session now.
        iteration: of that run.
        rollout: which of the session's rollouts in that iteration, from 0.
    """

    session: int
    run: str | None
    iteration: int | None
    rollout: int


@dataclass(kw_only=True)
class ExportConfig(CommandConfig):
    """Settings of `editenv export`.

    Attributes:
        suite, split, size, grid: of the sessions.
        sessions: how many, from session 0 on.
    """

    suite: str
    split: str
    size: int
    grid: int
    sessions: int


@dataclass(kw_only=True)
class TrainConfig(SessionsConfig):
    """Settings of `editenv train`; the same command goes on from the last checkpoint in `out`.

    Attributes:
        model: where to start: a shipped checkpoint, a run's folder or a checkpoint's.
        intent_form: the one that the model was taught; objectives that imitate teach it.
        iterations: rollouts and updates.
        specs: sessions an iteration.
        rollouts: times each is played, G.
        save_every: iterations between checkpoints.
        eval_every: iterations between evaluations on validation sessions; 0 for none.
        eval_sessions: sessions of such an evaluation.
        eval_scorer: who judges them; None for `residual`, or `exact` where training uses `residual`, or
            training's own scorer where that is no studio scorer.
        image_every: iterations between filmstrips of rollouts; 0 for none.
        record_every: iterations between records of all rollouts; 0 for none.
        record_mib: most MiB that a run's records take; the oldest ones go.
        report_to: trackers, as transformers names them: "tensorboard", "wandb", ...
        threads: of torch; None leaves them as they are, but for no more than there are cores.
        algorithm: the update and its rollouts.
    """

    model: str
    intent_form: IntentFormConfig
    iterations: int
    specs: int
    rollouts: int
    save_every: int
    eval_every: int
    eval_sessions: int
    eval_scorer: ScorerConfig | None = None
    image_every: int
    record_every: int
    record_mib: int
    report_to: list[str]
    threads: int | None
    algorithm: AlgorithmConfig


@dataclass(kw_only=True)
class AuditConfig(CommandConfig):
    """Settings of `editenv audit`.

    Attributes:
        algorithm: the update and its rollouts that are audited.
        trainer: "MODULE:FUNCTION" that returns another trainer's `Auditable`; None for this package's own.
        checks: which ones; None for all.
    """

    algorithm: AlgorithmConfig
    trainer: str | None
    checks: list[str] | None


@dataclass(kw_only=True)
class DemoConfig(CommandConfig):
    """Settings of `editenv demo`.

    Attributes:
        model: where training starts.
        sessions: test sessions, the same ones before and after.
        exported: test sessions written to files and played from them in the end; 0 for none.
        num_envs: sessions side by side in evaluations.
        filmstrip: sessions that `before_after.png` shows.
        train: those of `editenv train experiment=demo`; seed, model and threads are the demo's.
        threads: of torch; None leaves them as they are, but for no more than there are cores.
    """

    model: str
    sessions: int
    exported: int
    num_envs: int
    filmstrip: int
    train: TrainConfig
    threads: int | None


@dataclass(kw_only=True)
class PretrainConfig(CommandConfig):
    """Settings of `editenv pretrain`.

    Attributes:
        recipe: an AutoencoderRecipe or a ModelRecipe.
        threads: of torch; None leaves them as they are, but for no more than there are cores.
    """

    recipe: Any
    threads: int | None


COMMANDS: dict[str, type[CommandConfig]] = {
    "evaluate": EvaluateConfig,
    "show": ShowConfig,
    "export": ExportConfig,
    "users": UsersConfig,
    "suites": SuitesConfig,
    "train": TrainConfig,
    "audit": AuditConfig,
    "demo": DemoConfig,
    "pretrain": PretrainConfig,
}
"""The settings of each command, by its name, which is also that of its YAML file."""


GROUPS: dict[str, type] = {
    "algorithm": AlgorithmConfig,
    "user": UserConfig,
    "scorer": ScorerConfig,
    "intent_form": IntentFormConfig,
}
"""The settings that a file of a group holds."""


def register() -> None:
    """Makes the schemas known to Hydra; calling it again changes nothing."""
    store = ConfigStore.instance()
    for name, schema in COMMANDS.items():
        store.store(name=f"{name}_schema", node=schema)
    for group, part in GROUPS.items():
        store.store(group=group, name=f"{group}_schema", node=part)
    store.store(group="recipe", name="autoencoder_schema", node=AutoencoderRecipe)
    store.store(group="recipe", name="model_schema", node=ModelRecipe)


def setting_names(schema: type[CommandConfig]) -> list[str]:
    """All that can be set by a command, as it is written on the command line: "seed", "algorithm.steps"."""
    return _names(schema, "")


def _names(schema: Any, prefix: str) -> list[str]:
    kinds = get_type_hints(schema)
    names = []
    for field in fields(schema):
        name = prefix + field.name
        names.append(name)
        # A part that may be left out has None beside its class.
        for kind in (kinds[field.name], *get_args(kinds[field.name])):
            if is_dataclass(kind):
                names += _names(kind, f"{name}.")
    return names
