"""What a training looks at while it runs: held-out scores and filmstrips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from editenv.agents.edit_r2.metrics import turn_means
from editenv.agents.edit_r2.rollout import Rollout
from editenv.agents.editor.checkpoint import Checkpoint
from editenv.agents.editor.policy import model_policy
from editenv.agents.editor.turns import TurnSettings
from editenv.agents.play import play
from editenv.agents.played import write_filmstrip
from editenv.build import make_vector_env
from editenv.configs.schema import TrainConfig


class Watcher:
    """Evaluates on validation sessions and draws rollouts, every so many iterations; the run stays as it is.

    Args:
        config: says how often and on what.
        checkpoint: what is being trained.
        turn: how rollouts generate a turn; evaluations do the same with the likeliest intents.
    """

    def __init__(self, config: TrainConfig, checkpoint: Checkpoint, turn: TurnSettings) -> None:
        self.config = config
        self.policy = model_policy(checkpoint, replace(turn, temperature=0.0))

    def __call__(self, iteration: int, rollout: Rollout) -> dict[str, float]:
        """Held-out means under "held_out/NAME/K" in the iterations that evaluate, else nothing."""
        config = self.config
        if config.image_every and iteration % config.image_every == 0:
            folder = Path(config.out) / "images"
            folder.mkdir(parents=True, exist_ok=True)
            write_filmstrip(
                rollout.sessions[:: config.rollouts][:4], folder / f"iteration_{iteration:05d}.png"
            )
        if not config.eval_every or iteration % config.eval_every:
            return {}
        settings = config.env() | ({} if config.sessions_file else {"split": "validation"})
        envs = make_vector_env(num_envs=min(config.eval_sessions, 256), autoreset_mode="Disabled", **settings)
        return turn_means(play(envs, self.policy, range(config.eval_sessions), config.seed), "held_out/")
