"""Agents: policies that play sessions, the unified model, and the training that improves it."""
