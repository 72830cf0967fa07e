"""A language model learns to edit by tool calls, in a script of your own with TRL's trainer.

    python examples/trl_tools.py Qwen/Qwen3-0.6B

`tool_sessions` gives a class with one method a task of the studio, which TRL turns into tools; `reset` opens the
session that a row names, so that the rollouts of a group begin alike.
"""

import sys

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from editenv.agents.tool_agent.session import session_rows, tool_sessions


def main(model: str, steps: int = 100, group_size: int = 8, out: str = "runs/trl", **more) -> list[float]:
    """Trains the model that lies in a folder or on the hub; the mean reward of each step."""
    trainer = GRPOTrainer(
        model,
        args=GRPOConfig(
            output_dir=out,
            max_steps=steps,
            num_generations=group_size,
            per_device_train_batch_size=group_size,
            logging_steps=1,
            **more,
        ),
        train_dataset=Dataset.from_list(session_rows(range(1000), seed=0)),
        environment_factory=tool_sessions(suite="mixed", split="train", user="replay"),
    )
    trainer.train()
    return [line["reward"] for line in trainer.state.log_history if "reward" in line]


if __name__ == "__main__":
    print(main(sys.argv[1]))
