"""Comparisons of agents and algorithms: experiment files, a queue of runs, statistics, a report."""
