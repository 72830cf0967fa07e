"""Every setting of every command, declared once.

Hydra's schema, `--help`, docs and checks read these classes. A class's docstring is what
`editenv COMMAND --help` prints. The YAML files beside this module hold only what differs from the defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from importlib.resources import files
from typing import Any

from editenv.agents.settings import AlgorithmSettings, GenerationSettings
from editenv.registry import unknown
from editenv.settings import setting

SPLITS = ("train", "validation", "test")


def _stems(package: str, folder: str) -> list[str]:
    """Names of the YAML files in a folder of the package, which is not imported."""
    place = files("editenv").joinpath(package, folder)
    return sorted(path.name.removesuffix(".yaml") for path in place.iterdir() if path.name.endswith(".yaml"))


def suites() -> list[str]:
    """Names of the suites that come with the studio world."""
    return _stems("worlds", "studio/suites")


def options(group: str) -> list[str]:
    """Names of the files of a group of settings."""
    return _stems("configs", group)


@dataclass(kw_only=True)
class UserConfig:
    """Who gives the instructions."""

    kind: str = setting("replay", "a name in editenv.sims.USERS, or package.module:Class")
    settings: dict[str, Any] = setting(help="that user's, by name", default_factory=dict)


@dataclass(kw_only=True)
class ScorerConfig:
    """Who judges turns, and when."""

    kind: str | None = setting("exact", "a name in editenv.rewards.SCORERS, or package.module:Class; null for none")
    settings: dict[str, Any] = setting(help="that scorer's, by name", default_factory=dict)
    scoring: str = setting(
        "immediate", "deferred lets sessions go on while the scorer works", choices=("immediate", "deferred")
    )


@dataclass(kw_only=True)
class CommandConfig:
    """What every command has."""

    seed: int = setting(0, "of everything drawn at random", ge=0)
    out: str = setting(MISSING, "folder for all that is written; below runs/, named for the command, if left out")


@dataclass(kw_only=True)
class JudgedConfig(CommandConfig):
    """Who speaks, who judges, and what that pays."""

    user: UserConfig = setting(help="who gives the instructions", group="user", default_factory=UserConfig)
    scorer: ScorerConfig = setting(help="who judges turns", group="scorer", default_factory=ScorerConfig)
    reward_weights: dict[str, float] = setting(
        help="weight by score name, such as {rule_kept: 1}; none for 0.3 IF + 0.3 CC + 0.4 GA", default_factory=dict
    )

    def check_judged(self) -> None:
        """Raises ValueError where no scorer is chosen, which a training cannot do without."""
        if self.scorer.kind is None:
            raise ValueError("scorer is none, expected one that judges, such as scorer=exact: nobody would pay")


@dataclass(kw_only=True)
class SessionsConfig(JudgedConfig):
    """Which sessions are played."""

    world: str = setting("studio", "where sessions come from; a name or package.module:Class")
    suite: str = setting("mixed", "which sessions; a name or a YAML file", names=suites)
    split: str = setting("test", "of which split", choices=SPLITS)
    sessions_file: str | None = setting(None, "JSON Lines in MICE-Bench's format, in place of a suite")
    size: int | None = setting(None, "side of a picture in pixels; null for 64, or for the sessions file's own", ge=1)
    fit: str = setting(
        "letterbox",
        "how a sessions file's photographs fit the size; squash as MICE-Bench",
        choices=("letterbox", "squash"),
    )
    grid: int = setting(4, "cells a side", ge=1)

    def env(self) -> dict[str, Any]:
        """The settings of `editenv.build.make_env` that these are."""
        names = ("world", "suite", "split", "sessions_file", "size", "fit", "grid")
        named = {name: getattr(self, name) for name in names} | {"reward_weights": self.reward_weights or None}
        scorer = self.scorer
        judged = {"scorer": scorer.kind, "scorer_settings": scorer.settings, "scoring": scorer.scoring}
        return named | judged | {"user": self.user.kind, "user_settings": self.user.settings}


@dataclass(kw_only=True)
class PlayConfig(GenerationSettings, SessionsConfig):
    """Which agent plays, and how."""

    policy: str = setting(
        "model",
        "who plays; a name or package.module:Class, called with the vector environment",
        names=lambda: ("model", "diffusers", "endpoint", "folder", "oracle", "reader", "clumsy", "noop", "random"),
    )
    policy_settings: dict[str, Any] = setting(
        help="keyword arguments of the policy's class, by name", default_factory=dict
    )
    model: str = setting(
        "practice",
        "with policy=model: practice, base, a training's or checkpoint's folder; policy=diffusers: a pipeline's",
    )
    intent: str = setting(
        "model",
        "who writes the intents: oracle gives the right ones, instructions the user's last words, concatenated all",
        choices=("model", "oracle", "instructions", "concatenated"),
    )
    image: str = setting("model", "who carries them out; exact does so by rules", choices=("model", "exact"))
    intent_form: str = setting(
        "free", "in which form right intents are given and carried out", choices=("free", "rules", "structured")
    )
    temperature: float = setting(0.0, "of the intent's tokens; 0 takes the likeliest", ge=0)
    steps: int = setting(8, "steps of the flow from noise to image", ge=1)
    threads: int | None = setting(None, "of torch; null for no more than there are cores", ge=1)


@dataclass(kw_only=True)
class EvaluateConfig(PlayConfig):
    """Play sessions with a policy and report each turn's scores.

    Prints a table of IF, CC, GA, reward and rule_kept a turn with 95% bootstrap intervals.
    Writes summary.json, scores.jsonl (a line a session, for pairing) and filmstrip.png; with save_images
    records/ holds the sessions with their pictures. The same command goes on after a kill.

    Examples:
      editenv evaluate policy=oracle suite=mixed sessions=64
          what the best agent reaches
      editenv evaluate policy=noop sessions_file=runs/export/sessions.jsonl
          sessions from files
      editenv evaluate model=practice save_images=true out=runs/night
          keeps what was played, to be looked at and scored again
    """

    sessions: int | None = setting(
        None, "how many, from session 0 of the seed on; null for 256, or for all of a sessions file", ge=1
    )
    num_envs: int = setting(256, "sessions side by side", ge=1)
    attempt: int = setting(0, "another number has other noise in the same sessions", ge=0)
    save_images: bool = setting(False, "keep what was played in records/: show, score and sessions_file= read it")
    filmstrip: int = setting(4, "sessions of the first wave that filmstrip.png shows", ge=0)
    max_unscored: float = setting(
        0.05, "share of turns that may stay without a score; above it the exit status is 1", ge=0, le=1
    )


@dataclass(kw_only=True)
class ScoreConfig(JudgedConfig):
    """Score recorded sessions again, without playing.

    Writes the summary.json and scores.jsonl that an evaluation with this scorer would have written. Sessions come from
    an evaluation (save_images=true), an environment (record_to=) or another program that writes this format. The same
    command goes on after a kill.

    Examples:
      editenv score runs/night scorer=residual
          a second opinion on an evaluation
      editenv score runs/night scorer=judge scorer.settings.endpoint.model=Qwen/Qwen3-VL-8B-Instruct
          that of a vision-language model
      editenv score played user=terse
          sessions of a user who reacts
    """

    records: str | None = setting(None, "folder with sessions.jsonl, or of an evaluation; may be the first word")
    world: str | None = setting(None, "where the sessions are from; null for what the records say")
    suite: str | None = setting(
        None, "a suite's YAML file with tasks and rules of one's own, where sessions have these"
    )
    batch: int = setting(64, "sessions scored side by side and kept at once", ge=1)
    max_unscored: float = setting(
        0.05, "share of turns that may stay without a score; above it the exit status is 1", ge=0, le=1
    )


@dataclass(kw_only=True)
class JudgeConfig(ScoreConfig):
    """Check a judge before its scores are believed.

    Asks the server at once what a turn asks, with its pictures. Then scores kept sessions (RECORDS, as `score` takes
    them; without any it plays some of the studio, half right) with the judge, once more with other seeds, with another
    judge where one is given, and of studio sessions with the exact scorers. Prints and writes to judge.json: agreement
    (Krippendorff's alpha, verdicts by task) and the variance between repeats. The same command goes on after a kill.

    Examples:
      editenv judge check server=vllm scorer.settings.endpoint.model=Qwen/Qwen3-VL-8B-Instruct
          does it answer, and how often is it right about the studio
      editenv judge check runs/a scorer.settings.endpoint.model=A scorer@other=judge other.settings.endpoint.model=B
          how far two judges agree on sessions of yours
      editenv judge check runs/night repeats=5 scorer.settings.endpoint.model=A
          how steady it is
    """

    other: ScorerConfig | None = setting(None, "another judge, to compare with", group="scorer")
    repeats: int = setting(2, "times that the judge is asked about everything, each with seeds of its own", ge=1)
    sessions: int = setting(32, "of the studio, played where no records are given", ge=1)


@dataclass(kw_only=True)
class ShowConfig(PlayConfig):
    """Play one seeded session and look at it, or look at a rollout of a training.

    Prints what was said, meant and scored in each turn, and writes the session's filmstrip.png.
    With a folder as its first word it shows a session that was recorded: of an evaluation (save_images=true),
    or a rollout of a training (train record_every=10) with each turn's advantage, and whether it trained the model.

    Examples:
      editenv show policy=oracle session=3
          session 3 of seed 0, done right
      editenv show model=practice suite=mice-cu seed=1
          the model and its pronouns; image=exact carries its intents out
      editenv show runs/try iteration=20 session=2 rollout=5
          the third session of iteration 20, its sixth rollout
    """

    session: int = setting(0, "which session; with RUN its place in the iteration, from 0", ge=0)
    run: str | None = setting(None, "an evaluation's, a training's or a records' folder; may be the first word")
    iteration: int | None = setting(None, "with RUN: of which iteration", ge=0)
    rollout: int = setting(0, "with RUN: which of the session's rollouts, from 0", ge=0)


@dataclass(kw_only=True)
class ExportConfig(CommandConfig):
    """Write sessions to files in MICE-Bench's format.

    Writes sessions.jsonl and a folder of PNG pictures, to be played by `sessions_file=` or by other programs.
    The key "editenv" of each line holds the exact meaning, so that such sessions are scored exactly.

    Examples:
      editenv export suite=mixed sessions=64 out=runs/export
          64 test sessions
      editenv export suite=mice-cm split=train seed=1 sessions=1000
          training material
      editenv export sessions_file=runs/night/records/sessions.jsonl
          what was played, without how it went
    """

    suite: str = setting("mixed", "which sessions; a name or a YAML file", names=suites)
    split: str = setting("test", "of which split", choices=SPLITS)
    size: int = setting(64, "side of a picture in pixels", ge=1)
    grid: int = setting(4, "cells a side", ge=1)
    sessions_file: str | None = setting(None, "records or another sessions file, in place of a suite")
    sessions: int | None = setting(None, "how many, from session 0 on; null for 64, or for all of a file", ge=1)


@dataclass(kw_only=True)
class TrainConfig(SessionsConfig):
    """Improve a model by reinforcement learning on editing sessions.

    Plays sessions with the model, scores every turn, and updates intents and images together (Edit-R2).
    Writes checkpoints, learning curves, image grids, records of rollouts and summary.json; `best` holds the
    weights that held-out sessions liked best. The same command goes on from the last checkpoint in `out`.
    agent=ppo, a2c or maskable_ppo trains an agent of Stable-Baselines3 (`editenv train agent=ppo --help`), agent=trl
    a language model that calls tools.

    Examples:
      editenv train experiment=demo seed=1 out=runs/try
          what `make demo` trains
      editenv train model=base algorithm=text_only iterations=30
          intents alone, from the other checkpoint
      editenv train experiment=demo -m seed=0,1,2
          three seeds, each in a folder of its own
    """

    split: str = setting("train", "of which split", choices=SPLITS)
    model: str = setting("practice", "where to start: practice, base, a training's or a checkpoint's folder")
    intent_form: str = setting(
        "free", "of the intents; what the model was taught", choices=("free", "rules", "structured")
    )
    iterations: int = setting(60, "rollouts and updates", ge=1)
    max_seconds: float | None = setting(None, "of training, after which no iteration begins; null for no end", gt=0)
    groups: int = setting(16, "session scripts an iteration", ge=1)
    group_size: int = setting(6, "sessions of each, G", ge=2)
    sessions: int | None = setting(
        None, "scripts in all, played over and over in new orders; null for new ones in every iteration", ge=1
    )
    save_every: int = setting(20, "iterations between checkpoints", ge=1)
    eval_every: int = setting(20, "iterations between evaluations on validation sessions; 0 for none", ge=0)
    eval_sessions: int = setting(256, "sessions of such an evaluation", ge=1)
    eval_scorer: ScorerConfig | None = setting(
        None,
        "who judges held-out sessions; null for residual, or exact where training uses residual, or "
        "training's own scorer where that is no studio scorer",
        group="scorer",
    )
    image_every: int = setting(20, "iterations between filmstrips of rollouts; 0 for none", ge=0)
    record_every: int = setting(10, "iterations between records of all rollouts; 0 for none", ge=0)
    record_mib: int = setting(256, "most MiB that a run's records take; the oldest go", ge=0)
    report_to: list[str] = setting(help="trackers, such as tensorboard, wandb", default_factory=list)
    threads: int | None = setting(None, "of torch; null for no more than there are cores", ge=1)
    algorithm: AlgorithmSettings = setting(help="the update and its rollouts", group="algorithm")


SB3_AGENTS, TRL_AGENTS = ("ppo", "a2c", "maskable_ppo"), ("trl",)
AGENTS = {"edit_r2": "train", **dict.fromkeys(SB3_AGENTS, "train_sb3"), **dict.fromkeys(TRL_AGENTS, "train_trl")}
"""Who may be trained, and the name in COMMANDS of the settings."""


@dataclass(kw_only=True)
class TrainSB3Config(SessionsConfig):
    """Train an agent of Stable-Baselines3, which answers with editing operations (MICEEditTools-v0).

    Clones the oracle where asked to, then learns from the sessions that it plays: PPO, A2C or MaskablePPO.
    Writes checkpoints, model.zip for Stable-Baselines3's own `load`, evaluations, logs and summary.json; the same
    command goes on from the newest checkpoint in `out`, and `editenv evaluate policy=OUT` plays what was learnt.

    Examples:
      editenv train agent=maskable_ppo suite=mixed clone=12000 steps=100000 out=runs/sb3
          what the oracle does, then what is paid
      editenv train agent=ppo suite=tasks steps=20000 seed=1 out=runs/ppo
          from nothing
      editenv train agent=a2c,ppo -m seed=0,1,2 steps=20000
          six runs, each in a folder of its own
    """

    agent: str = setting(MISSING, "who learns; without it Edit-R2 does (`editenv train --help`)", choices=SB3_AGENTS)
    split: str = setting("train", "of which split", choices=SPLITS)
    steps: int = setting(100_000, "turns played, in all; whole rollouts of n_steps * num_envs", ge=1)
    max_seconds: float | None = setting(None, "after which a run ends, cloning included; null for no bound", gt=0)
    num_envs: int = setting(16, "sessions side by side", ge=1)
    draw_ahead: bool = setting(True, "whether another process draws sessions while these are played")
    tokens: int = setting(32, "words of a sentence that the agent reads", ge=1)
    # Cloning the oracle.
    clone: int = setting(0, "sessions of the oracle that are cloned before anything else; 0 for none", ge=0)
    clone_epochs: int = setting(8, "times that each of its turns is learnt", ge=1)
    clone_batch: int = setting(128, "turns a step of cloning", ge=1)
    clone_rate: float = setting(2e-3, "peak learning rate of cloning", gt=0)
    # The network.
    width: int = setting(64, "of a token; a multiple of 4", ge=4)
    text_layers: int = setting(1, "of attention among words", ge=0)
    layers: int = setting(2, "of attention of cells to words and each other", ge=1)
    # Stable-Baselines3's own, under its names.
    learning_rate: float = setting(3e-4, "of Adam (ppo, maskable_ppo) or RMSprop (a2c)", gt=0)
    n_steps: int = setting(64, "turns a rollout, in each of num_envs", ge=1)
    batch_size: int = setting(256, "turns a step of the optimiser; not of a2c, which takes whole rollouts", ge=2)
    n_epochs: int = setting(4, "times that a rollout is learnt; not of a2c", ge=1)
    clip_range: float = setting(0.2, "half width of the ratio's clip range; not of a2c", gt=0)
    target_kl: float | None = setting(None, "KL at which a rollout's updates stop; null for none; not of a2c", gt=0)
    gamma: float = setting(0.9, "discount of later turns' rewards", ge=0, le=1)
    gae_lambda: float = setting(0.95, "of the advantages (GAE)", ge=0, le=1)
    ent_coef: float = setting(0.0, "weight of the entropy", ge=0)
    vf_coef: float = setting(0.5, "weight of the value's loss", ge=0)
    max_grad_norm: float = setting(0.5, "largest gradient norm", gt=0)
    # Beside learning.
    save_every: int = setting(10_000, "turns between checkpoints", ge=1)
    eval_every: int = setting(10_000, "turns between evaluations on validation sessions; 0 for none", ge=0)
    eval_sessions: int = setting(128, "sessions of such an evaluation, always the same", ge=1)
    tensorboard: bool = setting(False, "whether logs also go to OUT/tensorboard")
    callbacks: list[str] = setting(
        help="further callbacks: package.module:Name, called without arguments", default_factory=list
    )
    threads: int | None = setting(None, "of torch; null for no more than there are cores", ge=1)


@dataclass(kw_only=True)
class TrainTRLConfig(SessionsConfig):
    """Train a language model that edits by calling tools, with TRL's GRPO.

    Learns the oracle's tool calls where asked to (a model that calls no tool earns nothing from which to learn), then
    from the sessions that it plays. Writes checkpoints, the model (save_pretrained) and summary.json; the same command
    goes on from the newest checkpoint in `out`, and `editenv evaluate policy=OUT` plays what was learnt.

    Examples:
      editenv train agent=trl model=Qwen/Qwen3-0.6B suite=mixed clone=512 steps=200 out=runs/tools
          what the oracle calls, then what is paid
      editenv train agent=trl model=Qwen/Qwen2.5-VL-3B-Instruct pictures=true 'grpo={use_vllm: true}'
          a model that sees the pictures; every setting of GRPOConfig by its name
      editenv train agent=trl model=models/small.gguf suite=tasks steps=0 clone=2000 out=runs/cloned
          the oracle's calls alone
    """

    agent: str = setting(MISSING, "trl", choices=TRL_AGENTS)
    model: str = setting(MISSING, "a folder or a name of the Hugging Face hub, or a GGUF file")
    split: str = setting("train", "of which split", choices=SPLITS)
    pictures: bool = setting(False, "show pictures, to a model that reads them; else they are told in words")
    tools: list[str] | None = setting(None, "names of the tools that are offered; null for all")
    tries: int = setting(3, "wrong calls that end a turn, the picture as it was", ge=1)
    reward: str = setting("mean", "of the turns' rewards; unplayed turns count as 0", choices=("mean", "sum"))
    dtype: str = setting("float32", "of the weights", choices=("float32", "bfloat16"))
    # Learning the oracle's calls.
    clone: int = setting(0, "sessions of the oracle that are learnt before anything else; 0 for none", ge=0)
    clone_epochs: int = setting(2, "times that each of them is learnt", ge=1)
    clone_batch: int = setting(8, "sessions a step of it", ge=1)
    clone_rate: float = setting(1e-4, "its peak learning rate", gt=0)
    # GRPO.
    steps: int = setting(100, "steps of the optimiser, one a batch of rollouts", ge=0)
    groups: int = setting(4, "sessions a step, on each process", ge=1)
    group_size: int = setting(8, "rollouts of each of them", ge=2)
    learning_rate: float = setting(1e-5, "of AdamW", gt=0)
    temperature: float = setting(1.0, "of the tokens of rollouts", gt=0)
    max_completion_length: int = setting(2048, "tokens of a session's calls and answers, after the first prompt", ge=1)
    grpo: dict[str, Any] = setting(help="further settings of TRL's GRPOConfig, by name", default_factory=dict)
    # Beside learning.
    max_seconds: float | None = setting(None, "after which a run ends, cloning included; null for no bound", gt=0)
    save_every: int = setting(20, "steps between checkpoints", ge=1)
    threads: int | None = setting(None, "of torch; null for no more than there are cores", ge=1)


@dataclass(kw_only=True)
class AuditConfig(CommandConfig):
    """Check a trainer's mathematics on a policy that is known in closed form.

    Runs a linear velocity on a Gaussian and a bigram text model through the real rollout, loss and
    training loop, and compares ratios, densities, marginals, gradients, distances, advantages, filter,
    seeds and resume with closed forms. Prints a table, or JSON with --json, writes audit.json; exit status 1
    where a check fails.

    Examples:
      editenv audit seed=1
          this package's trainer, with its default algorithm
      editenv audit algorithm=flow_only algorithm.sampler=cps algorithm.sigma_t_max=null
          another algorithm
      editenv audit 'checks=[window,gradient]' --json
          two checks, for a script
    """

    out: str = setting("runs/audit", "folder of audit.json")
    algorithm: AlgorithmSettings = setting(help="the update and its rollouts", group="algorithm")
    trainer: str | None = setting(None, "somebody else's, package.module:function, through an adapter (docs/audit.md)")
    checks: list[str] | None = setting(None, "which ones; null for all")
    json: bool = setting(False, "print JSON in place of the table; --json for short")


@dataclass(kw_only=True)
class DemoConfig(CommandConfig):
    """Evaluate, train, evaluate again: the whole path in minutes.

    Plays held-out sessions with a base checkpoint, trains it, plays the same sessions with the same noise
    again, prints both tables side by side, and plays sessions from files. Writes summary.json,
    curves.png, before_after.png.

    Examples:
      editenv demo out=runs/demo
          what `make demo` does
      editenv demo seed=1 out=runs/demo1
          another seed
      editenv demo sessions=64 train.iterations=5 out=runs/quick
          a first look
    """

    model: str = setting("practice", "where training starts: practice, base or a checkpoint's folder")
    sessions: int = setting(1024, "held-out sessions, the same before and after", ge=1)
    exported: int = setting(64, "sessions written to files and played from there; 0 for none", ge=0)
    num_envs: int = setting(256, "sessions side by side in evaluations", ge=1)
    filmstrip: int = setting(4, "sessions that before_after.png shows", ge=0)
    threads: int | None = setting(None, "of torch; null for no more than there are cores", ge=1)
    train: TrainConfig


@dataclass(kw_only=True)
class DataMixture:
    """What supervised training is taught, and how much of it is wrong on purpose."""

    suites: list[str] = setting(
        help="whose sessions; one named twice counts twice", default_factory=lambda: ["mixed", "mice-cm", "mice-cu"]
    )
    whole_session_share: float = setting(1.0, "of the text samples, taken from whole sessions", ge=0, le=1)
    whole_sessions: int | None = setting(None, "how many different ones; null for no bound", ge=1)
    keep_rule: float = setting(1.0, "chance that an answer keeps the rules of earlier turns", ge=0, le=1)
    resolve_reference: float = setting(1.0, 'chance that an answer names what "it" stands for', ge=0, le=1)
    wrong_images: float = setting(0.0, "share of target images that are replaced by wrong ones", ge=0, le=1)


@dataclass(kw_only=True)
class TrainingPhase:
    """A stretch of supervised training."""

    data: DataMixture = field(default_factory=DataMixture)
    image_steps: int = setting(MISSING, "optimiser steps on images and texts", ge=0)
    text_steps: int = setting(0, "further steps, before those, on texts alone", ge=0)
    rate: float = setting(1.2e-3, "peak learning rate", gt=0)
    image_batch: int = setting(96, "edits a step", ge=1)
    text_batch: int = setting(24, "texts a step", ge=1)
    changed_weight: float = setting(4.0, "weight of latent tokens that an edit changes, against 1", gt=0)


@dataclass(kw_only=True)
class AutoencoderRecipe:
    """How the small autoencoder is made."""

    name: str = setting("autoencoder", "of the recipe and of the checkpoint")
    cell: int = setting(16, "side in pixels of the squares it codes one by one", ge=1)
    steps: int = setting(6000, "optimiser steps", ge=1)
    rate: float = setting(2.0e-3, "peak learning rate", gt=0)


@dataclass(kw_only=True)
class ModelRecipe:
    """How a base checkpoint is made."""

    name: str = setting(MISSING, "of the recipe and of the checkpoint")
    taught: str = setting(MISSING, "for the card, in words")
    not_taught: str = setting(MISSING, "for the card, in words")
    start: str | None = setting(None, "checkpoint whose weights are trained on; null for random ones")
    autoencoder: str | None = setting(None, "its folder; null for the one that comes with the package")
    grid: int = setting(4, "cells a side", ge=1)
    intent_form: str = setting("free", "of the intents taught", choices=("free", "rules", "structured"))
    hidden_size: int = setting(160, "of a model that starts from random weights", ge=1)
    intermediate_size: int = setting(480, "of its feed-forward layers", ge=1)
    layers: int = setting(5, "of that model", ge=1)
    heads: int = setting(5, "of its attention", ge=1)
    phases: list[TrainingPhase] = setting(help="stretches of training, in order", default_factory=list)
    ema: float = setting(0.998, "decay of the weights' moving average", ge=0, lt=1)
    card_sessions: int = setting(256, "test sessions of `mixed` for the card's scores", ge=1)
    suite_sessions: int = setting(64, "test sessions of every suite for the scores by suite and task", ge=1)


@dataclass(kw_only=True)
class PretrainConfig(CommandConfig):
    """Make a base checkpoint or the autoencoder from scratch.

    Supervised training by a recipe, seeded; writes weights in safetensors and a card that says what was
    taught. A base checkpoint needs the autoencoder, which comes with the package.

    Examples:
      editenv pretrain recipe=practice
          the checkpoint of the demo, with head room made on purpose
      editenv pretrain recipe=base seed=1 out=runs/base1
          another base
      editenv pretrain recipe=autoencoder recipe.steps=3000
          the autoencoder, trained for longer
    """

    recipe: Any = setting(MISSING, "what is made; `--cfg job` shows its data, steps and rates", group="recipe")
    threads: int | None = setting(None, "of torch; null leaves them to torch", ge=1)


def experiments() -> list[str]:
    """Names of the experiments that come with the package."""
    return options("compare")


@dataclass(kw_only=True)
class CompareConfig(CommandConfig):
    """Compare algorithms and agents: an experiment file in, a report out.

    Runs every (arm, seed) of the experiment in a process of its own, evaluates all on the same sessions and
    writes table.csv, report.md and report.html. Finished runs never run again; the same command goes on
    after a kill. docs/compare.md tells how an experiment is written.

    Examples:
      editenv compare smoke out=runs/smoke
          four arms, two seeds, a few minutes
      editenv compare my.yaml dry_run=true
          what would run
      editenv compare my.yaml jobs=2 retry_failed=true
          two runs at a time; failed ones once more
    """

    comparison: str = setting("smoke", "a name, or the path of a YAML file", names=experiments)
    jobs: int = setting(1, "runs side by side", ge=1)
    dry_run: bool = setting(False, "prints the plan, runs nothing")
    retry_failed: bool = setting(False, "runs again what failed before")
    report_only: bool = setting(False, "makes the report of finished runs again, runs nothing")
    launcher: str = setting(
        "local",
        "where runs go: processes here, jobs of Slurm by submitit, or submitit's processes here to rehearse that",
        choices=("local", "slurm", "slurm_rehearsal"),
    )
    slurm: dict[str, Any] = setting(
        help="settings of submitit's executor, by name, such as {slurm_partition: gpu, timeout_min: 240}",
        default_factory=dict,
    )


COMMANDS: dict[str, type[CommandConfig]] = {
    "train": TrainConfig,
    "train_sb3": TrainSB3Config,
    "train_trl": TrainTRLConfig,
    "evaluate": EvaluateConfig,
    "score": ScoreConfig,
    "judge": JudgeConfig,
    "pretrain": PretrainConfig,
    "show": ShowConfig,
    "export": ExportConfig,
    "audit": AuditConfig,
    "demo": DemoConfig,
    "compare": CompareConfig,
}
"""The settings of each command, by its name, which is also that of its YAML file."""


def command_of(command: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The name in COMMANDS whose settings these words are, and the words: `train agent=ppo` has its own.

    Raises:
        ValueError: there is no such agent.
    """
    agent = next((word.partition("=")[2] for word in reversed(overrides) if word.startswith("agent=")), None)
    if command != "train" or agent is None:
        return command, list(overrides)
    # A sweep names several.
    names = agent.split(",")
    for name in names:
        if name not in AGENTS:
            raise ValueError(unknown("agent", name, AGENTS))
    if agent == "edit_r2":
        return command, [word for word in overrides if not word.startswith("agent=")]
    return next((AGENTS[name] for name in names if name != "edit_r2"), command), list(overrides)


GROUPS: dict[str, type | None] = {
    "algorithm": AlgorithmSettings,
    "user": UserConfig,
    "scorer": ScorerConfig,
    "recipe": None,
    "experiment": None,
    "server": None,
}
"""What a file of a group fills; None where it is one of several classes, or settings of a whole command."""
