"""Scores by a vision-language model behind any server that speaks OpenAI's chat protocol.

    vllm serve Qwen/Qwen3-VL-8B-Instruct --port 8000
    python examples/llm_judge.py http://127.0.0.1:8000/v1 Qwen/Qwen3-VL-8B-Instruct [SESSIONS]

Images and words leave this machine for that server. Answers are kept in `runs/judge_cache`: the same question
is asked once.
"""

import sys

import gymnasium as gym


def main(base_url: str, model: str, sessions: int = 2, cache: str = "runs/judge_cache") -> list[float | None]:
    """Instruction following of an agent that changes nothing, as the judge sees it; None where it failed."""
    endpoint = {"base_url": base_url, "model": model, "cache": cache}
    env = gym.make(
        "editenv:MICEEdit-v0",
        suite="mice-cm",
        split="test",
        scorer="judge",
        scorer_settings={"endpoint": endpoint, "votes": 2},
    )
    following = []
    for session in range(sessions):
        observation, info = env.reset(seed=0, options={"session": session})
        over = False
        while not over:
            action = {"image": observation["image"], "intent": ""}
            observation, _, terminated, truncated, info = env.step(action)
            scores = info["scores"]
            print(f"session {session}: {scores.instruction_following} {scores.error or ''}", flush=True)
            following.append(scores.instruction_following)
            over = terminated or truncated
    env.close()
    return following


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:4]))
