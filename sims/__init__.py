"""Simulated users: who gives the instructions. Each is named here and imported only when asked for."""

USERS = {
    "replay": "editenv.sims.replay:ReplayUser",
    "goal": "editenv.sims.goal:GoalUser",
    "llm": "editenv.sims.llm:LLMUser",
}
"""User by name, as "module:class"; the class is called with the user's settings, JSON values by name."""
